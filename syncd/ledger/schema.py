"""The ledger's tables, for both homes.

Instants are seconds since the Unix epoch. The tables know the rules: a state ties its columns, by CHECK, so that no
code can leave a lead half settled. In Postgres they lie in a schema named ``syncd``; in SQLite they have the file to
themselves.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from syncd.states import CallState, LeadState

SCHEMA = "syncd"
REVISION = "0005"
"""The newest migration; a ledger at any other is refused."""

metadata = MetaData(schema=SCHEMA)
_Number = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER PRIMARY KEY counts by itself in SQLite


def _one_of(states: type[LeadState | CallState]) -> str:
    return ", ".join(f"'{state.value}'" for state in states)


def _index_where(condition: str, name: str, *columns: Column[Any]) -> None:
    """An index of the rows that meet a condition, in whichever home."""
    Index(name, *columns, postgresql_where=text(condition), sqlite_where=text(condition))


_IN_FLIGHT = "settled_at IS NULL AND call_n IS NOT NULL"  # a change meanwhile is remembered in `changed`
_UNSENT = "settled_at IS NOT NULL AND changed = 0"
_LEAD_RULES = {
    LeadState.PENDING: "settled_at IS NULL AND changed = 0",
    LeadState.DELIVERED: "settled_at IS NOT NULL AND call_n IS NOT NULL AND changed = 0",
    LeadState.SENDING: _IN_FLIGHT,
    LeadState.HELD: _IN_FLIGHT,
    LeadState.REJECTED: "settled_at IS NOT NULL AND reason IS NOT NULL AND changed = 0",
    LeadState.WITHDRAWN: _UNSENT,
    LeadState.EXPIRED: _UNSENT,
    LeadState.DUPLICATE: _UNSENT,
    LeadState.UNCHANGED: _UNSENT,
}
"""What each state says of its lead's columns."""

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

sync = Table(
    "sync",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("start", Text),  # the watermark from which rows are ours, "beginning" or "noted"; NULL: not begun
    Column("watermark", Text),
    Column("seq", BigInteger, nullable=False, server_default="0"),  # counts captures; lead.seq is one of them
    Column("started_at", Double, nullable=False),
    Column("identity", Text),  # what the source of changes called itself when the watermark was written
    Column("gap", Text),  # why a sweep of the whole table is due; NULL: it is not
    Column("existing", Text),  # what is being done with the rows that were there at the start: "take", "note"; or NULL
    Column("scanned_to", Text),  # how far that is: the last key
    Column("scanned", BigInteger, nullable=False, server_default="0"),  # and how many rows
    Column("scan_estimate", BigInteger),  # of about how many
    Column("paused_at", Double),  # since when nothing of it is sent; NULL: it is
    Column("pause_reason", Text),
    Column("resumed_at", Double),
)

# Keys that were there before a start which no column of the table tells: a sweep leaves them out.
noted = Table(
    "noted",
    metadata,
    Column("sync_id", Integer, primary_key=True),
    Column("key", Text, primary_key=True),
)

call = Table(
    "call",
    metadata,
    Column("n", _Number, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),  # add_record, token_info, ...
    Column("sync_id", ForeignKey(sync.c.id)),
    Column("campaign_id", Text),
    Column("state", Text, nullable=False),
    Column("term", BigInteger, nullable=False),
    Column("quota_day", Text, nullable=False),
    Column("leads", Integer, nullable=False),
    Column("fresh", Integer, nullable=False, server_default="0"),  # of these, the ones that a surge is told by
    Column("body_hash", LargeBinary),
    Column("started_at", Double, nullable=False),
    Column("deadline_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("http_status", Integer),
    Column("verdict", Text),
    Column("sentence", Text),
    Column("prints", LargeBinary),  # of each record that was sent, while that may be asked: see `hashes.prints`
    Column("marker", Text),  # the field that every record was stamped in with the call's id; NULL: none was
    Column("found", Integer, nullable=False, server_default="0"),  # leads that were later seen to be in wolkvox
    Column("checks", Integer, nullable=False, server_default="0"),  # how often wolkvox was asked about it
    Column("checked_at", Double),  # when last
    Column("left_at", Double),  # where no whole answer came: by when its request had left, so that it may be at work
    Column("resolved_by", Text),  # how an unknown outcome became known: "verified", or an operator's word
    CheckConstraint(f"state IN ({_one_of(CallState)})", name="call_state_known"),
    CheckConstraint("(state = 'intended') = (ended_at IS NULL)", name="call_ended_with_an_outcome"),
    CheckConstraint("(kind = 'add_record') = (leads > 0)", name="call_carries_leads"),
)
Index("call_quota_day", call.c.quota_day)
_index_where("state IN ('intended', 'unknown')", "call_open", call.c.n)
_index_where("left_at IS NOT NULL", "call_left", call.c.left_at)

# No foreign keys on a lead: Postgres checks them row by row, which would double the time of a bulk insert.
lead = Table(
    "lead",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("sync_id", Integer, nullable=False),
    Column("key", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("changed", Integer, nullable=False, server_default="0"),  # while sending or held: look again
    Column("captured_at", Double, nullable=False),
    Column("settled_at", Double),
    Column("call_n", BigInteger),
    Column("fingerprint", LargeBinary),  # keyed hash of the record that was delivered last
    Column("fingerprint_before", LargeBinary),  # what that was before the call under way, which may be refused
    Column("field", Text),
    Column("rule", Text),
    Column("reason", Text),
    Column("rank", Integer, nullable=False, server_default="0"),  # 1 waits behind 0
    Column("absent_at", Double),  # held: when wolkvox was first seen not to have it
    Column("twin_id", BigInteger),  # duplicate: the lead that was called, or may have been
    Column("campaign_id", Text),  # pending, of a sync with several campaigns: where it goes; NULL: not known yet
    UniqueConstraint("sync_id", "key", name="lead_key"),
    # One CASE, the commonest states first: checks with lists of states cost SQLite more than the writes themselves.
    CheckConstraint(
        "CASE state "
        + " ".join(f"WHEN '{state}' THEN {rule}" for state, rule in _LEAD_RULES.items())
        + " ELSE 1 = 0 END",
        name="lead_state_ties_its_columns",
    ),
)
_index_where("state = 'pending'", "lead_pending", lead.c.sync_id, lead.c.rank, lead.c.captured_at, lead.c.id)
_index_where(
    "state = 'pending' AND campaign_id IS NOT NULL",
    "lead_routed",
    *(lead.c[name] for name in ("sync_id", "campaign_id", "rank", "captured_at", "id")),
)
_index_where("state IN ('sending', 'held')", "lead_in_flight", lead.c.call_n)
_index_where("state = 'rejected'", "lead_rejected", lead.c.sync_id, lead.c.id)
_index_where("twin_id IS NOT NULL", "lead_twin", lead.c.twin_id)

# By what the leads of a call are recognised: there from the intent on, and gone where wolkvox has not taken the lead.
called = Table(
    "called",
    metadata,
    Column("lead_id", BigInteger, primary_key=True),
    Column("call_n", BigInteger, primary_key=True),
    Column("kind", Text, primary_key=True),  # see `Sign.kind`; "": of a ledger that did not write it yet
    Column("hash", BigInteger, primary_key=True),  # keyed
    Column("sync_id", Integer, nullable=False),
    Column("called_at", Double, nullable=False),  # when the call began
    sqlite_with_rowid=False,
)
Index("called_hash", called.c.hash)
Index("called_at", called.c.called_at)

history = Table(
    "history",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("lead_id", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    Column("left_state", Text, nullable=False),  # the state that the lead left
    Column("captured_at", Double, nullable=False),
    Column("settled_at", Double),
    Column("call_n", BigInteger),
    Column("reason", Text),
    Column("cause", Text, nullable=False),  # why it left it
)
Index("history_lead", history.c.lead_id)

tally = Table(
    "tally",
    metadata,
    Column("sync_id", ForeignKey(sync.c.id), primary_key=True),
    Column("state", Text, primary_key=True),
    Column("leads", BigInteger, nullable=False),
    CheckConstraint("leads >= 0", name="tally_not_negative"),
)

# What people did to the ledger, and why.
act = Table(
    "act",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("at", Double, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),  # pause, resume, retry, resolve, recover
    Column("subject", Text, nullable=False),  # a sync, a lead of it, or a call
    Column("reason", Text, nullable=False),
    Column("leads", BigInteger, nullable=False),
)

lease = Table(
    "lease",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("term", BigInteger, nullable=False),
    Column("holder", Text, nullable=False),
    Column("expires_at", Double, nullable=False),
    CheckConstraint("id = 1", name="lease_is_one"),
)
