"""Keyed hashes of what was sent: enough to recognise it again, and nothing to read.

A telephone number's plain hash is guessed in a second, by trying them all; so every hash is keyed, with a key that is
not kept in the ledger.
"""

from __future__ import annotations

import hmac
import os
import secrets
from hashlib import sha256
from pathlib import Path

from syncd.errors import ConfigError, EnvironmentFault
from syncd.model import Record

_SHORTEST_KEY = 16


class Hasher:
    """Makes the ledger's hashes.

    Args:
        secret: the key's characters, as they stand in its file; 16 or more.

    Raises:
        ConfigError: where the key is too short to be one.
    """

    def __init__(self, secret: str, where: str = "ledger.hash_key_file") -> None:
        if len(secret) < _SHORTEST_KEY:
            raise ConfigError(
                [f"{where}: the key has {len(secret)} characters; it must have {_SHORTEST_KEY} or more, at random"]
            )
        self._key = sha256(secret.encode()).digest()

    def record(self, record: Record) -> bytes:
        """A fingerprint of a whole record, whatever the order of its fields."""
        fields = "\x1f".join(f"{name}\x1e{record[name]}" for name in sorted(record) if record[name])
        return self._hash(b"record", fields.encode())

    def person(self, value: str) -> int:
        """A fingerprint of what tells people apart: 64 bits with a sign, which a database keeps as one number.

        Two of a million values have the same by a chance of one in thirty million.
        """
        return int.from_bytes(self._hash(b"person", value.encode())[:8], "big", signed=True)

    def body(self, body: bytes) -> bytes:
        """A fingerprint of a call's body."""
        return self._hash(b"body", body)

    def check(self) -> str:
        """What the ledger keeps of the key, to notice another one."""
        return self._hash(b"check", b"").hex()

    def _hash(self, purpose: bytes, data: bytes) -> bytes:
        # HMAC-SHA-256, cut to 128 bits: OpenSSL's is several times faster on a body of megabytes than hashlib's BLAKE2.
        return hmac.digest(self._key + purpose, data, "sha256")[:16]


def key_beside(ledger: Path) -> str:
    """The key of a SQLite ledger, kept in a file beside it, made upon first use.

    Raises:
        EnvironmentFault: where the file cannot be made or read.
    """
    path = ledger.with_name(ledger.name + ".hash-key")
    try:
        try:
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            return path.read_text().strip()
        with os.fdopen(fd, "w") as file:
            secret = secrets.token_urlsafe(32)
            file.write(secret + "\n")
            file.flush()
            os.fsync(file.fileno())
        return secret
    except OSError as error:
        raise EnvironmentFault(
            f"The ledger's hash key {path} cannot be used: {error.strerror}.",
            "Let syncd's user own its folder.",
        ) from None
