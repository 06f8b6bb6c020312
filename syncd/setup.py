"""`syncd setup`: what the CRM's administrator runs, or lets syncd run, so that a sync may follow its table.

The scripts lie in sql/crm/. They hold placeholders, which `render` fills in from the configuration, quoted; only
`run` needs a database.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from syncd import assembly
from syncd.config import Config, Sync
from syncd.crm import CrmConnection
from syncd.crm.joining import columns_by_place
from syncd.errors import ConfigError, CrmFault, CrmUnavailable, EnvironmentFault

_DOLLAR_QUOTE = re.compile(r"\$\w*\$")
_LOCK_SECS = 5
_FOR_COMMANDS = 2
"""Connections of the role that are left to commands, such as `syncd check`, beside the daemon's own."""


def template(name: str) -> str:
    """The text of a script of sql/crm/, such as ``listen.sql``: from the wheel, or from beside the package.

    Raises:
        EnvironmentFault: the installation lacks it.
    """
    package = Path(str(files("syncd")))
    for folder in (package / "_sql", package.parent / "sql"):
        file = folder / "crm" / name
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise EnvironmentFault(f"The installation of syncd lacks sql/crm/{name}.", "Install it anew.")


def render(
    name: str,
    sync: Sync,
    role: str,
    columns: Sequence[str] = (),
    *,
    relation: tuple[str, str] | None = None,
    candidates: Sequence[str] = (),
    kept: Sequence[str] = (),
    connections: int = 4,
    read_only: bool = True,
    statement_timeout_secs: int = 30,
) -> str:
    """A script of sql/crm/ with its placeholders filled in: the same ones for every script.

    Args:
        name: ``poll.sql``, ``listen.sql``, ``slot-remove.sql``, ...
        role: the role that syncd logs in as.
        columns: those that the role must be able to read.
        relation: the table that they are of: the sync's own where it is None, else one that it joins.
        candidates: words in `where`; those that are columns it must be able to read, too.
        kept: columns of the table that the role needs all the same when this sync is removed.
        connections: that the role may have at once.
        read_only: whether every transaction of the role is, unless it says otherwise.

    Raises:
        ConfigError: a name would end a quotation of the script ($tag$).
    """
    objects = sync.objects
    insert, update = objects.triggers
    capture = sync.capture if relation is None else "poll"  # a joined table is read, and not followed
    relation = relation or sync.relation
    for value in (role, sync.key, *relation, *columns):
        if _DOLLAR_QUOTE.search(value):
            raise ConfigError([f'sync "{sync.name}": setup cannot write the name "{value}": it holds a $quotation$'])
    names: dict[str, sql.Composable] = {
        "relation": sql.Identifier(*relation),
        "relation_text": _quoted(*relation),
        "schema": sql.Identifier(relation[0]),
        "table": sql.Identifier(relation[1]),
        "key": sql.Identifier(sync.key),
        "key_text": sql.Literal(sync.key),
        "role": sql.Identifier(role),
        "role_text": sql.Literal(role),
        "columns_text": _array(columns),
        "candidates_text": _array(candidates),
        "kept_text": _array(kept),
        "connections": sql.SQL(str(connections)),
        "read_only": sql.SQL(str(read_only).lower()),
        "statement_timeout_text": sql.Literal(f"{statement_timeout_secs}s"),
        "outbox_schema": sql.Identifier(objects.outbox[0]),
        "outbox": sql.Identifier(*objects.outbox),
        "outbox_text": _quoted(*objects.outbox),
        "function": sql.Identifier(*objects.function),
        "trigger_insert": sql.Identifier(insert),
        "trigger_update": sql.Identifier(update),
        "trigger_insert_text": sql.Literal(insert),
        "trigger_update_text": sql.Literal(update),
        "channel_text": sql.Literal(objects.channel),
        "publication": sql.Identifier(objects.publication),
        "publication_text": sql.Literal(objects.publication),
        "slot_text": sql.Literal(objects.slot),
        "sync_text": sql.Literal(sync.name),
        "capture_text": sql.Literal(capture),
    }
    return sql.SQL(template(name)).format(**names).as_string(None)


def _quoted(*parts: str) -> sql.Literal:
    """A qualified name as the text that ``::regclass`` takes."""
    return sql.Literal(sql.Identifier(*parts).as_string(None))


def _array(values: Sequence[str]) -> sql.Composable:
    return sql.SQL("ARRAY[{}]::text[]").format(sql.SQL(", ").join(map(sql.Literal, values)))


# -- what a sync needs ---------------------------------------------------------------------------------------


def role_of(config: Config) -> str:
    """The role that syncd logs in as: the user of crm.url.

    Raises:
        ConfigError: it names none.
    """
    user = conninfo_to_dict(config.crm.url).get("user")
    if not user:
        rule = "must name the user that syncd logs in as, as in postgresql://syncd@host:5432/database"
        raise ConfigError([f'crm.url = "{config.crm.url}": {rule}: setup gives that user its rights'])
    return str(user)


def columns_of(config: Config, sync: Sync) -> tuple[str, ...]:
    """The columns of its own table that a sync reads, but for those that only `where` mentions; each once."""
    return reads_of(config, sync)[sync.relation]


def reads_of(config: Config, sync: Sync) -> dict[tuple[str, str], tuple[str, ...]]:
    """The columns that a sync reads of each table, its own first; a table that is joined twice is there once."""
    watermark = [sync.watermark_column] if sync.watermark_column is not None else []
    joins = assembly.joins(sync)
    places = columns_by_place(assembly.columns(config, sync), joins)
    found = {sync.relation: dict.fromkeys([sync.key, *watermark, *places[None]])}
    for join in joins:
        found.setdefault(join.relation, {}).update(dict.fromkeys(places[join.name]))
    return {relation: tuple(names) for relation, names in found.items()}


_WORDS = re.compile(
    r"""
      --[^\n]*
    | (?P<comment>/\*)
    | [eE]'(?:[^'\\]|\\.|'')*'
    | '(?:[^']|'')*'
    | \$(?P<tag>[^\W\d]\w*|)\$.*?\$(?P=tag)\$
    | (?:[uU]&)?"(?P<quoted>(?:[^"]|"")+)"
    | (?P<bare>[^\W\d][\w$]*)
    | \d[\w.]*
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_FOLD = str.maketrans({chr(code): chr(code + 32) for code in range(ord("A"), ord("Z") + 1)})


def words_of(where: str | None) -> tuple[str, ...]:
    """The names in a condition, each once: columns among them, but functions, keywords and types as well.

    As Postgres reads them (its manual, "Lexical Structure"): bare ones in lower case, quoted ones as they are; not
    what stands in strings and comments.
    """
    found: dict[str, None] = {}
    at = 0
    while where is not None and (match := _WORDS.search(where, at)) is not None:
        at = match.end()
        if match["comment"] is not None:
            at = _after_comment(where, at)
        elif match["quoted"] is not None:
            found[match["quoted"].replace('""', '"')] = None
        elif match["bare"] is not None:
            found[match["bare"].translate(_FOLD)] = None
    return tuple(found)


def _after_comment(text: str, at: int) -> int:
    """Where a comment that has just begun ends; comments nest."""
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(text, at)) is not None:
        depth += 1 if edge[0] == "/*" else -1
        at = edge.end()
    return at if not depth else len(text)


def connections_of(config: Config) -> int:
    """Connections that syncd's role may need at once: capture and delivery, one more where a sync listens, one for
    each slot, and two for commands."""
    modes = [sync.capture for sync in config.sync]
    return 2 + ("listen" in modes) + modes.count("slot") + _FOR_COMMANDS


# -- whole scripts -------------------------------------------------------------------------------------------


def script(config: Config, sync: Sync, *, remove: bool = False) -> str:
    """The whole of what setup runs for a sync, in one transaction; what cannot be in it comes after it.

    Raises:
        ConfigError: crm.url names no user, or a name cannot be written.
    """
    modes = ["poll"] if sync.capture == "poll" else ["poll", sync.capture]
    joined = [relation for relation in reads_of(config, sync) if relation != sync.relation]
    # What cannot be in a transaction comes after that of the last.
    parts = [_part(config, sync, modes[0], None, remove=remove)]
    parts += [_part(config, sync, "poll", relation, remove=remove) for relation in joined]
    parts += [_part(config, sync, mode, None, remove=remove) for mode in modes[1:]]
    text = parts[0]
    for part in parts[1:]:
        text = text.replace("\nCOMMIT;\n", "\n") + part.replace("\nBEGIN;\n", "\n", 1)
    return text


def _part(config: Config, sync: Sync, mode: str, relation: tuple[str, str] | None, *, remove: bool) -> str:
    """A script for one table of a sync; `relation` is a table that it joins."""
    place, needed = relation or sync.relation, reads_of(config, sync)
    others = [other for other in config.sync if other is not sync]
    kept = [name for other in others for name in reads_of(config, other).get(place, ())]
    kept += [name for other in others if other.relation == place for name in words_of(other.where)]
    return render(
        f"{mode}-remove.sql" if remove else f"{mode}.sql",
        sync,
        role_of(config),
        needed[place],
        relation=relation,
        candidates=words_of(sync.where) if relation is None else (),
        kept=kept,
        connections=connections_of(config),
        read_only=all(each.capture != "listen" for each in config.sync),
        statement_timeout_secs=config.crm.statement_timeout_secs,
    )


def for_psql(config: Config, sync: Sync, *, remove: bool = False) -> str:
    """`script`, with a line that makes psql stop at an error.

    Raises:
        ConfigError: as `script`.
    """
    return "\\set ON_ERROR_STOP on\n" + script(config, sync, remove=remove)


def run(
    config: Config, config_file: Path, sync: Sync, *, remove: bool, user: str | None, password: str | None
) -> list[str]:
    """Run the script on crm.url's server.

    Args:
        user: whom to log in as instead of crm.url's user; crm.password_file is then not used.
        password: of that user; None for libpq's own means (~/.pgpass, peer, ...) or crm.password_file.

    Returns:
        What was done, a sentence each.

    Raises:
        ConfigError: as `script`, or the password's file cannot be read.
        CrmUnavailable: the server does not answer, or a lock or the time was not to be had.
        CrmFault: it refused. In either case nothing of the transaction stays.
    """
    text = script(config, sync, remove=remove)
    url = config.crm.url
    if user is not None:
        url = make_conninfo(url, user=user)
    elif password is None:
        password = assembly.crm_password(config, config_file)
    instance = f"wv{config.wolkvox.server}"
    said: list[str] = []
    connection = CrmConnection(
        url, password, "setup", config.crm.statement_timeout_secs, instance=instance, writes=True
    )
    about = assembly.about(sync)
    try:
        with connection.session(about) as session:
            session.add_notice_handler(lambda diagnostic: said.append(diagnostic.message_primary or ""))
            try:
                session.execute(text.encode())
            except psycopg.Error as error:
                raise _refusal(error, about) from None
    finally:
        connection.close()
    return [*said, *_made(sync, remove=remove)]


def _made(sync: Sync, *, remove: bool) -> list[str]:
    """What the scripts of a mode do not say themselves."""
    objects = sync.objects
    match sync.capture:
        case "poll":
            return []
        case "listen":
            what = f"The triggers {' and '.join(objects.triggers)} of {sync.table} and the outbox "
            what += ".".join(objects.outbox)
        case "slot":
            what = f"The publication {objects.publication} and the replication slot {objects.slot}"
    return [f"{what} {'are gone' if remove else 'are there'}."]


def _refusal(error: psycopg.Error, about: str) -> CrmFault | CrmUnavailable | psycopg.Error:
    """What Postgres said of a script, as one of ours; the scripts touch no rows, so nothing of a lead is in it."""
    state, said, hint = error.sqlstate, (error.diag.message_primary or "").rstrip("."), error.diag.message_hint or ""
    if error.diag.source_function == "exec_stmt_raise":  # a sentence of the script's own
        sentence = f"{said[:1].upper()}{said[1:]}."
        return CrmUnavailable(sentence, hint) if state == "55P03" else CrmFault(sentence, hint)
    match state:
        case None:
            return error  # the connection itself: `CrmConnection` knows what to say
        case "55P03":
            return CrmUnavailable(
                f"The setup of {about} gave up: a lock was not to be had within {_LOCK_SECS} seconds.",
                "A long transaction uses the table: pg_stat_activity shows it. Try again when it has ended.",
            )
        case "57014":
            return CrmUnavailable(
                f"The setup of {about} took longer than crm.statement_timeout_secs, and was given up.",
                "A long transaction may be in its way: pg_stat_activity shows it. Try again when it has ended.",
            )
        case "25006":
            return CrmFault(
                "The server of crm.url is a replica, which takes no setup.",
                "Run what --print prints on the primary; the rights come to the replica by themselves.",
            )
        case "42501":
            return CrmFault(
                f"The setup of {about} is not this user's to do: {said}.",
                "Name one who may, with --as, or give what --print prints to the administrator.",
            )
        case _:
            return CrmFault(f"Postgres refused the setup of {about} (SQLSTATE {state}): {said}.", hint)
