"""Making a restored ledger true again, from the CRM and wolkvox's export.

`Recovery.look` asks wolkvox once per campaign what it holds, reads the rows of every sync and maps them; a lead whose
customer and compared fields are in the export is delivered. A record in the export vouches for one lead: those that
the ledger knows to be delivered take theirs first. Where wolkvox has the customer with other values, or fewer records
than there are leads, nobody can tell: such a lead is held, under a call that stands for the forgotten ones. What
wolkvox has not, is captured and sent as usual. `Recovery.write` writes all that; both may be repeated.

Mutable state: what was found so far, in the one thread that uses it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from syncd import assembly
from syncd.batch import Lane
from syncd.capture import BEGINNING
from syncd.capture.scan import Table
from syncd.config import Config, Sync
from syncd.crm import RowReader
from syncd.errors import EnvironmentFault, SyncdError
from syncd.holdings import COMPARED, loosely
from syncd.intake import begin_sync
from syncd.ledger import Ledger
from syncd.ledger.recovering import KnownLead, Recovered
from syncd.model import Clock, Exchange, Rejection
from syncd.questions import ask_counted, campaign_holdings, question
from syncd.scanning import SCAN_ROWS
from syncd.states import LeadState
from syncd.witness import Statement, Witness
from syncd.wolkvox import SERVER_SECS, Wolkvox

_RECORD_LEADS = 10_000
_FOREIGN = (LeadState.REJECTED, LeadState.WITHDRAWN, LeadState.EXPIRED, LeadState.DUPLICATE)
"""Not in wolkvox because of this lead, as the ledger knows; so it stays, unless its row has changed since."""
_ORDER: dict[LeadState | None, int] = {
    LeadState.DELIVERED: 0,
    LeadState.UNCHANGED: 0,
    LeadState.SENDING: 1,
    LeadState.HELD: 1,
    LeadState.PENDING: 2,
    None: 2,
}
"""Whose record it is, where wolkvox has fewer than there are leads."""


class NotProvable(SyncdError):
    """wolkvox does not say all that it holds, so that nothing is known of the rest."""


@dataclass(slots=True)
class SyncFindings:
    """What was found of one sync."""

    sync: str
    rows: int = 0
    """Rows of the CRM that were compared."""
    known: int = 0
    """Leads that the ledger knew to be delivered."""
    gone: int = 0
    """Of these, the ones whose customer wolkvox has not any more."""
    delivered: list[Recovered] = field(default_factory=list)
    """Leads that wolkvox has, and the ledger did not know so."""
    unsure: list[Recovered] = field(default_factory=list)
    """Leads whose customer wolkvox has, with other values or too few times."""
    refreshed: list[Recovered] = field(default_factory=list)
    absent: int = 0
    """Leads that wait, or will, and that wolkvox has not: they will be sent."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A row whose customer wolkvox knows."""

    findings: SyncFindings
    lane: Lane
    lead: Recovered
    customer: str
    values: tuple[str, ...]
    known: KnownLead | None


class _Everybody:
    """A set that has everything in it."""

    def __contains__(self, _: object) -> bool:
        return True


class Recovery:
    """One recovery.

    Args:
        term: gives the term of this process's lease.
    """

    def __init__(
        self,
        config: Config,
        config_file: Path,
        ledger: Ledger,
        connections: assembly.CrmConnections,
        client: Wolkvox,
        witness: Witness | None,
        term: Callable[[], int],
        clock: Clock,
    ) -> None:
        self._config = config
        self._config_file = config_file
        self._ledger = ledger
        self._connections = connections
        self._client = client
        self._witness = witness
        self._term = term
        self._clock = clock
        self._said = self._statement()
        self._since = dict(self._said.starts) if self._said else {}
        # -- mutable --
        self.findings: list[SyncFindings] = []
        self.calls = 0
        """Questions that were asked."""
        self.unproven: list[str] = []
        """Campaigns whose export is not whole."""
        self.emptied: list[str] = []
        """Campaigns from which records were taken since: what is absent may have been dialled all the same."""

    def _statement(self) -> Statement | None:
        try:
            return self._witness.read() if self._witness is not None else None
        except (ValueError, TypeError):
            return None

    # -- looking ---------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Ask wolkvox and the CRM; writes nothing but the intents of its questions.

        Raises:
            NotProvable: wolkvox does not say what a campaign holds.
            QuotaSpent: no call is left for the questions.
            CrmError, LedgerError: one of them does not answer.
        """
        term, now = self._term(), self._clock()
        self._ledger.give_up_intended(term, now)
        if self._said is not None and self._said.quota_day:
            self._ledger.restoration.count_lost(term, self._said.quota_day, self._said.used, now)
        lanes = {lane.sync: lane for lane in assembly.lanes(self._config, self._connections.delivery)}
        for campaign_id in dict.fromkeys(sync.campaign.id for sync in self._config.sync):
            held = self._export(campaign_id)
            candidates: list[_Candidate] = []
            before = len(self.findings)
            for sync in self._config.sync:
                if sync.campaign.id == campaign_id:
                    candidates += self._candidates(sync, lanes[sync.name], held)
            if self._was_emptied(self.findings[before:], held):
                self.emptied.append(campaign_id)
            self._judge(candidates, held)

    def _was_emptied(self, findings: Sequence[SyncFindings], held: Mapping[str, Counter[tuple[str, ...]]]) -> bool:
        """Whether what the campaign has not tells nothing: most of what it surely was given is not there either."""
        known, gone = sum(each.known for each in findings), sum(each.gone for each in findings)
        if known:
            return gone > known / 2
        return not held and self._said is not None and self._said.number > 0

    def _export(self, campaign_id: str) -> dict[str, Counter[tuple[str, ...]]]:
        """What a campaign holds: by customer, how often each set of values."""
        found, why = campaign_holdings(self._client, campaign_id, _Everybody(), None, self._question)
        if found is None:
            raise NotProvable(
                f"wolkvox does not say what campaign {campaign_id} holds: {why}.",
                "Nothing is released; run `syncd recover` again later.",
            )
        if not found.whole:
            self.unproven.append(campaign_id)
        places = [COMPARED.index(name) for name in self._compared]
        return {
            customer: Counter(tuple(row[place] for place in places) for row in rows)
            for customer, rows in found.by_customer.items()
        }

    @property
    def _compared(self) -> tuple[str, ...]:
        """The fields that tell records apart; not the one that is stamped with the call's id."""
        return tuple(name for name in COMPARED if name != self._config.delivery.batch_marker)

    def _question(self, kind: str, ask: Callable[[], Exchange]) -> Exchange:
        """Ask, and count the call; an unanswered call may still be at work in wolkvox, and is waited for."""
        wolkvox = self._config.wolkvox
        while self._ledger.busy_until(self._clock(), wolkvox.concurrent_calls, SERVER_SECS) is not None:
            time.sleep(0.5)
        intent = question(
            kind,
            self._clock(),
            zone=wolkvox.zone,
            budget=wolkvox.budget,
            timeout_secs=self._client.timeout_secs,
        )
        self.calls += 1
        return ask_counted(self._ledger, self._term(), intent, ask, self._clock, "`syncd recover`")

    def _candidates(self, sync: Sync, lane: Lane, held: Mapping[str, Counter[tuple[str, ...]]]) -> Iterator[_Candidate]:
        """The rows of a sync whose customer wolkvox has; the others are counted."""
        findings = SyncFindings(sync.name)
        self.findings.append(findings)
        sync_id = self._ledger.register(sync.name, self._clock())
        # Without `where`: a lead that was delivered may well not match any more, and match again one day.
        columns = lane.fieldmap.columns
        about, delivery = assembly.about(sync), self._connections.delivery
        reader = RowReader(delivery, sync.relation, sync.key, columns, None, about)
        fields = self._compared
        for chunk in self._chunks(sync, sync_id):
            versions = dict(chunk)
            known = self._ledger.restoration.known(sync_id, list(versions))
            rows = reader.read(list(versions))
            matching = {row[0] for row in lane.reader.read(list(versions))} if sync.where else versions
            findings.rows += len(rows)
            for row, record in zip(rows, lane.fieldmap.map_many([row[1:] for row in rows], self._clock()), strict=True):
                key, lead = row[0], known.get(row[0])
                findings.known += lead is not None and _ORDER.get(lead.state) == 0
                if isinstance(record, Rejection):
                    continue
                customer = loosely(record["customer_id"])
                if customer not in held:
                    findings.gone += lead is not None and _ORDER.get(lead.state) == 0
                    waits = lead is None or lead.state is LeadState.PENDING
                    findings.absent += waits and key in matching
                    continue
                hasher = self._ledger.hasher
                found = Recovered(
                    key,
                    versions[key],
                    hasher.record(record) if lane.resend_changed else None,
                    hasher.person(record[lane.dedupe_by]) if lane.dedupe_by and record[lane.dedupe_by] else None,
                )
                values = tuple(record.get(name, "").strip() for name in fields)
                yield _Candidate(findings, lane, found, customer, values, lead)

    def _chunks(self, sync: Sync, sync_id: int) -> Iterator[Sequence[tuple[str, str]]]:
        """Keys and versions of all rows that may have been sent, in the key's order."""
        since = self._since.get(sync.name) or self._ledger.position(sync_id).since or BEGINNING
        table = Table(
            self._connections.delivery,
            sync.relation,
            key=sync.key,
            watermark=sync.watermark_column,
            where=None,
            about=assembly.about(sync),
        )
        after = None
        while chunk := table.scan(since, after, SCAN_ROWS):
            yield [(change.key, change.version) for change in chunk]
            after = chunk[-1].key

    def _judge(self, candidates: list[_Candidate], held: Mapping[str, Counter[tuple[str, ...]]]) -> None:
        """Each record of the export vouches for one lead."""
        for each in sorted(candidates, key=lambda one: _ORDER.get(one.known.state if one.known else None, 3)):
            records = held[each.customer]
            there = records[each.values] > 0
            records[each.values] -= there
            state = each.known.state if each.known else None
            if state in (LeadState.DELIVERED, LeadState.UNCHANGED):
                if there and each.lane.resend_changed:
                    each.findings.refreshed.append(each.lead)
            elif state in (LeadState.SENDING, LeadState.HELD):
                continue  # verification knows what was sent
            elif there:
                each.findings.delivered.append(each.lead)
            elif state not in _FOREIGN or (each.known and each.known.version != each.lead.version):
                each.findings.unsure.append(each.lead)

    # -- writing ---------------------------------------------------------------------------------------------

    def write(self, who: str, *, resend_changed: bool, emptied: bool = False) -> None:
        """Write what was found, and let leads leave again.

        Args:
            resend_changed: leads of which nobody can tell are sent, not held.
            emptied: somebody says that what a campaign has lost may be sent to it again.

        Raises:
            NotProvable: an export was not whole, or a campaign was emptied; what wolkvox has is written all the same.
        """
        term, moved, ids = self._term(), 0, {sync.name: sync for sync in self._config.sync}
        for found in self.findings:
            sync = ids[found.sync]
            sync_id = self._begin(sync)
            for state, leads in (
                (LeadState.DELIVERED, found.delivered),
                (LeadState.HELD, [] if resend_changed else found.unsure),
            ):
                for begin in range(0, len(leads), _RECORD_LEADS):
                    part = leads[begin : begin + _RECORD_LEADS]
                    moved += self._ledger.restoration.record(
                        term, sync_id, sync.campaign.id, state, part, self._clock()
                    )
            self._ledger.restoration.refresh(term, sync_id, found.refreshed)
        if self.unproven:
            raise NotProvable(
                f"wolkvox's export of campaign {', '.join(self.unproven)} is not known to be whole (60,000 records"
                " are the most that it has): what is not in it may be in wolkvox all the same.",
                "Nothing is released. Empty the campaign in wolkvox, or give the sync another name and a `start`.",
            )
        if self.emptied and not emptied:
            raise NotProvable(
                f"Campaign {', '.join(self.emptied)} has not what the ledger knows to be delivered: it was emptied in"
                " wolkvox, and what it has not may have been dialled all the same.",
                "Nothing is released. Give the sync another name and a `start`; or send all that is absent: --emptied.",
            )
        self._end(term, who, moved)

    def _begin(self, sync: Sync) -> int:
        """The number of a sync, whose first run has begun."""
        sync_id = self._ledger.register(sync.name, self._clock())
        if self._ledger.position(sync_id).since is None and sync.name in self._since:
            begin_sync(self._ledger, sync_id, assembly.source(sync, self._connections), self._clock())
        return sync_id

    def _end(self, term: int, who: str, moved: int) -> None:
        restoration = self._ledger.restoration
        former = self._said.uid if self._said is not None else None
        uid = restoration.end(term, former, self._since, self._clock(), who, "the ledger was restored", moved)
        if self._witness is None:
            return
        number, call_id = restoration.newest()
        try:
            self._witness.write(Statement(uid, number, call_id, starts=restoration.identity().starts))
        except OSError as error:
            raise EnvironmentFault(
                f"The ledger's witness {self._witness.path} cannot be written: {error.strerror}.",
                "Let syncd's user own its folder, and run `syncd recover` again.",
            ) from None
