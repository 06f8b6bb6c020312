"""`syncd preview`: what would be sent, how each value came about, and what stops the rest of the table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from syncd.cli.options import config_option, json_option, loaded, print_json, print_table, sync_named
from syncd.config import Sync
from syncd.crm import RowReader
from syncd.errors import CrmError, UnknownName
from syncd.fieldmap import FieldMap, Route
from syncd.fieldmap.explaining import Explained, Tally, Told, explain
from syncd.fieldmap.routing import CAMPAIGN
from syncd.model import Instant, Record, Rejection

_PAGE = 5000
"""Rows that one query reads."""
_COUNTED = 100_000
"""Rows that are counted unless every one is asked for: a few seconds, of which the CRM notices little."""


@click.command()
@click.argument("sync")
@click.option("-n", "rows", default=5, show_default=True, type=click.IntRange(1, 1000), help="How many rows to show.")
@click.option("--key", metavar="K", help="Show the row with this key instead, even if it does not match `where`.")
@click.option("--all", "everything", is_flag=True, help=f"Count every row of the table, not {_COUNTED:,} at most.")
@click.option("--no-all", "nothing", is_flag=True, help="Count none.")
@click.option("--unmasked", "--show", "unmasked", is_flag=True, help="Show personal data as it is.")
@json_option
@config_option
def preview(
    own_config: Path | None,
    sync: str,
    rows: int,
    key: str | None,
    everything: bool,
    nothing: bool,
    unmasked: bool,
    as_json: bool,
) -> int:
    """Show what would be sent, how each value came about, and what stops other rows. Sends nothing."""
    if everything and nothing:
        raise click.UsageError("Say one of --all and --no-all.")
    from syncd import assembly

    config, path = loaded(own_config)
    chosen = sync_named(config, sync)
    fieldmap, route = assembly.maps(config, chosen)
    maps, columns = _Maps(fieldmap, route), assembly.columns_for(fieldmap, route)
    connection = assembly.crm_connection(config, path, "preview")
    try:
        reader = assembly.reader(chosen, columns, connection)
        found = reader.sample(rows) if key is None else reader.read([key])
        matches = bool(found) or key is None
        if key is not None and not matches:
            every = assembly.reader(chosen, columns, connection, whatever_where=True)
            found = _one(every, chosen, key)
        now = time.time()
        leads = [
            {"key": row[0], "matches": matches} | _lead(maps.explain(row[1:], now), unmasked=unmasked) for row in found
        ]
        is_counted = bool(found) and key is None and not nothing
        counted = _count(reader, chosen, maps, None if everything else _COUNTED) if is_counted else None
    finally:
        connection.close()
    if as_json:
        print_json({"leads": leads, "table": counted})
        return 0
    _print(leads)
    if leads and not unmasked:
        click.echo("\nValues are masked; --unmasked shows them.")
    if counted is not None:
        _print_counts(counted, chosen)
    return 0


class _Maps:
    """A sync's field map and, where it feeds several campaigns, its route: as delivery applies them."""

    def __init__(self, fieldmap: FieldMap, route: Route | None) -> None:
        self._fieldmap = fieldmap
        self._route = route

    def map_many(self, rows: Sequence[Sequence[object]], now: Instant) -> list[Record | Rejection]:
        """The record of each row, or why there is none; a row without a campaign is not mapped."""
        width = len(self._fieldmap.columns)
        mapped = self._fieldmap.map_many([row[:width] for row in rows], now)
        if self._route is None:
            return mapped
        routed = self._route.map_many(rows, now)
        return [to if isinstance(to, Rejection) else one for to, one in zip(routed, mapped, strict=True)]

    def explain(self, row: Sequence[object], now: Instant) -> Explained:
        """The same of one row, with each step; the campaign comes first."""
        explained = explain(self._fieldmap, row[: len(self._fieldmap.columns)], now)
        if self._route is None:
            return explained
        (to,) = self._route.map_many([row], now)
        steps = tuple((name, cells[0]) for name, cells in self._route.run([row], now).steps)
        fault = to if isinstance(to, Rejection) else None
        # The number of a campaign is the operator's own; what the rule made it of is the lead's.
        told = Told(CAMPAIGN, self._route.words, steps, fault, constant=False, value="" if fault else str(to))
        return Explained(fault or explained.result, (told, *explained.fields))


def _one(reader: RowReader, sync: Sync, key: str) -> list[tuple[Any, ...]]:
    found = reader.read([key])
    if not found:
        raise UnknownName(
            f'{sync.table} has no row with {sync.key} = "{key}".', "Write the key as the CRM's database has it."
        )
    return found


def _lead(explained: Explained, *, unmasked: bool) -> dict[str, Any]:
    """One row as JSON: `record` or `rejected`, and how each field came about."""

    def shown(told: Told, value: str) -> str:
        is_ours = told.constant or (told.field == CAMPAIGN and value == told.value)
        return value if unmasked or is_ours else mask(value)

    result = explained.result
    lead: dict[str, Any] = {}
    if isinstance(result, Rejection):
        lead["rejected"] = {"field": result.field, "rule": result.rule, "reason": result.reason}
    else:
        sent = {told.field: shown(told, told.value) for told in explained.fields if told.value}
        lead["campaign"] = sent.pop(CAMPAIGN, None)
        lead["record"] = sent
    lead["fields"] = [
        {
            "field": told.field,
            "from": told.origin,
            "steps": [{"rule": name, "value": shown(told, value)} for name, value in told.steps],
            "rejected": None if told.fault is None else {"rule": told.fault.rule, "reason": told.fault.reason},
        }
        for told in explained.fields
    ]
    return lead


def _count(reader: RowReader, sync: Sync, maps: _Maps, limit: int | None) -> dict[str, Any]:
    """Map the table page by page, and count; a query that fails half-way ends it, and is told."""
    since = None
    if isinstance(sync.start, datetime) and sync.watermark_column is not None:
        since = (sync.watermark_column, sync.start)
    tally, below, trouble, complete = Tally(), None, None, False
    while limit is None or tally.rows < limit:
        try:
            page = reader.sample(_PAGE, below=below, since=since)
        except CrmError as error:
            if not tally.rows:
                raise
            trouble = str(error)
            break
        tally.add([row[0] for row in page], maps.map_many([row[1:] for row in page], time.time()))
        if len(page) < _PAGE:
            complete = True
            break
        below = page[-1][0]
    return {
        "rows": tally.rows,
        "complete": complete,
        "trouble": trouble,
        "would_pass": tally.passed,
        "stopped": [
            {"field": some.field, "rule": some.rule, "reason": some.reason, "rows": some.rows, "keys": some.examples}
            for some in tally.stopped
        ],
    }


def _print(leads: list[dict[str, Any]]) -> None:
    if not leads:
        click.echo("No row matches.")
    for lead in leads:
        if not lead["matches"]:
            click.echo(f"\n{lead['key']}: does not meet the sync's where, and is not sent. If it did:")
        if "rejected" in lead:
            click.echo(f"\n{lead['key']}: would not be sent: {lead['rejected']['reason']}")
        else:
            click.echo(f"\n{lead['key']}: would be sent as")
        for told in lead["fields"]:
            _print_field(told)


def _print_field(told: dict[str, Any]) -> None:
    """A field, its value and its origin; below it, the steps that changed something."""
    name, steps = told["field"], told["steps"]
    if told["rejected"] is not None:
        value = "(not sent)"
    elif steps:
        value = steps[-1]["value"] or "(empty)"
    else:
        value = ""
    click.echo(f"    {name:<18} {value:<24} {told['from']}".rstrip())
    changes = [step for place, step in enumerate(steps) if not place or step["value"] != steps[place - 1]["value"]]
    if len(changes) > 1:
        path = " > ".join(f"{step['rule']}: {step['value'] or '(empty)'}" for step in changes)
        click.echo(f"    {'':<18} {path}")
    if told["rejected"] is not None:
        click.echo(f"    {'':<18} {told['rejected']['reason']}")


def _print_counts(counted: dict[str, Any], sync: Sync) -> None:
    rows, passed = counted["rows"], counted["would_pass"]
    of = f"all {rows:,} rows that match" if counted["complete"] else f"the {rows:,} rows with the greatest keys"
    click.echo(f"\nOf {of}, {passed:,} would pass and {rows - passed:,} would not.")
    if counted["stopped"]:
        print_table(
            ("rows", "field", "rule", "reason", "such as"),
            [
                (f"{some['rows']:,}", some["field"], some["rule"], some["reason"], ", ".join(some["keys"]))
                for some in counted["stopped"]
            ],
            empty="",
        )
    if counted["trouble"] is not None:
        click.echo(f"The count ended there: {counted['trouble']}")
    elif not counted["complete"]:
        click.echo("--all counts the whole table.")
    if sync.start == "now":
        click.echo('With start = "now", only what is added or changed from the first run on is sent.')
    click.echo("What was sent before, and who is a duplicate, is the ledger's to know, and is not looked at.")


def mask(value: str) -> str:
    """A value that can be recognised and not read: its first and last character, its length and its punctuation."""
    if len(value) <= 3:
        return "*" * len(value)
    inner = "".join("*" if character.isalnum() else character for character in value[1:-1])
    return f"{value[0]}{inner}{value[-1]}"


COMMANDS = (preview,)
