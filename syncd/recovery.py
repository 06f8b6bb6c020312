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
from pathlib import Path

from syncd import assembly
from syncd.batch import Lane, signs_of
from syncd.capture import BEGINNING
from syncd.capture.scan import Table
from syncd.config import Config, Sync
from syncd.errors import EnvironmentFault, SyncdError
from syncd.holdings import COMPARED, loosely
from syncd.intake import begin_sync
from syncd.ledger import Ledger
from syncd.ledger.recovering import Recovered
from syncd.model import Clock, Exchange, Rejection
from syncd.questions import ask_counted, campaign_holdings, question
from syncd.restored import ORDER, Candidate, SyncFindings, groups_of, judge
from syncd.scanning import SCAN_ROWS
from syncd.states import LeadState
from syncd.witness import Statement, Witness
from syncd.wolkvox import SERVER_SECS, Wolkvox

_RECORD_LEADS = 10_000


class NotProvable(SyncdError):
    """wolkvox does not say all that it holds, so that nothing is known of the rest."""


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
        self._known: Counter[str] = Counter()  # by campaign: leads that the ledger knew to be delivered
        self._gone: Counter[str] = Counter()  # of these, the ones that wolkvox has not
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
        campaigns = {sync.name: self._campaigns(sync, lanes[sync.name]) for sync in self._config.sync}
        for group in groups_of(campaigns.values()):
            held: dict[str, Counter[tuple[str, ...]]] = {}
            for campaign_id in group:
                for customer, records in self._export(campaign_id).items():
                    held[customer] = held.get(customer, Counter()) + records
            candidates: list[Candidate] = []
            for sync in self._config.sync:
                if group & campaigns[sync.name]:
                    candidates += self._candidates(sync, lanes[sync.name], held)
            self.emptied += [each for each in sorted(group) if self._was_emptied(each, held)]
            judge(candidates, held)

    def _campaigns(self, sync: Sync, lane: Lane) -> set[str]:
        """Where leads of a sync may have gone: by its rule, and by its rows as they are now."""
        if lane.route is None:
            return {lane.campaign.id}
        found = set(lane.route.campaigns)
        sync_id = self._ledger.register(sync.name, self._clock())
        reader = assembly.reader(sync, lane.route.columns, self._connections.delivery, whatever_where=True)
        for chunk in self._chunks(sync, sync_id):
            rows = [row[1:] for row in reader.read([key for key, _ in chunk])]
            found |= {each for each in lane.campaigns(rows, self._clock()) if isinstance(each, str)}
        return found

    def _was_emptied(self, campaign_id: str, held: Mapping[str, Counter[tuple[str, ...]]]) -> bool:
        """Whether what a campaign has not tells nothing: most of what it surely was given is not there either."""
        if known := self._known[campaign_id]:
            return self._gone[campaign_id] > known / 2
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

    def _candidates(self, sync: Sync, lane: Lane, held: Mapping[str, Counter[tuple[str, ...]]]) -> Iterator[Candidate]:
        """The rows of a sync whose customer wolkvox has; the others are counted."""
        findings = SyncFindings(sync.name)
        self.findings.append(findings)
        sync_id = self._ledger.register(sync.name, self._clock())
        # Without `where`: a lead that was delivered may well not match any more, and match again one day.
        columns = assembly.columns(self._config, sync)
        reader = assembly.reader(sync, columns, self._connections.delivery, whatever_where=True)
        fields = self._compared
        for chunk in self._chunks(sync, sync_id):
            versions = dict(chunk)
            known = self._ledger.restoration.known(sync_id, list(versions))
            rows = reader.read(list(versions))
            matching = {row[0] for row in lane.reader.read(list(versions))} if sync.where else versions
            findings.rows += len(rows)
            values = [row[1:] for row in rows]
            mapped = zip(rows, lane.map_many(values, self._clock()), lane.campaigns(values, self._clock()), strict=True)
            for row, record, campaign in mapped:
                key, lead = row[0], known.get(row[0])
                was_delivered = lead is not None and ORDER.get(lead.state) == 0
                findings.known += was_delivered
                if isinstance(campaign, Rejection):
                    continue
                self._known[campaign] += was_delivered
                if isinstance(record, Rejection):
                    continue
                customer = loosely(record["customer_id"])
                if customer not in held:
                    findings.gone += was_delivered
                    self._gone[campaign] += was_delivered
                    waits = lead is None or lead.state is LeadState.PENDING
                    findings.absent += waits and key in matching
                    continue
                own = lane.to(campaign)
                findings.campaigns[key] = campaign
                found = Recovered(
                    key,
                    versions[key],
                    own.fingerprint(self._ledger.hasher, record) if lane.resend_changed else None,
                    signs_of(record, lane.dedupe_by, self._ledger.hasher),
                )
                compared = tuple(record.get(name, "").strip() for name in fields)
                yield Candidate(findings, own, found, customer, compared, lead)

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
                for campaign_id, theirs in found.by_campaign(leads).items():
                    for begin in range(0, len(theirs), _RECORD_LEADS):
                        part = theirs[begin : begin + _RECORD_LEADS]
                        moved += self._ledger.restoration.record(term, sync_id, campaign_id, state, part, self._clock())
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
