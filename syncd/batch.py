"""From claimed leads to a call's body: read their current rows, map them, leave out what must not be sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import orjson

from syncd.crm import RowReader
from syncd.fieldmap import FieldMap, Route
from syncd.ledger import Claim, Ledger, pack_prints
from syncd.ledger.hashes import Hasher
from syncd.model import Campaign, Claimed, Instant, Record, Rejection, Settlement, Sign, Twin
from syncd.record import TELEPHONES
from syncd.states import LeadState

_BLOCK = 2000


@dataclass(frozen=True, slots=True)
class Lane:
    """One sync as delivery sees it: where its rows are, how they are mapped, and where they go.

    Where its leads go to several campaigns, each of these is a lane of its own: see `to`.
    """

    sync: str
    campaign: Campaign
    """Its id is ``""`` where it is not known yet: `route` says it of each lead."""
    reader: RowReader
    fieldmap: FieldMap
    resend_changed: bool
    dedupe_by: Sequence[str]
    """The fields of which any tells that two leads are one person; none where the sync does not dedupe."""
    dedupe_secs: float
    marker: str | None
    """The field that is stamped with the call's id, or None."""
    max_age_secs: float | None = None
    """A lead that has waited longer is not sent any more; None for no limit."""
    max_per_hour: int | None = None
    """More leads within an hour pause the sync; None for no limit."""
    dedupe_across: Collection[str] = ()
    """Syncs whose leads count as well, where the sync dedupes."""
    route: Route | None = None
    """Which campaign each lead goes to; None where all go to the same."""

    @property
    def name(self) -> str:
        """Tells it from all other lanes."""
        return self.sync if self.route is None else f"{self.sync} to {self.campaign.id}"

    def to(self, campaign_id: str) -> Lane:
        """The lane of the leads that go to one campaign."""
        return replace(self, campaign=replace(self.campaign, id=campaign_id))

    def map_many(self, rows: Sequence[Sequence[object]], now: Instant) -> list[Record | Rejection]:
        """What `reader` has read, without the key, as `FieldMap.map_many` maps it."""
        if self.route is None:
            return self.fieldmap.map_many(rows, now)
        own = len(self.fieldmap.columns)
        return self.fieldmap.map_many([row[:own] for row in rows], now)

    def campaigns(self, rows: Sequence[Sequence[object]], now: Instant) -> list[str | Rejection]:
        """Where each of these rows goes."""
        return [self.campaign.id] * len(rows) if self.route is None else self.route.map_many(rows, now)

    def fingerprint(self, hasher: Hasher, record: Record) -> bytes:
        """By what a record is known again: where the campaign depends on the row, it is a part of that."""
        return hasher.record(record if self.route is None else record | {"campaign": self.campaign.id})


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
    signs: dict[int, Collection[Sign]]
    """By what each lead is recognised; empty unless the sync dedupes."""
    prints: bytes
    """The keyed hash of each record, without the marker; see `pack_prints`."""
    captured_at: Sequence[Instant]
    """When each lead of `lead_ids` was captured."""
    elsewhere: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Leads that go to another campaign by now, by that; they stay pending."""


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
    elsewhere: dict[str, list[int]] = {}
    # Block by block: ten thousand records of some forty fields are more memory than all the rest of syncd.
    for begin in range(0, len(found), _BLOCK):
        block = found[begin : begin + _BLOCK]
        values: list[Sequence[object]] = [rows.pop(lead.key)[1:] for lead in block]
        if lane.route is not None:
            block, values = _of_its_campaign(lane, block, values, now, settlements, elsewhere)
        kept = sieve.sift(block, lane.map_many(values, now))
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
        signs=sieve.signs,
        prints=pack_prints(prints),
        captured_at=[lead.captured_at for lead in sent],
        elsewhere=elsewhere,
    )


def route(lane: Lane, claim: Claim, now: Instant) -> tuple[dict[str, list[int]], list[Settlement]]:
    """Where claimed leads go: by campaign, and what becomes of those that go nowhere.

    Raises:
        CrmError: their rows cannot be read.
    """
    rows = {row[0]: row[1:] for row in lane.reader.read([lead.key for lead in claim.leads])}
    found = [lead for lead in claim.leads if lead.key in rows]
    settlements = [Settlement(lead.id, LeadState.WITHDRAWN) for lead in claim.leads if lead.key not in rows]
    routes: dict[str, list[int]] = {}
    _of_its_campaign(lane, found, [rows[lead.key] for lead in found], now, settlements, routes)
    return routes, settlements


def _of_its_campaign(
    lane: Lane,
    leads: Sequence[Claimed],
    rows: Sequence[Sequence[object]],
    now: Instant,
    settlements: list[Settlement],
    elsewhere: dict[str, list[int]],
) -> tuple[Sequence[Claimed], list[Sequence[object]]]:
    """The leads, and their rows, that go to the lane's own campaign; the others go to the last two arguments."""
    ours: list[tuple[Claimed, Sequence[object]]] = []
    for lead, row, campaign in zip(leads, rows, lane.campaigns(rows, now), strict=True):
        if isinstance(campaign, Rejection):
            settlements.append(Settlement(lead.id, LeadState.REJECTED, campaign))
        elif campaign == lane.campaign.id:
            ours.append((lead, row))
        else:
            elsewhere.setdefault(campaign, []).append(lead.id)
    return [lead for lead, _ in ours], [row for _, row in ours]


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
        self._settlements = settlements
        self._since = now - lane.dedupe_secs
        self._sync_ids = {sync_id, *(ledger.register(sync, now) for sync in lane.dedupe_across)}
        self.fingerprints: dict[int, bytes] = {}
        """Of the records kept, by lead; empty unless the sync resends what has changed."""
        self.signs: dict[int, Collection[Sign]] = {}
        """Of the records kept, by lead; empty unless the sync dedupes."""
        self._aboard: set[Sign] = set()

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
        if self._lane.dedupe_by:
            kept = self._without_duplicates(kept)
        return kept

    def _is_new(self, lead: Claimed, record: Record) -> bool:
        """Whether it differs from what was delivered last."""
        fingerprint = self._lane.fingerprint(self._ledger.hasher, record)
        if fingerprint == lead.fingerprint:
            self._settlements.append(Settlement(lead.id, LeadState.UNCHANGED))
            return False
        self.fingerprints[lead.id] = fingerprint
        return True

    def _without_duplicates(self, pairs: list[tuple[Claimed, Record]]) -> list[tuple[Claimed, Record]]:
        """Leave out whoever is on their way or was called lately; whoever is in this batch already stays pending."""
        signs = {lead.id: signs_of(record, self._lane.dedupe_by, self._ledger.hasher) for lead, record in pairs}
        hashes = {sign.hash for its in signs.values() for sign in its}
        called = self._ledger.known_people(self._sync_ids, hashes, self._since)
        kept = []
        for lead, record in pairs:
            its = signs[lead.id]
            twin = _twin(lead.id, its, called) if called else None
            if twin is not None:
                self._settlements.append(Settlement(lead.id, LeadState.DUPLICATE, twin=twin))
            elif self._aboard.isdisjoint(its):
                self._aboard |= its
                self.signs[lead.id] = its
                kept.append((lead, record))
                continue
            # Else its twin goes first; whether this one is a duplicate shows once that has arrived.
            self.fingerprints.pop(lead.id, None)
        return kept


def signs_of(record: Record, by: Sequence[str], hasher: Hasher) -> set[Sign]:
    """By what a record's person is recognised: the values of some fields, where they are not empty.

    A telephone is the same in whichever field it stands.
    """
    return {
        Sign("tel" if field in TELEPHONES else field, hasher.person(record[field])) for field in by if record[field]
    }


def _twin(lead_id: int, signs: Collection[Sign], called: Mapping[Sign, Sequence[Twin]]) -> Twin | None:
    """A lead that was called by one of these signs; a lead that has changed since its own call is not its own twin."""
    for kind, value in signs:
        # A ledger of an earlier version has not written the kind.
        for twin in (*called.get(Sign(kind, value), ()), *called.get(Sign("", value), ())):
            if twin.lead_id != lead_id:
                return twin
    return None
