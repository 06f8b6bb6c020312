"""From claimed leads to a call's body: read their current rows, map them, leave out what must not be sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from syncd.crm import RowReader
from syncd.fieldmap import FieldMap
from syncd.ledger import Claim, Ledger
from syncd.model import Campaign, Claimed, Instant, Record, Rejection, Settlement
from syncd.states import LeadState


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
    captured_at: Sequence[Instant]
    """When each lead of `lead_ids` was captured."""


def prepare(lane: Lane, ledger: Ledger, sync_id: int, claim: Claim, call_id: str, now: Instant) -> Batch:
    """Read, map and sort out the claimed leads; writes nothing.

    Raises:
        CrmError: their rows cannot be read.
        LedgerError: the ledger cannot be asked who was called already.
    """
    rows = {row[0]: row[1:] for row in lane.reader.read([lead.key for lead in claim.leads])}
    found: list[Claimed] = []
    settlements: list[Settlement] = []
    for lead in claim.leads:
        if lead.key in rows:
            found.append(lead)
        else:
            settlements.append(Settlement(lead.id, LeadState.WITHDRAWN))
    mapped = lane.fieldmap.map_many([rows[lead.key] for lead in found], now)
    ready: list[tuple[Claimed, Record]] = []
    for lead, result in zip(found, mapped, strict=True):
        if isinstance(result, Rejection):
            settlements.append(Settlement(lead.id, LeadState.REJECTED, result))
        else:
            ready.append((lead, result))
    fingerprints: dict[int, bytes] = {}
    if lane.resend_changed:
        ready = _without_unchanged(ready, ledger, fingerprints, settlements)
    persons: dict[int, bytes] = {}
    if lane.dedupe_by is not None:
        ready = _without_duplicates(lane, ready, ledger, sync_id, persons, settlements, now)
    if lane.marker is not None:
        for _, record in ready:
            record[lane.marker] = call_id
    return Batch(
        lead_ids=[lead.id for lead, _ in ready],
        body=orjson.dumps([record for _, record in ready]) if ready else b"",
        settlements=settlements,
        fingerprints={lead.id: fingerprints[lead.id] for lead, _ in ready} if fingerprints else {},
        persons={lead.id: persons[lead.id] for lead, _ in ready if lead.id in persons},
        captured_at=[lead.captured_at for lead, _ in ready],
    )


def _without_unchanged(
    ready: list[tuple[Claimed, Record]],
    ledger: Ledger,
    fingerprints: dict[int, bytes],
    settlements: list[Settlement],
) -> list[tuple[Claimed, Record]]:
    kept = []
    for lead, record in ready:
        fingerprint = ledger.hasher.record(record)
        if fingerprint == lead.fingerprint:
            settlements.append(Settlement(lead.id, LeadState.UNCHANGED))
        else:
            fingerprints[lead.id] = fingerprint
            kept.append((lead, record))
    return kept


def _without_duplicates(
    lane: Lane,
    ready: list[tuple[Claimed, Record]],
    ledger: Ledger,
    sync_id: int,
    persons: dict[int, bytes],
    settlements: list[Settlement],
    now: Instant,
) -> list[tuple[Claimed, Record]]:
    """Leave out whoever is in this batch already, is on their way, or was delivered lately."""
    assert lane.dedupe_by is not None
    for lead, record in ready:
        if record[lane.dedupe_by]:
            persons[lead.id] = ledger.hasher.person(record[lane.dedupe_by])
    taken = ledger.known_persons(sync_id, list(persons.values()), now - lane.dedupe_secs)
    kept = []
    for lead, record in ready:
        person = persons.get(lead.id)
        # A lead that was delivered before and has changed is its own duplicate; that is what it is sent for.
        if person is not None and person in taken and lead.fingerprint is None:
            settlements.append(Settlement(lead.id, LeadState.DUPLICATE))
            continue
        if person is not None:
            taken.add(person)
        kept.append((lead, record))
    return kept
