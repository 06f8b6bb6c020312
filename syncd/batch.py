"""From claimed leads to a call's body: read their current rows, map them, leave out what must not be sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from syncd.crm import RowReader
from syncd.fieldmap import FieldMap
from syncd.ledger import Claim, Ledger, pack_prints
from syncd.model import Campaign, Claimed, Instant, Record, Rejection, Settlement
from syncd.states import LeadState

_BLOCK = 2000


@dataclass(frozen=True, slots=True)
class Lane:
    """One sync as delivery sees it: where its rows are, how they are mapped, and where they go."""

    sync: str
    campaign: Campaign
    reader: RowReader
    fieldmap: FieldMap
    resend_changed: bool
    dedupe_by: str | None
    dedupe_secs: float
    marker: str | None
    """The field that is stamped with the call's id, or None."""
    max_age_secs: float | None = None
    """A lead that has waited longer is not sent any more; None for no limit."""
    max_per_hour: int | None = None
    """More leads within an hour pause the sync; None for no limit."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What came of a claim."""

    lead_ids: Sequence[int]
    """The leads to send, in the order of the body's records."""
    body: bytes
    """A JSON array; ``b""`` where nothing is to be sent."""
    settlements: Sequence[Settlement]
    """The leads that need no call."""
    fingerprints: dict[int, bytes]
    persons: dict[int, bytes]
    prints: bytes
    """The keyed hash of each record, without the marker; see `pack_prints`."""
    captured_at: Sequence[Instant]
    """When each lead of `lead_ids` was captured."""


def prepare(lane: Lane, ledger: Ledger, sync_id: int, claim: Claim, call_id: str, now: Instant) -> Batch:
    """Read, map and sort out the claimed leads; writes nothing.

    Raises:
        CrmError: their rows cannot be read.
        LedgerError: the ledger cannot be asked who was called already.
    """
    fresh, settlements = _fresh(lane, claim.leads, now)
    rows = {row[0]: row for row in lane.reader.read([lead.key for lead in fresh])}
    settlements += [Settlement(lead.id, LeadState.WITHDRAWN) for lead in fresh if lead.key not in rows]
    found = [lead for lead in fresh if lead.key in rows] if settlements else fresh
    sieve = _Sieve(lane, ledger, sync_id, now, settlements)
    sent: list[Claimed] = []
    pieces: list[bytes] = []
    prints: dict[int, bytes] = {}
    # Block by block: ten thousand records of some forty fields are more memory than all the rest of syncd.
    for begin in range(0, len(found), _BLOCK):
        block = found[begin : begin + _BLOCK]
        mapped = lane.fieldmap.map_many([rows.pop(lead.key)[1:] for lead in block], now)
        kept = sieve.sift(block, mapped)
        if not kept:
            continue
        prints |= {lead.id: ledger.hasher.record(record) for lead, record in kept}
        if lane.marker is not None:
            for _, record in kept:
                record[lane.marker] = call_id
        sent += [lead for lead, _ in kept]
        pieces.append(orjson.dumps([record for _, record in kept])[1:-1])
    return Batch(
        lead_ids=[lead.id for lead in sent],
        body=b"[" + b",".join(pieces) + b"]" if pieces else b"",
        settlements=settlements,
        fingerprints=sieve.fingerprints,
        persons=sieve.persons,
        prints=pack_prints(prints),
        captured_at=[lead.captured_at for lead in sent],
    )


def _fresh(lane: Lane, leads: Sequence[Claimed], now: Instant) -> tuple[Sequence[Claimed], list[Settlement]]:
    """The leads that are not too old to be called, and what becomes of the others."""
    if lane.max_age_secs is None:
        return leads, []
    oldest = now - lane.max_age_secs
    expired = [Settlement(lead.id, LeadState.EXPIRED) for lead in leads if lead.captured_at < oldest]
    return [lead for lead in leads if lead.captured_at >= oldest] if expired else leads, expired


class _Sieve:
    """Keeps what must be sent of a batch's mapped rows, and settles the rest.

    Mutable state: what it has kept so far, so that nobody is twice in a batch.
    """

    def __init__(self, lane: Lane, ledger: Ledger, sync_id: int, now: Instant, settlements: list[Settlement]) -> None:
        self._lane = lane
        self._ledger = ledger
        self._sync_id = sync_id
        self._now = now
        self._settlements = settlements
        self.fingerprints: dict[int, bytes] = {}
        """Of the records kept, by lead; empty unless the sync resends what has changed."""
        self.persons: dict[int, bytes] = {}
        """Who the kept leads are; empty unless the sync dedupes."""
        self._aboard: set[bytes] = set()

    def sift(self, leads: Sequence[Claimed], mapped: Sequence[Record | Rejection]) -> list[tuple[Claimed, Record]]:
        """The leads to send, each with its record."""
        kept: list[tuple[Claimed, Record]] = []
        for lead, result in zip(leads, mapped, strict=True):
            if isinstance(result, Rejection):
                self._settlements.append(Settlement(lead.id, LeadState.REJECTED, result))
            else:
                kept.append((lead, result))
        if self._lane.resend_changed:
            kept = [pair for pair in kept if self._is_new(*pair)]
        if self._lane.dedupe_by is not None:
            kept = self._without_duplicates(kept, self._lane.dedupe_by)
        return kept

    def _is_new(self, lead: Claimed, record: Record) -> bool:
        """Whether it differs from what was delivered last."""
        fingerprint = self._ledger.hasher.record(record)
        if fingerprint == lead.fingerprint:
            self._settlements.append(Settlement(lead.id, LeadState.UNCHANGED))
            return False
        self.fingerprints[lead.id] = fingerprint
        return True

    def _without_duplicates(self, pairs: list[tuple[Claimed, Record]], by: str) -> list[tuple[Claimed, Record]]:
        """Leave out whoever is on their way or was delivered lately; whoever is in this batch already stays pending."""
        persons = {lead.id: self._ledger.hasher.person(record[by]) for lead, record in pairs if record[by]}
        taken = self._ledger.known_persons(self._sync_id, list(persons.values()), self._now - self._lane.dedupe_secs)
        kept = []
        for lead, record in pairs:
            person = persons.get(lead.id)
            # A lead that has changed since it was delivered is pending, and so is not among them itself.
            if person is not None and person in taken:
                self._settlements.append(Settlement(lead.id, LeadState.DUPLICATE, person=person))
                self.fingerprints.pop(lead.id, None)
                continue
            if person is not None:
                if person in self._aboard:
                    self.fingerprints.pop(lead.id, None)
                    continue  # its twin goes first; whether this one is a duplicate shows once that has arrived
                self._aboard.add(person)
                self.persons[lead.id] = person
            kept.append((lead, record))
        return kept
