"""The witness: a small file outside of the ledger, by which a ledger is noticed that is older than what was sent.

It holds the ledger's id and its last call, and is written after the intent's commit and before the first byte leaves.
A ledger that lacks that call, or has another id, was restored from a copy, has lost its tail in a failover, or is
another one: nothing may be sent from it, for it would send again what it has forgotten. `syncd recover` makes it true.

Mutable state, used by the delivery thread alone once it has begun: what the file says.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from syncd.errors import EnvironmentFault
from syncd.ledger import Ledger

_WAY_OUT = "Nothing is sent, capture goes on. Stop syncd and run `syncd recover`: it asks wolkvox what it has."


@dataclass(frozen=True, slots=True)
class Statement:
    """What the file says."""

    uid: str
    """The ledger's id."""
    number: int
    """Of the last call that was about to be made; 0 where none was."""
    call: str
    """Its id."""
    quota_day: str = ""
    used: int = 0
    """Calls of that day, that one included."""
    starts: Mapping[str, str] = field(default_factory=dict)
    """Where each sync's first run began."""


class Witness:
    """The file: two slots, written in turn and in place.

    A slot that was being written when the power failed is known by its checksum; the other one is then a little
    older, and that is no alarm. To replace the file each time would be safe, too, and take twice as long: this is
    between the intent of a call and the call.

    Args:
        path: where it is; its folder must be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Statement | None:
        """What it says; None where there is none.

        Raises:
            ValueError: it is there, and is no witness.
            EnvironmentFault: it cannot be read.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise EnvironmentFault(
                f"The ledger's witness {self.path} cannot be read: {error.strerror}.", "Let syncd's user own it."
            ) from None
        if (newest := _newest(content)) is None:
            raise ValueError("no slot of it is whole")
        return newest[1]

    def write(self, statement: Statement) -> None:
        """Bring a statement to disk; what the file said before stays until that is done.

        Raises:
            OSError: it cannot be written.
        """
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            self._make(statement)
            return
        try:
            size = os.fstat(fd).st_size
            newest = _newest(os.pread(fd, size, 0))
            number = newest[0] + 1 if newest is not None else 1
            slot = _slot(statement, number)
            if size == 2 * len(slot) and newest is not None:
                os.pwrite(fd, slot, number % 2 * len(slot))
                os.fdatasync(fd)
                return
        finally:
            os.close(fd)
        self._make(statement)

    def _make(self, statement: Statement) -> None:
        beside = self.path.with_name(self.path.name + ".new")
        fd = os.open(beside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(_slot(statement, 0) + _slot(statement, 1))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except OSError:
            with suppress(OSError):
                beside.unlink()
            raise
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


_SECTOR = 4096
"""No disk writes less at once: a slot that is spoilt by a power cut spoils no other."""


def _slot(statement: Statement, number: int) -> bytes:
    """A line of JSON, with a checksum, as long as some whole sectors."""
    said = json.dumps({"number": number, "said": asdict(statement)}, sort_keys=True)
    line = json.dumps({"sum": zlib.crc32(said.encode()), "slot": said}).encode()
    return line.ljust(-(-(len(line) + 1) // _SECTOR) * _SECTOR - 1) + b"\n"


def _newest(content: bytes) -> tuple[int, Statement] | None:
    """The whole slot with the highest number; None where none is whole."""
    whole = []
    for line in content.split(b"\n"):
        with suppress(ValueError, TypeError, KeyError):
            slot = json.loads(line)
            if slot["sum"] == zlib.crc32(slot["slot"].encode()):
                found = json.loads(slot["slot"])
                whole.append((int(found["number"]), Statement(**found["said"])))
    return max(whole, key=lambda slot: slot[0], default=None)


class Guard:
    """Compares the ledger with its witness, and keeps the witness.

    Args:
        witness: None where none is kept; then nothing is ever objected.
    """

    def __init__(self, ledger: Ledger, witness: Witness | None) -> None:
        self._ledger = ledger
        self._witness = witness
        # -- mutable --
        self._said: Statement | None = None
        self._spoilt: str | None = None
        self._unwritten: str | None = None

    def begin(self) -> str | None:
        """Read the witness, upon becoming the sender; make it where there is none.

        Returns:
            What there is to warn of.

        Raises:
            EnvironmentFault: it cannot be read, or not be written.
            LedgerError: the ledger does not answer.
        """
        if self._witness is None:
            return "There is no witness of this ledger; should it be restored from a copy, nobody will notice."
        path = self._witness.path
        try:
            self._said = self._witness.read()
        except (ValueError, TypeError):
            self._spoilt = (
                f"The ledger's witness {path} is spoilt: nobody knows whether the ledger is whole. {_WAY_OUT}"
            )
            return None
        restoration = self._ledger.restoration
        warning = None
        if self._said is None:
            uid = restoration.be_born()
            number, call_id = restoration.newest()
            self._said = Statement(uid, number, call_id, starts=restoration.identity().starts)
            if number:
                warning = f"The ledger had no witness; {path} is one from now on, and takes the ledger for whole."
        try:
            self._witness.write(self._said)
        except OSError as error:
            raise EnvironmentFault(
                f"The ledger's witness {path} cannot be written: {error.strerror}.",
                "Let syncd's user own its folder, or name another place in ledger.witness_file.",
            ) from None
        return warning

    def objection(self) -> str | None:
        """Why nothing may be sent from this ledger; None where it is as new as the witness.

        Raises:
            LedgerError: the ledger does not answer.
        """
        said = self._said
        found = self._ledger.restoration.identity(*((said.number, said.call) if said else ()))
        if found.restored is not None or said is None:
            return found.restored or self._spoilt
        if found.uid is not None and found.uid != said.uid and said.uid in found.former:
            # It was recovered by another host, which asked wolkvox after our last call.
            number, call_id = self._ledger.restoration.newest()
            said = Statement(found.uid, number, call_id)
        elif found.uid != said.uid or (said.number and not found.has_call):
            why = self._accusation(said, found.uid)
            self._ledger.restoration.hold(why)
            return why
        said = replace(said, starts={**said.starts, **found.starts})
        if said != self._said or self._unwritten is not None:
            self._unwritten = self._write(said)
        return self._unwritten

    def note(self, number: int, call_id: str, quota_day: str) -> str | None:
        """Write down a call whose intent is committed, before its first byte leaves.

        Returns:
            Why that was not possible, so that the call must not be made.
        """
        if self._witness is None or self._said is None:
            return None
        if number <= self._said.number:  # it went back between the look at it and the intent
            return self._accusation(self._said, self._said.uid)
        used = self._ledger.calls_started(quota_day)
        self._unwritten = self._write(replace(self._said, number=number, call=call_id, quota_day=quota_day, used=used))
        return self._unwritten

    def _write(self, said: Statement) -> str | None:
        assert self._witness is not None
        try:
            self._witness.write(said)
        except OSError as error:
            return (
                f"The ledger's witness {self._witness.path} cannot be written: {error.strerror}. Nothing is sent until"
                " it can be; make room, or let syncd's user own its folder."
            )
        self._said = said
        return None

    def _accusation(self, said: Statement, uid: str | None) -> str:
        assert self._witness is not None
        where, path = self._ledger.home.where, self._witness.path
        if uid == said.uid:
            what = f"it lacks call {said.call}, which was made with it"
        else:
            what = "it is not the one that the last calls were made with"
        return f"The ledger at {where} was restored or replaced: {what}, says its witness {path}. {_WAY_OUT}"
