"""What a reply of wolkvox means. Pure: one table, kept as data, and one function that reads it.

The table follows the vendor's documentation and what integrators have seen of the real service. Whatever it does
not recognise, once a byte of the request may have left, is `Outcome.UNKNOWN`: a new text is never taken for a refusal,
for a lead sent again by mistake is a person called twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from syncd.model import Exchange, RecordError


class Outcome(StrEnum):
    """What became of the records of a call."""

    ACCEPTED = "accepted"
    ACCEPTED_IN_PART = "accepted_in_part"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


class Scope(StrEnum):
    """What must wait after a reply."""

    NOTHING = "nothing"
    CAMPAIGN = "campaign"
    SENDER = "sender"


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row of the table."""

    name: str
    statuses: frozenset[int]
    """HTTP statuses that it is about."""
    pattern: str
    """A regular expression that the reply's msg (or, where that is empty, its error) must contain, any case."""
    outcome: Outcome
    parks: Scope
    park_secs: float
    """The first wait; it doubles with each repetition. Infinity: to the next quota day."""
    sentence: str
    """What to tell the operator."""


_ACCEPTING: Final = frozenset({200, 201})
_REFUSED, _NEXT_DAY = Outcome.REFUSED, float("inf")

TABLE: Final[tuple[Meaning, ...]] = (
    Meaning("accepted", _ACCEPTING, "", Outcome.ACCEPTED, Scope.NOTHING, 0, "Accepted."),
    Meaning(
        "records-refused",
        frozenset({404}),
        r"(?<!\d)0 records has been added",
        _REFUSED,
        Scope.NOTHING,
        0,
        "wolkvox refused every record of the call.",
    ),
    Meaning(
        "campaign-unknown",
        frozenset({404}),
        r"campaign_id .*does not exist",
        _REFUSED,
        Scope.CAMPAIGN,
        300,
        "wolkvox knows no campaign with this id; correct sync.campaign.id, or create it in wolkvox.",
    ),
    Meaning(
        "stock-full",
        frozenset({404}),
        r"you are uploading .*records.*you can upload",
        _REFUSED,
        Scope.SENDER,
        900,
        "The operation's stock of records is full; delete records in wolkvox, or add licences.",
    ),
    Meaning(
        "call-malformed",
        frozenset({400}),
        r"api you want to consult does not exist|some parameters are required",
        _REFUSED,
        Scope.SENDER,
        3600,
        "wolkvox did not understand the call; check wolkvox.server and sync.campaign, and report this to the makers.",
    ),
    Meaning(
        "token-missing",
        frozenset({401}),
        r"please enter the wolkvox-token",
        _REFUSED,
        Scope.SENDER,
        600,
        "wolkvox saw no token; check wolkvox.token_file and any proxy on the way.",
    ),
    Meaning(
        "token-refused",
        frozenset({403}),
        r"please validate token",
        _REFUSED,
        Scope.SENDER,
        600,
        "wolkvox refused the token; put a valid one into wolkvox.token_file and restart syncd.",
    ),
    Meaning(
        "quota-spent",
        frozenset({403}),
        r"token limit exceeded",
        _REFUSED,
        Scope.SENDER,
        _NEXT_DAY,
        "wolkvox says that the day's calls are spent.",
    ),
    Meaning(
        "too-many-at-once",
        frozenset({403}),
        r"exceeds the limit of simultaneous requests",
        _REFUSED,
        Scope.SENDER,
        15,
        "Another program uses the same token at the same time; give each its own.",
    ),
    Meaning(
        "not-now",
        frozenset({403}),
        r"",
        _REFUSED,
        Scope.SENDER,
        120,
        "wolkvox turned the call away; it does so during maintenance and backups.",
    ),
)
"""First match wins. Anything that no row matches is unknown."""

_UNRECOGNISED: Final = "wolkvox answered in a way that is not known; whether it took the records is not certain."
_NO_REPLY: Final = "No whole reply came; whether wolkvox took the records is not certain."
_NEVER_LEFT: Final = (
    "wolkvox could not be reached; nothing was sent. Check the network and wolkvox's list of allowed IPs."
)
_CONTRADICTION: Final = "wolkvox's reply contradicts itself; which records it took is not certain."
NOT_SENT_PARK_SECS: Final = 30.0
NOT_NOW_STATUS: Final = 403
"""The vendor documents that any text with this status is a refusal: token, limits, maintenance, backups."""
_POSITION: Final = re.compile(r"object position (\d{1,5})\b", re.IGNORECASE)
_SAID: Final = re.compile(r"(?<!\d)(\d{1,9}) records has been added", re.IGNORECASE)
_LONGEST: Final = 500
"""Characters of a text that are looked at: wolkvox's have 200 at most, and patterns take their time over a megabyte."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reply means for the call, its records, and what comes next."""

    name: str
    """A row's name, or ``not-sent``, ``no-reply``, ``unrecognised``, ``contradiction``."""
    outcome: Outcome
    errors: tuple[RecordError, ...]
    """The records that were refused one by one, by position."""
    parks: Scope
    park_secs: float
    sentence: str
    code: str
    """The envelope's code, as text; ``""`` where there is none."""


def judge(exchange: Exchange, records: int) -> Verdict:
    """Say what came of an add_record call.

    Args:
        exchange: what happened on the wire.
        records: how many records the call carried.
    """
    if not exchange.sent:
        sentence = f"{exchange.fault} Nothing was sent." if exchange.fault else _NEVER_LEFT
        return Verdict("not-sent", Outcome.NOT_SENT, (), Scope.SENDER, NOT_SENT_PARK_SECS, sentence, "")
    if exchange.status is None:
        return _unknown("no-reply", _NO_REPLY, "")
    envelope = _envelope(exchange.body)
    if envelope is None and exchange.status == NOT_NOW_STATUS:
        envelope = {}  # a maintenance page need not be JSON
    if envelope is None:
        return _unknown("unrecognised", _UNRECOGNISED, "")
    code = _text(envelope.get("code"))
    words = _text(envelope.get("msg")) or _text(envelope.get("error"))
    meaning = _look_up(exchange.status, code, words)
    if meaning is None:
        return _unknown("unrecognised", _UNRECOGNISED, code)
    totals = _totals(envelope)
    if meaning.outcome is Outcome.ACCEPTED:
        return _accepted(meaning, totals, records, code, words)
    if meaning.name == "records-refused":
        return _all_refused(meaning, totals, records, code)
    return Verdict(meaning.name, meaning.outcome, (), meaning.parks, meaning.park_secs, meaning.sentence, code)


def _look_up(status: int, code: str, words: str) -> Meaning | None:
    agrees = code == str(status) or (status in _ACCEPTING and code == "201")
    if not agrees and not (status == NOT_NOW_STATUS and code == ""):
        return None  # the vendor documents both as equal; where they differ, neither is believed
    for meaning in TABLE:
        if status in meaning.statuses and re.search(meaning.pattern, words, re.IGNORECASE | re.DOTALL):
            return meaning if meaning.outcome is not Outcome.ACCEPTED or code == "201" else None
    return None


def _accepted(meaning: Meaning, totals: Mapping[str, Any], records: int, code: str, words: str) -> Verdict:
    errors = _record_errors(totals, records)
    failed, succeeded, said = _count(totals, "total_errors"), _count(totals, "total_success"), _SAID.search(words)
    taken = {succeeded, int(said[1]) if said else None} - {None}
    if errors == () and failed in (None, 0) and taken <= {records}:
        return Verdict(meaning.name, Outcome.ACCEPTED, (), Scope.NOTHING, 0, meaning.sentence, code)
    if errors and failed in (None, len(errors)) and taken <= {records - len(errors)}:
        sentence = f"wolkvox took the call but refused {len(errors)} of its records."
        outcome = Outcome.ACCEPTED_IN_PART if len(errors) < records else Outcome.REFUSED
        return Verdict("accepted-in-part", outcome, errors, Scope.NOTHING, 0, sentence, code)
    return _unknown("contradiction", _CONTRADICTION, code)


def _all_refused(meaning: Meaning, totals: Mapping[str, Any], records: int, code: str) -> Verdict:
    errors = _record_errors(totals, records)
    if errors is None or _count(totals, "total_success") not in (None, 0):
        return _unknown("contradiction", _CONTRADICTION, code)
    parks, secs = (Scope.NOTHING, 0.0) if errors else (Scope.CAMPAIGN, 300.0)
    sentence = meaning.sentence if errors else meaning.sentence + " It named none of them."
    return Verdict(meaning.name, Outcome.REFUSED, errors, parks, secs, sentence, code)


def _unknown(name: str, sentence: str, code: str) -> Verdict:
    return Verdict(name, Outcome.UNKNOWN, (), Scope.NOTHING, 0, sentence, code)


def _envelope(body: bytes) -> Mapping[str, Any] | None:
    try:
        parsed = json.loads(body.decode())
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _text(value: object) -> str:
    """A string or an integer as text that a database takes and a pattern is done with; ``""`` for anything else."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        return ""
    return str(value)[:_LONGEST].encode("utf-8", "replace").decode().strip()


def _totals(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    data = envelope.get("data")
    if isinstance(data, list) and data and isinstance(data[0], dict):
        return data[0]
    return data if isinstance(data, dict) else {}


def _count(totals: Mapping[str, Any], name: str) -> int | None:
    """A count that may be an int, a string of digits, or blank: None where it says nothing, -1 where it is no count."""
    value = totals.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    text = _text(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


def _record_errors(totals: Mapping[str, Any], records: int) -> tuple[RecordError, ...] | None:
    """The refused records in order of position; None where the list cannot be trusted."""
    listed = totals.get("array_errors", [])
    if listed in ("", None):
        return ()
    if not isinstance(listed, list):
        return None
    found: dict[int, RecordError] = {}
    for entry in listed:
        if not isinstance(entry, dict):
            return None
        match = _POSITION.search(_text(entry.get("error")) + " " + _text(entry.get("msg")))
        if match is None or int(match[1]) >= records:
            return None
        found.setdefault(int(match[1]), RecordError(int(match[1]), _reason(entry)))
    return tuple(found[position] for position in sorted(found))


def _reason(entry: Mapping[str, Any]) -> str:
    """wolkvox's words without its position and without anything that may be a value of the lead."""
    words = re.sub(r",?\s*object position \d+", "", _text(entry.get("error"))) or _text(entry.get("msg"))
    return re.sub(r"\d{4,}|\S+@\S+|[\x00-\x1f\x7f]", "…", words)[:200]
