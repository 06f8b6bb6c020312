"""What the server is told: its settings, and who may come in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

DEFAULT_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "wal_level": "logical",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "shared_buffers": "64MB",
    "dynamic_shared_memory_type": "mmap",  # in the data directory: a killed server leaves nothing elsewhere
    "password_encryption": "scram-sha-256",
    "unix_socket_permissions": "0700",
}


def configure(data: Path, settings: Mapping[str, str], *, trust: bool) -> None:
    """Writes postgresql.conf and pg_hba.conf whole.

    Args:
        data: the data directory.
        settings: by their Postgres names.
        trust: whether `postgres` needs no password; every other role does.
    """
    lines = [f"{name} = '{_escape(value)}'\n" for name, value in settings.items()]
    (data / "postgresql.conf").write_text("".join(lines), encoding="utf-8")
    rules = [
        f"{connection} {database} {user} {address} {method}\n"
        for connection, address in (("local", ""), ("host", "127.0.0.1/32"))
        for database in ("all", "replication")
        for user, method in (("postgres", "trust" if trust else "scram-sha-256"), ("all", "scram-sha-256"))
    ]
    (data / "pg_hba.conf").write_text("".join(rules), encoding="utf-8")


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")
