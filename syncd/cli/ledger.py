"""`syncd leads`, `syncd trace` and `syncd calls`: did my lead arrive?"""

from __future__ import annotations

from pathlib import Path

import click

from syncd.cli.options import config_option, json_option, local, opened, print_json, print_table
from syncd.ledger import views
from syncd.states import LeadState
from syncd.status import utc


@click.command()
@click.argument("sync")
@click.option("--state", type=click.Choice([state.value for state in LeadState]), help="Only those in this state.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="How many at most.")
@click.option("--by-reason", is_flag=True, help="Count the rejected ones by field, rule and reason instead.")
@json_option
@config_option
def leads(own_config: Path | None, sync: str, state: str | None, limit: int, by_reason: bool, as_json: bool) -> int:
    """List the leads of SYNC, the latest first: their keys and states, never their data."""
    if by_reason and state not in (None, LeadState.REJECTED):
        raise click.UsageError("--by-reason counts rejected leads; leave --state out.")
    with opened(own_config) as (config, ledger), ledger.home.read() as connection:
        found = [] if by_reason else views.leads(connection, sync, state, limit)
        is_counted = by_reason or state == LeadState.REJECTED
        reasons = views.rejected_by_reason(connection, sync) if is_counted else []
    if by_reason:
        _print_reasons(reasons, as_json=as_json)
        return 0
    if as_json:
        print_json(
            [
                {
                    "key": lead.key,
                    "state": lead.state,
                    "captured_at": utc(lead.captured_at),
                    "settled_at": utc(lead.settled_at),
                    "call": lead.call_id,
                    "field": lead.field,
                    "rule": lead.rule,
                    "reason": lead.reason,
                }
                for lead in found
            ]
        )
        return 0
    zone = config.wolkvox.zone
    print_table(
        ("key", "state", "captured", "settled", "call", "reason"),
        [
            (
                lead.key,
                lead.state,
                local(lead.captured_at, zone),
                local(lead.settled_at, zone),
                lead.call_id or "",
                lead.reason or "",
            )
            for lead in found
        ],
        empty="No such lead.",
    )
    if reasons:
        _print_reasons(reasons, as_json=False)
    return 0


def _print_reasons(reasons: list[tuple[str, str, str, int]], *, as_json: bool) -> None:
    if as_json:
        print_json([{"field": field, "rule": rule, "reason": reason, "leads": n} for field, rule, reason, n in reasons])
        return
    print_table(
        ("leads", "field", "rule", "reason"),
        [(f"{count:,}", field or "", rule or "", reason) for field, rule, reason, count in reasons],
        empty="No lead is rejected.",
    )


@click.command()
@click.argument("sync")
@click.argument("key")
@json_option
@config_option
def trace(own_config: Path | None, sync: str, key: str, as_json: bool) -> int:
    """Tell every step of the lead KEY of SYNC."""
    with opened(own_config) as (config, ledger), ledger.home.read() as connection:
        lead, events = views.trace(connection, sync, key)
    if as_json:
        print_json(
            {
                "sync": sync,
                "key": key,
                "state": lead.state,
                "field": lead.field,
                "rule": lead.rule,
                "reason": lead.reason,
                "events": [{"at": utc(event.at), "what": event.what, "call": event.call_id} for event in events],
            }
        )
        return 0
    click.echo(f"{sync} {key}: {lead.state}" + (f" ({lead.reason})" if lead.reason else ""))
    print_table(
        ("when", "what", "call"),
        [(local(event.at, config.wolkvox.zone), event.what, event.call_id or "") for event in events],
        empty="",
    )
    return 0


@click.command()
@click.option("--unresolved", is_flag=True, help="Only those whose outcome is not known.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many at most.")
@json_option
@config_option
def calls(own_config: Path | None, unresolved: bool, limit: int, as_json: bool) -> int:
    """List the calls to wolkvox, the latest first, and what came of them."""
    with opened(own_config) as (config, ledger), ledger.home.read() as connection:
        found = views.calls(connection, unresolved=unresolved, limit=limit)
    if as_json:
        print_json(
            [
                {
                    "call": call.id,
                    "kind": call.kind,
                    "sync": call.sync,
                    "campaign": call.campaign_id,
                    "state": call.state,
                    "leads": call.leads,
                    "started_at": utc(call.started_at),
                    "ended_at": utc(call.ended_at),
                    "http_status": call.http_status,
                    "verdict": call.verdict,
                    "sentence": call.sentence,
                    "checks": call.checks,
                    "resolved_by": call.resolved_by,
                }
                for call in found
            ]
        )
        return 0
    zone = config.wolkvox.zone
    print_table(
        ("call", "sync", "campaign", "leads", "started", "secs", "state", "checks", "resolved by", "what"),
        [
            (
                call.id,
                call.sync or call.kind,
                call.campaign_id or "",
                f"{call.leads:,}",
                local(call.started_at, zone),
                f"{call.ended_at - call.started_at:.1f}" if call.ended_at is not None else "",
                call.state,
                str(call.checks or ""),
                call.resolved_by or "",
                call.sentence or "",
            )
            for call in found
        ],
        empty="No such call.",
    )
    return 0


COMMANDS = (leads, trace, calls)
