"""What wolkvox says that it holds, and whether a record is among it. Pure.

Two calls tell: ``find_record`` names fields as add_record does, ``campaign_15`` in Spanish; both have the telephones,
the options and the customer's id. Whether a record is there is judged by those alone. Nothing is ever taken for absent
that might be there in another form: where a customer is known with other values, nothing is certain, and customer ids
are the same if they differ in capitals, leading zeros and punctuation alone.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from syncd.model import Record

COMPARED: Final = (*(f"tel{n}" for n in range(1, 11)), *(f"opt{n}" for n in range(1, 13)))
"""Fields that both calls give under their own names (vendor's documentation)."""
EXPORT_ROWS: Final = 60_000
"""An export has so many records at most (vendor's documentation): one that has is not known to be whole."""
_CUSTOMER: Final = ("customer_id", "id_cliente")
_WINDOW: Final = 262_144
"""Characters that are decoded at a time: an export as one text would be a second export in memory, or a fourth."""
_LONGEST: Final = 4 * _WINDOW
"""Characters of one row at most; a record of wolkvox has a few thousand."""


class Finding(StrEnum):
    """Whether wolkvox has a record."""

    THERE = "there"
    ABSENT = "absent"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Holdings:
    """What one answer holds of the customers that were asked about."""

    by_customer: Mapping[str, Sequence[Sequence[str]]]
    """The values of `COMPARED`, row by row, by `loosely` the customer's id: of those asked about, and of those that
    carry the marker."""
    marked: int
    """Rows that carry the marker; 0 where none was asked about."""
    rows: int
    """All that the answer has."""
    whole: bool
    """Whether a customer who is not in it is not in wolkvox."""


def loosely(customer: str) -> str:
    """A customer's id as it is compared: wolkvox may keep it in another form than it was sent in."""
    return "".join(filter(str.isalnum, customer)).casefold().lstrip("0") or customer.strip()


def read_holdings(
    body: bytes, customers: Container[str], *, marker: tuple[str, str] | None, campaign_id: str | None
) -> Holdings | None:
    """The rows of a reply that concern us.

    Args:
        body: of a reply with status 200.
        customers: whom to keep the rows of, by `loosely` their ids.
        marker: a field and its value, whose rows are counted and kept.
        campaign_id: of the campaign whose export it is; None for a reply to find_record, which proves no absence.

    Returns:
        None where the body is no such reply.
    """
    by_customer: dict[str, list[Sequence[str]]] = {}
    rows = marked = 0
    place = None if marker is None else COMPARED.index(marker[0])

    def take(row: Any) -> None:
        nonlocal rows, marked
        if not isinstance(row, dict):
            raise ValueError  # noqa: TRY004  # as all else that is not as documented
        rows += 1
        customer = loosely(_customer(row))
        values = tuple(_value(row, name) for name in COMPARED)
        is_marked = marker is not None and place is not None and values[place] == marker[1]
        marked += is_marked
        if is_marked or customer in customers:
            by_customer.setdefault(customer, []).append(values)

    try:
        members = _envelope(_Text(body), "data" if campaign_id is None else "records", take)
    except (ValueError, RecursionError):
        return None
    if campaign_id is not None and str(members.get("campaign_id") or campaign_id).strip() not in ("", campaign_id):
        return None  # a reply to another call
    total = str(members.get("total_records") or "").strip()
    counted = total in ("", str(rows))
    return Holdings(by_customer, marked, rows, campaign_id is not None and counted and rows < EXPORT_ROWS)


def find(record: Record, holdings: Holdings, marker: tuple[str, str] | None, carried: int) -> Finding:
    """Whether a record that was sent is among the holdings.

    Args:
        record: as it was sent, without the marker.
        marker: the field that every record of the call was stamped in, and with what; None where none was.
        carried: how many records the call had.
    """
    rows = holdings.by_customer.get(loosely(record["customer_id"]), ())
    sent = {name: record.get(name, "").strip() for name in COMPARED} | dict([marker] if marker else [])
    if tuple(sent.values()) in rows or (marker is not None and holdings.marked >= carried):
        return Finding.THERE
    if marker is not None:  # rows of other calls say nothing of this one
        place = COMPARED.index(marker[0])
        rows = [row for row in rows if row[place] == marker[1]]
    return Finding.ABSENT if holdings.whole and not rows else Finding.UNSURE


def find_unknown(holdings: Holdings, marker: tuple[str, str] | None, carried: int) -> Finding:
    """The same for a record of which nothing is known but its call.

    Args:
        carried: how many records the call had.
    """
    if marker is None or not holdings.whole:
        return Finding.UNSURE
    if holdings.marked == 0:
        return Finding.ABSENT
    return Finding.THERE if holdings.marked >= carried else Finding.UNSURE


def says_empty(body: bytes, campaign_id: str) -> bool:
    """Whether a reply to the call ``campaigns`` says of a campaign that it is there, and holds no record."""
    found: list[str] = []

    def take(row: Any) -> None:
        if isinstance(row, dict) and _text(row.get("campaign_id")) == campaign_id:
            found.append(_text(row.get("records")))

    try:
        _envelope(_Text(body), "data", take)
    except (ValueError, RecursionError):
        return False
    return found == ["0"]


def _customer(row: Mapping[str, Any]) -> str:
    """Raises ValueError where there is none: a row that nobody can know might be anybody's."""
    value = next(row[name] for name in _CUSTOMER if name in row) if row.keys() & set(_CUSTOMER) else False
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
        raise ValueError
    return _text(value)


def _value(row: Mapping[str, Any], name: str) -> str:
    return _text(row.get(name))


def _text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    return "" if value is None else str(value)


class _Text:
    """The characters of a JSON text, decoded little by little."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._read = 0
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._json = json.JSONDecoder()
        self._text = ""
        self._place = 0

    def peek(self) -> str:
        """The next character that is no blank; ``""`` at the end."""
        while True:
            while self._place < len(self._text):
                if self._text[self._place] not in " \t\r\n":
                    return self._text[self._place]
                self._place += 1
            if not self._more():
                return ""

    def take(self, letter: str) -> None:
        """Go past a character; ValueError where it is another."""
        if self.peek() != letter:
            raise ValueError
        self._place += len(letter)

    def value(self) -> Any:
        """Go past any value; ValueError where there is none."""
        self.peek()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._place)
            except ValueError:
                if len(self._text) - self._place > _LONGEST or not self._more():
                    raise
                continue
            if end == len(self._text) and self._more():
                continue  # a number may go on
            self._place = end
            return value

    def _more(self) -> bool:
        if self._read >= len(self._body):
            return False
        piece = self._body[self._read : self._read + _WINDOW]
        self._read += len(piece)
        self._text = self._text[self._place :] + self._decode(piece, self._read >= len(self._body))
        self._place = 0
        return True


def _envelope(text: _Text, rows: str, take: Callable[[Any], None]) -> dict[str, Any]:
    """Hand out the rows of an envelope one by one, and return its other members.

    Args:
        rows: the member that has the rows.

    Raises:
        ValueError: it is no envelope with a list of rows, or says that it is no success.
    """
    members: dict[str, Any] = {}
    seen = False
    text.take("{")
    while text.peek() != "}":
        if members or seen:
            text.take(",")
        name = text.value()
        text.take(":")
        if name == rows and not seen:
            seen = True
            _list(text, take)
        elif isinstance(name, str) and name not in members and name != rows:
            members[name] = text.value()
        else:
            raise ValueError
    text.take("}")
    if text.peek() or not seen or str(members.get("code")) != "200":
        raise ValueError
    return members


def _list(text: _Text, take: Callable[[Any], None]) -> None:
    text.take("[")
    if text.peek() == "]":
        text.take("]")
        return
    take(text.value())
    while text.peek() == ",":
        text.take(",")
        take(text.value())
    text.take("]")
