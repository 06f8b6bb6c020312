"""Rules for single values of the configuration: each gives the value back, or raises ValueError with the rule."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def database_url(value: str) -> str:
    """Where a Postgres database is; a password is refused, for the file may be read by many."""
    parts = urlsplit(value)
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError("must begin with postgresql://")
    if parts.password is not None:
        raise ValueError("must not hold a password; put it in a file of its own and name that in password_file")
    if not parts.path.strip("/"):
        raise ValueError("must name the database, as in postgresql://user@host:5432/database")
    return value


def ledger_url(value: str) -> str:
    """Where the ledger is: a file with an absolute path, or a Postgres database."""
    if value.startswith("sqlite:"):
        if not value.startswith("sqlite:////"):
            raise ValueError("must give an absolute path, with four slashes: sqlite:////var/lib/syncd/ledger.db")
        return value
    if not value.startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with sqlite://// or postgresql://")
    return database_url(value)


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def base_url(value: str) -> str:
    """Where calls go instead of to wolkvox."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an address such as https://wv0042.wolkvox.com")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("must be https: over plain http the token could be read on the way (loopback excepted)")
    return value.rstrip("/")


def zone(value: str) -> str:
    """A time zone's name."""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a time zone of the IANA database, such as America/Bogota") from None
    return value
