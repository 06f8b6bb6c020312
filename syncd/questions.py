"""Asking wolkvox: each question costs a call of the day's quota, and is counted like one that carries leads."""

from __future__ import annotations

from collections.abc import Callable, Container
from functools import partial
from zoneinfo import ZoneInfo

from syncd.holdings import Holdings, read_holdings, says_empty
from syncd.ledger import Ending, Intent, Ledger, new_call_id
from syncd.model import Clock, Exchange, Instant
from syncd.pacing import quota_day
from syncd.states import CallState, LeadState
from syncd.wolkvox import Wolkvox

FROZEN_SECS = 20.0
"""A process that needed longer from its intent to its call was frozen: others may have taken its call for lost."""
_NOT_ASKED = Exchange(
    sent=False, status=None, body=b"", error="syncd stood still, or its clock jumped, before it asked", seconds=0.0
)
Ask = Callable[[str, Callable[[], Exchange]], Exchange]
"""Asks a question of a kind, such as ``campaign_15``, and counts it."""


def question(kind: str, now: Instant, *, zone: ZoneInfo, budget: int, timeout_secs: float) -> Intent:
    """The intent of a question.

    Args:
        zone: whose midnight begins the quota day.
        budget: calls that the day may see in all.
        timeout_secs: for the whole exchange.
    """
    return Intent(
        id=new_call_id(now),
        kind=kind,
        campaign_id=None,
        quota_day=quota_day(now, zone).isoformat(),
        budget=budget,
        body_hash=None,
        started_at=now,
        deadline_at=now + timeout_secs,
    )


def ask_counted(
    ledger: Ledger, term: int | None, intent: Intent, ask: Callable[[], Exchange], clock: Clock, asker: str
) -> Exchange:
    """Commit the intent of a question, ask it once, and write what came of it.

    Args:
        term: the sender's; None for one who only asks.
        asker: whose question it is, for the ledger.

    Raises:
        QuotaSpent: no call is left.
        SenderDeposed, LedgerError: as `Ledger.intend`.
    """
    number, _ = ledger.intend(term, intent)
    # As with a call that carries leads: others may have taken this one for lost, and counted its day to an end.
    is_frozen = abs(clock() - intent.started_at) > FROZEN_SECS
    exchange = _NOT_ASKED if is_frozen else ask()
    ended = clock()
    state = CallState.ACCEPTED if exchange.status == 200 else CallState.REFUSED
    if not exchange.sent:
        state = CallState.NOT_SENT
    ending = Ending(
        state,
        ended,
        exchange.status,
        intent.kind,
        f"A question of {asker}.",
        LeadState.PENDING,
        left_at=exchange.left_by(ended) if is_at_work(exchange) else None,
    )
    ledger.finish(number, ending, resend_changed=False)
    return exchange


def is_at_work(exchange: Exchange) -> bool:
    """Whether wolkvox may still be at work on a question: it left, and no answer of wolkvox's own came."""
    return exchange.sent and (exchange.status is None or exchange.status >= 500)


def campaign_holdings(
    client: Wolkvox, campaign_id: str, customers: Container[str], marker: tuple[str, str] | None, ask: Ask
) -> tuple[Holdings | None, str]:
    """What a campaign holds of some customers; one question, and a second where the first gives no record.

    Args:
        customers: by `loosely` their ids.
        marker: as `read_holdings`.

    Returns:
        None where wolkvox does not say; and why not.
    """
    exchange = ask("campaign_15", partial(client.export, campaign_id))
    body = exchange.body if exchange.status == 200 else b""
    holdings = read_holdings(body, customers, marker=marker, campaign_id=campaign_id)
    if exchange.status == 404 or (holdings is not None and holdings.rows == 0):
        # So does wolkvox answer where there is nothing to read; and where there is no such campaign.
        exchange = ask("campaigns", partial(client.campaigns, campaign_id))
        empty = exchange.status == 200 and says_empty(exchange.body, campaign_id)
        holdings = Holdings({}, 0, 0, whole=True) if empty else None
    if holdings is not None:
        return holdings, ""
    return None, exchange.error or f"HTTP {exchange.status}, and not as documented"
