"""Rules for single values of the configuration: each gives the value back, or raises ValueError with the rule."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def database_url(value: str) -> str:
    """Where a Postgres database is; a password is refused, for the file may be read by many."""
    if not value.startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql://")
    parts = _split(value)
    parameters = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if parts.password is not None or parameters & {"password", "sslpassword"}:
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


def whole_path(value: Path) -> Path:
    """A path that means the same whoever runs syncd, and from wherever."""
    if not value.is_absolute():
        raise ValueError("must be an absolute path, such as /srv/syncd/witness")
    return value


def _split(value: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError(
            "must be an address, with a number for its port; a / or @ in a name is written %2F or %40"
        ) from None
    return parts


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
    parts = _split(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be an address such as https://wv0042.wolkvox.com")
    if parts.username is not None:
        raise ValueError("must not hold a user or a password; the token goes into the file of wolkvox.token_file")
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


def server(value: str) -> str:
    """The number of a wolkvox server."""
    return _matching(value, r"[A-Za-z0-9-]{1,40}", "must be the server's number, such as 0042 of wv0042.wolkvox.com")


def campaign_id(value: str) -> str:
    """The number of a campaign."""
    return _matching(value, r"[0-9]{1,18}", "must be the campaign's number in wolkvox: up to 18 digits, in quotes")


def marker(value: str) -> str:
    """A field that may carry the id of a call."""
    return _matching(value, r"opt([1-9]|1[0-2])", "must be one of opt1 to opt12")


def _matching(value: str, pattern: str, rule: str) -> str:
    if re.fullmatch(pattern, value) is None:
        raise ValueError(rule)
    return value
