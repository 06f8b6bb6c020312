"""`Ledger`, as the loops and the commands hold it: each method is one transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import func, insert, select

from syncd.config import Config, read_secret
from syncd.errors import LedgerSchemaError
from syncd.ledger import calls, captures, migration, outcomes, people, views
from syncd.ledger.doubts import Doubts
from syncd.ledger.hashes import Hasher, key_beside
from syncd.ledger.home import Home, make_private
from syncd.ledger.recovering import Restoration
from syncd.ledger.routing import Routing
from syncd.ledger.schema import meta, sync, tally
from syncd.model import Change, Instant, Settlement, Sign, Twin
from syncd.states import LeadState


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in one sync."""

    pending: int
    oldest_at: Instant | None
    fresh: bool = False
    """Whether some of them are more than rows that were there at the start."""


class Ledger:
    """What was captured, and what became of it."""

    def __init__(self, home: Home, hasher: Hasher) -> None:
        self.home = home
        self.hasher = hasher
        self.doubts = Doubts(home)
        self.restoration = Restoration(home)
        self.routing = Routing(home)
        self._numbers: dict[str, int] = {}

    def close(self) -> None:
        """Give back every connection."""
        self.home.close()

    def check_key(self) -> None:
        """Refuse a ledger whose hashes were made with another key.

        Raises:
            LedgerSchemaError: where that is so.
        """
        with self.home.write() as connection:
            kept = connection.scalar(select(meta.c.value).where(meta.c.name == "hash_key_check"))
            if kept is None:
                connection.execute(insert(meta).values(name="hash_key_check", value=self.hasher.check()))
            elif kept != self.hasher.check():
                raise LedgerSchemaError(
                    f"The ledger at {self.home.where} was written with another hash key.",
                    "Put the key file back that belongs to it: without it, nobody is recognised as already called.",
                )

    # -- intake ----------------------------------------------------------------------------------------------

    def register(self, name: str, now: Instant) -> int:
        """The ledger's number for a sync."""
        if name not in self._numbers:
            with self.home.write() as connection:
                self._numbers[name] = captures.begin_sync(connection, self.home, name, now)
        return self._numbers[name]

    def position(self, sync_id: int) -> captures.SyncPosition:
        """How far a sync is."""
        with self.home.read() as connection:
            return captures.position(connection, sync_id)

    def begin(self, sync_id: int, since: str, watermark: str | None, existing: str | None) -> None:
        """Write down where the first run begins, which is never asked again.

        Args:
            existing: ``take`` or ``note`` the rows that are there already; None leaves them.
        """
        with self.home.write() as connection:
            captures.move(connection, sync_id, start=since, watermark=watermark, existing=existing)

    def expect(self, sync_id: int, rows: int | None) -> None:
        """Write down about how many rows were there at the start."""
        with self.home.write() as connection:
            captures.move(connection, sync_id, scan_estimate=rows)

    def adopt(self, sync_id: int, identity: str, watermark: str | None, gap: str | None) -> None:
        """Write down which source the position belongs to, and why a sweep is due, if one is."""
        values = {"identity": identity, "watermark": watermark} | ({"gap": gap} if gap is not None else {})
        with self.home.write() as connection:
            captures.move(connection, sync_id, **values)

    def open_gap(self, sync_id: int, gap: str) -> None:
        """Write down that the whole table is to be swept, and why."""
        with self.home.write() as connection:
            captures.move(connection, sync_id, gap=gap)

    def close_gap(self, sync_id: int) -> None:
        """Write down that the whole table was swept."""
        with self.home.write() as connection:
            captures.move(connection, sync_id, gap=None)

    def take_existing(
        self, sync_id: int, changes: Sequence[Change], scanned: int, scanned_to: str | None, now: Instant
    ) -> int:
        """Take rows that were there at the start, with how far the scan is, together or not at all.

        Args:
            scanned: rows that the scan has come past.
            scanned_to: the last key of them.

        Returns:
            How many the ledger did not know.
        """
        with self.home.write() as connection:
            new = captures.add_existing(connection, self.home, sync_id, changes, now)
            captures.move(connection, sync_id, scanned=scanned, scanned_to=scanned_to)
            return new

    def note_existing(self, sync_id: int, keys: Sequence[str], scanned: int, scanned_to: str | None) -> None:
        """Remember keys that were there before the start; as `take_existing`."""
        with self.home.write() as connection:
            captures.note(connection, self.home, sync_id, keys)
            captures.move(connection, sync_id, scanned=scanned, scanned_to=scanned_to)

    def end_existing(self, sync_id: int) -> None:
        """Write down that everything that was there at the start is dealt with."""
        with self.home.write() as connection:
            captures.move(connection, sync_id, existing=None, scanned_to=None)

    def capture(
        self,
        sync_id: int,
        changes: Sequence[Change],
        reached: str | None,
        now: Instant,
        *,
        resend_changed: bool,
    ) -> captures.Captured:
        """Take keys and the new position, together or not at all."""
        with self.home.write() as connection:
            return captures.capture(
                connection, self.home, sync_id, changes, reached, now, resend_changed=resend_changed
            )

    def missing(self, sync_id: int, changes: Sequence[Change]) -> list[Change]:
        """Those whose key the ledger does not know."""
        with self.home.read() as connection:
            return captures.missing(connection, self.home, sync_id, changes)

    # -- delivery --------------------------------------------------------------------------------------------

    def waiting(self, sync_id: int) -> Waiting:
        """How many leads of a sync are pending, and since when the oldest is."""
        with self.home.read() as connection:
            pending = captures.count_in(connection, sync_id, LeadState.PENDING)
            if not pending:
                return Waiting(0, None)
            oldest = views.oldest_by_rank(connection, sync_id)
            return Waiting(pending, min(oldest.values(), default=None), fresh=0 in oldest)

    def claim(self, sync_id: int, limit: int) -> calls.Claim:
        """The pending leads that have waited longest; nothing is written."""
        with self.home.read() as connection:
            return calls.claim(connection, sync_id, limit)

    def claim_these(self, sync_id: int, ids: Sequence[int]) -> calls.Claim:
        """Those of some leads that are pending still."""
        with self.home.read() as connection:
            return calls.claim_these(connection, self.home, sync_id, ids)

    def known_people(
        self, sync_ids: Collection[int], hashes: Collection[int], since: Instant
    ) -> dict[Sign, list[Twin]]:
        """Which leads of some syncs are on their way, or were called since, by their signs; see `people.known`."""
        with self.home.read() as connection:
            return people.known(connection, self.home, sync_ids, hashes, since)

    def settle_unsent(self, sync_id: int, seq: int, settlements: Sequence[Settlement], now: Instant) -> dict[str, int]:
        """Settle pending leads that need no call."""
        if not settlements:
            return {}
        with self.home.write() as connection:
            return calls.settle_unsent(connection, self.home, sync_id, seq, settlements, now)

    def intend(
        self,
        term: int | None,
        intent: calls.Intent,
        *,
        sync_id: int | None = None,
        seq: int = 0,
        settlements: Sequence[Settlement] = (),
    ) -> tuple[int, dict[str, int]]:
        """Commit the intent of a call, with what was settled on the way to it.

        Returns:
            The call's number, and how many leads `settlements` sent to each state.

        Raises:
            SenderDeposed: another process has the lease.
            QuotaSpent: the day's budget is used up.
        """
        with self.home.write() as connection:
            calls.check_term(connection, self.home, term)  # first: every writer locks the lease before a sync
            settled: dict[str, int] = {}
            if settlements and sync_id is not None:
                settled = calls.settle_unsent(connection, self.home, sync_id, seq, settlements, intent.started_at)
            return calls.intend(connection, self.home, term, intent, seq, sync_id), settled

    def finish(self, number: int, ending: outcomes.Ending, *, resend_changed: bool) -> dict[str, int]:
        """Commit the outcome of a call, and where its leads go."""
        with self.home.write() as connection:
            return outcomes.finish(connection, self.home, number, ending, resend_changed=resend_changed)

    def never_sent(self, term: int, call_id: str, now: Instant) -> None:
        """Settle a call whose intent may be committed or not: the ledger did not say, and so it was not made.

        Raises:
            SenderDeposed: another process has the lease, and holds what it found.
        """
        with self.home.write() as connection:
            calls.check_term(connection, self.home, term)  # waits for a commit of that intent that is still under way
            outcomes.never_sent(connection, self.home, call_id, now)

    def give_up_intended(self, term: int, now: Instant) -> list[tuple[str, int]]:
        """At start: hold the leads of every call that a dead process had under way."""
        with self.home.write() as connection:
            calls.check_term(connection, self.home, term)
            return outcomes.give_up_intended(connection, self.home, now)

    def busy_until(self, now: Instant, concurrent: int, hold_secs: float) -> Instant | None:
        """When the next call may start; None for now."""
        with self.home.read() as connection:
            return calls.busy_until(connection, now, concurrent, hold_secs)

    def calls_started(self, quota_day: str) -> int:
        """Calls of a quota day, counted from intents."""
        with self.home.read() as connection:
            return calls.calls_started(connection, quota_day)

    def last_call_at(self) -> Instant | None:
        """When the last call was started."""
        with self.home.read() as connection:
            return views.last_call_at(connection)

    # -- operators -------------------------------------------------------------------------------------------

    def syncs(self) -> list[views.SyncView]:
        """Every sync with its counts."""
        with self.home.read() as connection:
            return views.syncs(connection)

    def unresolved_calls(self) -> int:
        """Calls whose outcome is not known."""
        with self.home.read() as connection:
            return views.unresolved_calls(connection)

    def recount(self) -> dict[tuple[int, str], int]:
        """Leads by sync and state, counted one by one; the tally must agree."""
        with self.home.read() as connection:
            return captures.recount(connection)

    def tally(self) -> dict[tuple[int, str], int]:
        """Leads by sync and state, as kept."""
        with self.home.read() as connection:
            rows = connection.execute(select(tally.c.sync_id, tally.c.state, tally.c.leads))
            return {(sync_id, state): leads for sync_id, state, leads in rows if leads}

    def sync_count(self) -> int:
        """How many syncs the ledger knows."""
        with self.home.read() as connection:
            return connection.scalar(select(func.count()).select_from(sync)) or 0


def open_ledger(
    config: Config, config_file: Path, *, purpose: str, tables: Literal["make", "require", "leave"] = "make"
) -> Ledger:
    """Open the configured ledger.

    Args:
        config_file: where secrets that are named by a relative path are looked up.
        purpose: goes into the connections' application_name.
        tables: ``make`` those of an empty ledger, and refuse one of another version; ``require`` a ledger that is
            there, and make nothing at all; or ``leave`` them alone, for `syncd migrate`.

    Raises:
        ConfigError: a secret is missing.
        LedgerUnavailable: the database does not answer.
        LedgerSchemaError: the ledger is of another version, or of another key.
    """
    settings = config.ledger
    password = None
    if settings.password_file is not None:
        password = read_secret(settings.password_file, config_file, "ledger.password_file")
    home = Home(settings.url, password, f"syncd {purpose}")
    try:
        if tables == "require":
            migration.require_existing(home)
        elif home.path is not None:
            make_private(home.path)
        if settings.hash_key_file is not None:
            secret = read_secret(settings.hash_key_file, config_file, "ledger.hash_key_file")
        else:
            assert home.path is not None
            secret = key_beside(home.path)
        ledger = Ledger(home, Hasher(secret))
        if tables == "make":
            migration.require_current(home)
            ledger.check_key()
    except BaseException:
        home.close()
        raise
    return ledger
