"""The text of a first configuration: each line says why it is so, and what a person must fill in. Pure.

A writer of our own: it is comments for the most part, beside a few lines of keys and texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from syncd.suggest import guessing
from syncd.suggest.guessing import Guess
from syncd.suggest.seen import Column, Seen

FILL_IN = "FILL IN"
"""Marks, in a comment, what only a person knows."""
_SUGGESTED = 12


def configuration(url: str, seen: Seen, *, password_file: str | None = None) -> str:
    """Write the configuration.

    Args:
        url: of the CRM, without a password.
        password_file: as crm.password_file names it.
    """
    return "\n".join([*_head(url, password_file), *_sync(seen), *_campaign(), *_fields(seen)]) + "\n"


def name_of(seen: Seen) -> str:
    """A name for the sync, after its table."""
    return re.sub(r"[^a-z0-9_-]+", "-", seen.table.lower()).strip("-_")[:63] or "leads"


def quoted(text: str) -> str:
    """A text as TOML writes it: JSON's way, and whatever no eye sees as an escape."""
    written = json.dumps(text, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in written)


def _head(url: str, password_file: str | None) -> Iterator[str]:
    yield "# A first configuration, guessed from the table: read each line, correct it, then run `syncd check` and"
    yield f"# `syncd preview`. What only you know is marked {FILL_IN}. config.example.toml shows every other key."
    yield ""
    yield "[crm]"
    yield f"url = {quoted(url)}"
    if password_file is None:
        yield '# password_file = "crm-password"  # a file beside this one, where the server asks for a password'
    else:
        yield f"password_file = {quoted(password_file)}"
    yield ""
    yield "[wolkvox]"
    yield f"# {FILL_IN}: the number in your address of wolkvox, https://wv0042.wolkvox.com"
    yield '# server = "0042"'
    yield f"# {FILL_IN}: the licences of the operation; each gives 1,000 calls a day"
    yield "# licenses = 5"
    yield f"# {FILL_IN}: make this file beside this one; it holds the API token and nothing else"
    yield 'token_file = "wolkvox-token"'
    yield ""


def _sync(seen: Seen) -> Iterator[str]:
    yield "[[sync]]"
    yield f"name = {quoted(name_of(seen))}"
    yield f"table = {quoted(seen.name)}"
    key = guessing.key(seen)
    if key is None:
        yield f"# {FILL_IN}: no column is unique and never empty by itself; name the one that identifies a row"
        yield '# key = "id"'
    else:
        why = "the primary key" if key.is_key else "unique" if key.is_unique else "by its name; a view promises nothing"
        yield f"key = {quoted(key.name)}  # {why}"
    yield from _watermark(seen)
    yield 'start = "now"  # the rows that are there already are not sent'
    yield from _where(seen)
    yield ""


def _watermark(seen: Seen) -> Iterator[str]:
    changed, created = guessing.watermarks(seen)
    column = changed or created
    if column is None and seen.is_table:
        yield "# no timestamp looks as if every change set it, so triggers tell of changes: `syncd setup` installs them"
        yield 'capture = "listen"'
        return
    yield 'capture = "poll"  # asks at intervals; docs/dba.md tells of "listen" and "slot"'
    if column is None:
        yield f"# {FILL_IN}: poll needs a timestamp, or an increasing number, that every insert and update sets"
        yield '# watermark_column = "updated_at"'
        return
    if changed is None:
        yield f"# only inserts seem to set {_safe(column.name)}: a lead that is corrected later is not seen again"
    else:
        yield f"# by its name, every change sets it; {_setter(seen, column)}"
    if seen.is_table and not column.is_indexed:
        yield f"# it has no index, and needs one: CREATE INDEX CONCURRENTLY ON {_relation(seen)} ({_sql(column)});"
    yield f"watermark_column = {quoted(column.name)}"


def _setter(seen: Seen, column: Column) -> str:
    if seen.triggers:
        return f"there are triggers before an update ({_safe(', '.join(seen.triggers))}), one of which may do so"
    if not seen.is_table:
        return "that is for the view's own tables to keep"
    default = "its default sets it for inserts" if column.has_default else "it has no default"
    return f"{default}, and no trigger does so for updates: make sure that the CRM itself does"


def _where(seen: Seen) -> Iterator[str]:
    found = list(guessing.conditions(seen))
    for _, why in found:
        yield f"# {_safe(why)}"
    if found:
        yield f"where = {quoted(' AND '.join(condition for condition, _ in found))}"
    else:
        yield "# where = \"status = 'new'\"  # a condition in SQL that a lead must meet; none was found"


def _campaign() -> Iterator[str]:
    yield "[sync.campaign]"
    yield f"# {FILL_IN}: wolkvox's number of the campaign"
    yield '# id = "12345"'
    yield 'type = "predictive"  # or "preview", whose records have other fields'
    yield f'# {FILL_IN}: a command to the dialler that goes with every call; "start" sets the campaign dialling'
    yield '# status = "start"'
    yield ""


def _fields(seen: Seen) -> Iterator[str]:
    region = guessing.region(seen)
    found = guessing.fields(seen)
    telephones = guessing.telephones(seen, region.code, [guess.column for guess in found.values()])
    yield "[sync.fields]"
    if "customer_id" not in found:
        yield f"# {FILL_IN}: what tells leads apart in wolkvox, such as a document"
        yield '# customer_id = "document"'
    for field, guess in found.items():
        yield f"{field} = {_rule(guess)}  # {_safe(guess.why)}"
    if not telephones:
        yield f"# {FILL_IN}: no column looks like a telephone, and a campaign dials"
        yield f'# tel1 = {{ column = "phone", phone = {{ region = {quoted(region.code)} }} }}'
    else:
        yield f"# the country: {region.why}"
    for place, guess in enumerate(telephones, start=1):
        # A second telephone that is wrong must not keep a lead from being called at its first.
        default = "" if place == 1 else ', default = ""'
        phone = f"phone = {{ region = {quoted(region.code)} }}{default}"
        yield f"tel{place} = {{ column = {quoted(guess.column.name)}, {phone} }}  # {_safe(guess.why)}"
    yield from _suggestions(seen, {guess.column for guess in (*found.values(), *telephones)})


def _suggestions(seen: Seen, taken: set[Column]) -> Iterator[str]:
    rest = [column for column in seen.columns if column not in taken and column.type != "bytea" and not column.is_key]
    if rest:
        yield "# the other columns; take off the first mark of what an agent should see"
    for place, column in enumerate(rest, start=1):
        if place > _SUGGESTED:
            yield f"#   and also: {_safe(column.name)} ({_safe(column.type)})"
            continue
        rule = f"{{ column = {quoted(column.name)}, max = {100 if place <= 6 else 200} }}"
        if column.type in ("json", "jsonb"):
            rule = rule.replace(", max", ', path = "$.a_key", max')
        yield f"# opt{place} = {rule}  # {_safe(column.type)}"


def _rule(guess: Guess) -> str:
    column = quoted(guess.column.name)
    match guess.step.split():
        case ["split", part]:
            return f"{{ column = {column}, split = {quoted(part)} }}"
        case ["lower"]:
            return f'{{ column = {column}, case = "lower" }}'
        case _:
            return column


def _relation(seen: Seen) -> str:
    return _safe(f"{guessing.quote(seen.schema)}.{guessing.quote(seen.table)}")


def _sql(column: Column) -> str:
    return _safe(guessing.quote(column.name))


def _safe(text: str) -> str:
    """A text on one line of a comment, whatever a name holds."""
    return "".join(one if one.isprintable() else " " for one in text)
