"""What was accepted: how often each lead, and the records themselves where they are kept.

A body is kept as it came, in one piece, and read again only when somebody asks; so accepting 10,000 records
costs little more than counting them.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat

import orjson

from syncd.simulator.settings import Settings


@dataclass(slots=True)
class _Batch:
    at: float
    body: bytes
    dropped: set[int] = field(default_factory=set)  # positions that a later record replaced, or that were ignored

    def records(self) -> Iterator[dict[str, str]]:
        for position, record in enumerate(orjson.loads(self.body)):
            if position not in self.dropped:
                yield record

    def may_hold(self, needle: str) -> bool:
        return b"\\u" in self.body or orjson.dumps(needle)[1:-1] in self.body


@dataclass(slots=True)
class _Campaign:
    kind: str
    status: str = "Stopped"
    records: int = 0
    accepted: Counter[str] = field(default_factory=Counter)
    batches: list[_Batch] = field(default_factory=list)
    where: dict[str, tuple[_Batch | None, int]] = field(default_factory=dict)  # customer_id -> its record


@dataclass(frozen=True, slots=True)
class Kept:
    """A record as it was accepted, and when (seconds since the epoch, by the simulator's clock)."""

    at: float
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Summary:
    """A campaign in numbers."""

    id: str
    kind: str
    status: str
    records: int
    unique_leads: int
    leads_accepted_more_than_once: int
    accepted: int


class FullError(Exception):
    """The operation may not hold so many records; ``total`` is what it would hold."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.total = total


class Campaigns:
    """The campaigns of the operation. Safe from any thread: everything below is behind one lock."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._campaigns: dict[str, _Campaign] = {}
        self._bodies: list[bytes] = []
        self.reset()

    def reset(self) -> None:
        """Forget every record, count and body; the campaigns of the settings are there again, stopped."""
        with self._lock:
            self._campaigns = {number: _Campaign(kind) for number, kind in self._settings.campaigns.items()}
            self._bodies = []

    def kind(self, campaign_id: str) -> str | None:
        """predictive or preview; None for a campaign that is not there."""
        with self._lock:
            campaign = self._campaigns.get(campaign_id)
            return campaign.kind if campaign else None

    def open(self, campaign_id: str, kind: str) -> bool:
        """Whether a campaign of this type is there, after making it if any is accepted."""
        with self._lock:
            if campaign_id not in self._campaigns and self._settings.accept_any_campaign:
                self._campaigns[campaign_id] = _Campaign(kind)
            campaign = self._campaigns.get(campaign_id)
            return campaign is not None and campaign.kind == kind

    def check_room(self, more: int) -> None:
        """Raises FullError if ``more`` records do not fit the operation."""
        with self._lock:
            self._check_room(more)

    def accept(self, campaign_id: str, records: Sequence[dict[str, str]], body: bytes | None, at: float) -> None:
        """Store and count records; ``body`` is their JSON array if at hand, so that it need not be made.

        Raises FullError, storing nothing.
        """
        leads = list(map(dict.get, records, repeat(self._settings.identity), repeat("")))
        with self._lock:
            self._check_room(len(records))
            campaign = self._campaigns[campaign_id]
            batch = None
            if self._settings.keep_records:
                batch = _Batch(at, orjson.dumps(records) if body is None else body)
                campaign.batches.append(batch)
            campaign.accepted.update(leads)
            campaign.records += len(records)
            if self._settings.duplicates != "append":
                self._settle_duplicates(campaign, records, batch)

    def command(self, campaign_id: str, status: str) -> None:
        """Obey campaign_status: start makes the campaign Started, stop makes it Stopped."""
        with self._lock:
            self._campaigns[campaign_id].status = "Started" if status == "start" else "Stopped"

    def keep_body(self, body: bytes) -> None:
        """Remember a request's body, if any are to be kept, and forget the oldest beyond ``keep_bodies``."""
        if self._settings.keep_bodies:
            with self._lock:
                self._bodies = [*self._bodies, body][-self._settings.keep_bodies :]

    def bodies(self) -> tuple[bytes, ...]:
        """The last bodies of add_record, oldest first."""
        with self._lock:
            return tuple(self._bodies)

    def accepted(self, campaign_id: str) -> dict[str, int]:
        """How many times each lead was accepted."""
        with self._lock:
            campaign = self._campaigns.get(campaign_id)
            return dict(campaign.accepted) if campaign else {}

    def kept(self, campaign_id: str, holding: Iterable[str] = (), until: float | None = None) -> Iterator[Kept]:
        """The records that the campaign holds, oldest first; none if records are not kept.

        holding: skip batches that cannot hold these values. until: only what was accepted by then.
        """
        needles = tuple(holding)
        with self._lock:
            campaign = self._campaigns.get(campaign_id)
            batches = [_Batch(b.at, b.body, set(b.dropped)) for b in campaign.batches] if campaign else []
        for batch in batches:
            if (until is None or batch.at <= until) and all(map(batch.may_hold, needles)):
                for record in batch.records():
                    yield Kept(batch.at, record)

    def summaries(self) -> tuple[Summary, ...]:
        """Every campaign in numbers, by id."""
        with self._lock:
            return tuple(
                Summary(
                    number,
                    each.kind,
                    each.status,
                    each.records,
                    len(each.accepted),
                    sum(1 for times in each.accepted.values() if times > 1),
                    each.accepted.total(),
                )
                for number, each in sorted(self._campaigns.items())
            )

    def _check_room(self, more: int) -> None:
        total = more + sum(each.records for each in self._campaigns.values())
        if 0 < self._settings.stock_limit < total:
            raise FullError(total)

    def _settle_duplicates(self, campaign: _Campaign, records: Sequence[dict[str, str]], batch: _Batch | None) -> None:
        replace = self._settings.duplicates == "replace"
        for position, customer in enumerate(record.get("customer_id", "") for record in records):
            if customer not in campaign.where:
                campaign.where[customer] = (batch, position)
                continue
            campaign.records -= 1
            old_batch, old_position = campaign.where[customer]
            if replace:
                campaign.where[customer] = (batch, position)
            if batch is not None and old_batch is not None:
                (old_batch if replace else batch).dropped.add(old_position if replace else position)
