"""Taking apart the calls that wolkvox refuses as a whole without naming a record: for which sync, and what it finds.

Where the leads of a sync go to several campaigns, each of these lanes is looked at by itself; `sync` is a lane's name.

Mutable state, used by the delivery thread alone: the bisections, and what was last refused for such reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from syncd.batch import Lane
from syncd.bisection import Bisection
from syncd.delivery.queues import others_of
from syncd.errors import LedgerUnavailable
from syncd.ledger import Ledger
from syncd.model import Instant, Rejection, Settlement
from syncd.parking import Parks, campaign_key
from syncd.replies import Outcome, Verdict
from syncd.states import LeadState, add_counts

_WHY: Final = Rejection("", "wolkvox", "wolkvox refuses every call that this lead is in, and does not say why")
_PARK_SECS = 300.0
_EXHAUSTED_SECS = 900.0
_MOST_OTHERS = 1000
_UNNAMED = "records-refused"
_ALL_REFUSED = (
    "wolkvox refuses every record of the calls to this campaign and does not say why; look at the campaign in wolkvox."
)
_MANY_REFUSED = "wolkvox refuses many leads without naming them; the search for them goes on in a while."


class Isolation:
    """Finds the leads that spoil their calls.

    Args:
        parks: where a campaign waits whose leads are all refused.
    """

    def __init__(self, ledger: Ledger, parks: Parks) -> None:
        self._ledger = ledger
        self._parks = parks
        # -- mutable --
        self._bisections: dict[str, Bisection] = {}  # by lane
        self._blamed: set[str] = set()  # campaigns that are parked because they refused leads without naming them
        self._lone: dict[str, int] = {}  # syncs of which one lead was refused by itself, and how many waited then
        self._refused_alone: dict[str, tuple[int, bool]] = {}  # by sync: which lead; whether others were taken since
        self._rounds = 0  # each search asks other leads that wait behind

    def is_under_way(self, sync: str) -> bool:
        """Whether a call of this sync is being taken apart."""
        return sync in self._bisections

    def next_part(self, sync: str) -> Sequence[int] | None:
        """The leads that are to be sent by themselves now; None for any."""
        bisection = self._bisections.get(sync)
        return None if bisection is None else bisection.next_part() or ()

    def wants_company(self, sync: str, campaign: str, pending: int) -> bool:
        """Whether a park is over because more leads wait: what one lead could not tell, two can."""
        return campaign in self._blamed and pending > self._lone.get(sync, pending)

    def is_blamed(self, campaign: str) -> bool:
        """Whether the last refusal of this campaign may have been one lead's fault: one lead would prove nothing."""
        return campaign in self._blamed

    def nothing_sent(self, sync: str) -> None:
        """Of the part that was to be sent, no lead needs a call any more."""
        if (bisection := self._bisections.get(sync)) is not None:
            bisection.gone(called=False)

    def heed(self, lane: Lane, sync_id: int, sent: Sequence[int], seq: int, verdict: Verdict, pending: int) -> bool:
        """Take note of what came of a call; whether this settles what must wait.

        Args:
            sent: the leads of the call, which are not pending now.
            seq: the moment of capture at which they were claimed.
            pending: how many leads of the lane waited before it.
        """
        sync, campaign = lane.name, lane.campaign.id
        if verdict.outcome in (Outcome.ACCEPTED, Outcome.ACCEPTED_IN_PART):
            self._blamed.discard(campaign)
            self._lone.pop(sync, None)
            self._note_taken(sync, sent)
        unnamed = verdict.name == _UNNAMED and not verdict.errors
        bisection = self._bisections.get(sync)
        if bisection is not None:
            self._note(bisection, sent, seq, verdict, unnamed=unnamed)
            return unnamed
        if not unnamed:
            return False
        self._blamed.add(campaign)
        others = self._others(lane, sync_id)
        others_taken = len(sent) == 1 and self._refused_alone.get(sync) == (sent[0], True)
        if len(sent) == 1:
            self._refused_alone[sync] = (sent[0], False)
        if len(sent) == 1 and not others and not others_taken:
            self._lone[sync] = pending
            return False
        self._bisections[sync] = bisection = Bisection(sent, others, some_accepted=others_taken)
        if len(sent) == 1:
            bisection.refused(sent, seq)
        return True

    def _note_taken(self, sync: str, sent: Sequence[int]) -> None:
        """Between two refusals of one lead by itself, what was taken tells that it is not the campaign's fault."""
        lead_id, _ = self._refused_alone.get(sync, (None, False))
        if lead_id is not None and lead_id not in sent:
            self._refused_alone[sync] = (lead_id, True)
        else:
            self._refused_alone.pop(sync, None)

    def _others(self, lane: Lane, sync_id: int) -> list[int]:
        """Some leads that wait behind a refused call: the newest and an older one, and other ones each time."""
        try:
            waiting = others_of(self._ledger, lane, sync_id, _MOST_OTHERS)
        except LedgerUnavailable:
            return []  # it tells less without them
        self._rounds += 1
        places = {(-self._rounds) % len(waiting), (len(waiting) // 2 - self._rounds) % len(waiting)} if waiting else ()
        return [waiting[place] for place in sorted(places, reverse=True)]

    @staticmethod
    def _note(bisection: Bisection, sent: Sequence[int], seq: int, verdict: Verdict, *, unnamed: bool) -> None:
        match verdict.outcome:
            case Outcome.ACCEPTED | Outcome.ACCEPTED_IN_PART:
                bisection.accepted()
            case Outcome.UNKNOWN:
                bisection.gone(called=True)
            case Outcome.REFUSED if unnamed:
                bisection.refused(sent, seq)
            case Outcome.REFUSED if verdict.errors:
                bisection.gone(called=True)  # all of them by name: that says nothing of the others
            case _:
                pass  # something else is the matter, and parks; then the same part goes again

    def end(self, sync: str, campaign: str, sync_id: int, now: Instant) -> dict[str, int]:
        """Once all parts are sent: reject the leads that are refused by themselves, where others are not.

        Returns:
            How many leads went to each state.
        """
        bisection = self._bisections.get(sync)
        if bisection is None or not bisection.is_over:
            return {}
        settled: dict[str, int] = {}
        # A lead whose row has changed since it was sent alone may be good by now: it stays pending.
        for lead_id, seq in bisection.condemned.items():
            found = self._ledger.settle_unsent(sync_id, seq, [Settlement(lead_id, LeadState.REJECTED, _WHY)], now)
            settled = add_counts(settled, found)
        del self._bisections[sync]
        key = campaign_key(campaign)
        if bisection.in_vain:
            self._parks.park(key, now, _PARK_SECS, _UNNAMED, _ALL_REFUSED)
        elif bisection.is_exhausted:
            self._parks.park(key, now, _EXHAUSTED_SECS, "many-refused", _MANY_REFUSED)
        return settled
