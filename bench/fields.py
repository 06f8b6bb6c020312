"""How fast rows are mapped, beside the same map written by hand in Python, with the same libraries.

Twelve rules of as many kinds, telephones apart, and then telephones alone, beside bare `phonenumbers`. Each side maps
the same rows in batches of the same size, in turn; what counts is processor time, of the best round, for other work on
the machine disturbs that least. Every record is compared before anything is measured. The numbers are all different,
so that no cache helps.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from statistics import median
from typing import Any, Final
from unicodedata import normalize
from zoneinfo import ZoneInfo

import phonenumbers
import re2  # type: ignore[import-untyped]  # it ships no types

from bench.errors import BenchFailed
from bench.table import Bar, Section, spread
from bench.usage import load
from syncd.fieldmap import FieldMap, FieldRule, NumberRule, PhoneRule, ReplaceRule, compile_map
from syncd.model import Rejection
from syncd.record import RECALL_AHEAD_SECS, schema

TIMES_BY_HAND: Final = 3.0
TIMES_BARE: Final = 1.3
BATCH: Final = 2000
"""Rows that delivery maps at a time."""
NOW: Final = datetime(2030, 5, 6, 12, tzinfo=UTC)
ZONE: Final = ZoneInfo("America/Bogota")
CITIES: Final = {"05001": "Medellín", "11001": "Bogotá", "76001": "Cali"}

Row = tuple[Any, ...]

COLUMNS: Final = (
    "id",
    "name",
    "mobile",
    "email",
    "city",
    "callback_at",
    "utm_source",
    "utm_campaign",
    "street",
    "number",
    "account",
    "company",
    "attributes",
    "comments",
)
RULES: Final = {
    "customer_id": FieldRule(column="id"),
    "customer_name": FieldRule(column="name", split="first", case="title"),
    "customer_last_name": FieldRule(column="name", split="rest", case="title"),
    "city": FieldRule(column="city", lookup=CITIES, default="Otra"),
    "address": FieldRule(join=("street", "number"), separator=" # "),
    "opt1": FieldRule(template="{utm_source}/{utm_campaign}"),
    "opt2": FieldRule(first=("account", "company"), max=40),
    "opt3": FieldRule(column="attributes", path="$.budget", number=NumberRule(decimals=2), default=""),
    "opt7": FieldRule(column="comments", replace=(ReplaceRule("<[^>]*>", " "),), max=80),
    "tel1": FieldRule(column="mobile", digits=True),
    "email": FieldRule(column="email", case="lower"),
    "recall_date": FieldRule(column="callback_at", datetime=True),
}
_BLANK: Final = schema("predictive").blank
_TAG: Final = re2.compile("<[^>]*>")
_CENT: Final = Decimal("0.01")


def fields(rows: int, repeat: int, say: Callable[[str], None]) -> Section:
    """Measure.

    Raises:
        BenchFailed: the two sides make different records.
    """
    section = Section(
        "fields",
        f"{rows:,} rows by {len(RULES)} rules, and {rows // 5:,} telephones of each kind, all different; processor time"
        " of the best of the rounds, the sides in turn",
        ("", "syncd, us a row", "by hand", "ratio", "median", "spread", "wall clock of syncd"),
        loads=[load()],
    )
    made = list(lead_rows(rows))
    mapped = compile_map(RULES, campaign_type="predictive", require=[], zone=ZONE)
    order = [COLUMNS.index(column) for column in mapped.columns]
    picked = [tuple(row[place] for place in order) for row in made]
    compare(mapped, picked, by_hand, made)
    _add(section, "12 rules", picked, made, mapped, by_hand, repeat, TIMES_BY_HAND, "the same by hand")
    for kind, numbers in telephones(rows // 5).items():
        phones = compile_map(PHONES, campaign_type="predictive", require=[], zone=ZONE)
        cells = [(number,) for number in numbers]
        compare(phones, cells, bare, cells)
        _add(section, kind, cells, cells, phones, bare, repeat, TIMES_BARE, "bare phonenumbers")
    section.loads.append(load())
    for line in section.lines:
        say(f"fields, {line[0]}: {line[1]} us a row, {line[3]} times {line[2]} us")
    return section


def lead_rows(count: int) -> Iterator[Row]:
    """Made-up leads of `COLUMNS`; one in a hundred must be rejected."""
    draw = random.Random(7)
    for number in range(count):
        clean = draw.random() < 0.95
        name = f"{draw.choice(('ana', 'José', 'MARÍA'))} {draw.choice(('prueba', 'Gómez', 'Muñoz'))} {number}"
        yield (
            number + 1,
            name if clean else f"  {name.replace(' ', '  ')}\t",
            None if number % 100 == 99 else f"300 {number:07}" if number % 2 else f"300{number:07}",
            f"Lead{number}@Example.com",
            draw.choice((*CITIES, "99999", None)),
            NOW + timedelta(hours=draw.randint(1, 900)) if number % 3 else None,
            draw.choice(("google", "meta", None)),
            f"campaña-{number % 50}",
            "Calle 5" if number % 4 else None,
            f"{number % 90}-{number % 7}",
            None if number % 3 else f"Cuenta {number}",
            f"Compañía {number} S.A.S.",
            {"budget": number * 1000 + 0.5, "tags": ["a"]} if number % 5 else {},
            f"<p>Quiere información del plan {number}</p>" if number % 10 == 0 else f"Quiere el plan {number}",
        )


def by_hand(row: Row) -> dict[str, str] | None:
    """The map as one would write it for this table alone; None for a row without a telephone."""
    (id_, name, mobile, email, city, at, source, campaign, street, number, account, company, attributes, comments) = row
    telephone = "".join(filter(str.isdigit, text(mobile)))
    if not id_ or not telephone:
        return None
    first, _, rest = text(name).partition(" ")
    record = _BLANK.copy()
    record["customer_id"] = str(id_)
    record["customer_name"] = first.title()
    record["customer_last_name"] = rest.title()
    record["city"] = CITIES.get(text(city), "Otra")
    record["address"] = " # ".join(part for part in (text(street), text(number)) if part)
    parts = (text(source), text(campaign))
    record["opt1"] = text("{}/{}".format(*parts)) if any(parts) else ""
    record["opt2"] = (text(account) or text(company))[:40].rstrip()
    budget = attributes.get("budget") if attributes else None
    record["opt3"] = "" if budget is None else str(Decimal(repr(budget)).quantize(_CENT, ROUND_HALF_UP))
    record["opt7"] = text(_TAG.sub(" ", text(comments)))[:80].rstrip()
    record["tel1"] = telephone
    record["email"] = text(email).lower()
    if at is not None:
        if at.timestamp() < NOW.timestamp() + RECALL_AHEAD_SECS:
            return None
        record["recall_date"] = at.astimezone(ZONE).strftime("%Y%m%d%H%M%S")
    return record


def text(value: str | None) -> str:
    """Composed, with whitespace folded."""
    return " ".join(normalize("NFC", value).split()) if value else ""


PHONES: Final = {
    "customer_id": FieldRule(value="1"),
    "tel1": FieldRule(column="mobile", phone=PhoneRule("CO", prefix="9")),
}


def telephones(count: int) -> dict[str, list[str]]:
    """Numbers in the shapes that people write, by kind; no two alike."""
    mobiles = ("300{:07}", "300 {:07}", "+57 300{:07}", "(300) {:07}")
    fixed = ("601{:07}", "(601) {:07}", "+57 601 {:07}", "601-{:07}")
    return {
        "telephones, mobile": [mobiles[number % 4].format(number) for number in range(count)],
        "telephones, fixed": [fixed[number % 4].format(2_000_000 + number) for number in range(count)],
        "telephones, wrong": [f"300{number:06}" for number in range(count)],
    }


def bare(row: Row) -> dict[str, str] | None:
    """The library and nothing else: read, look whether it is valid, write; None for what is no number."""
    try:
        number = phonenumbers.parse(row[0], "CO")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    record = _BLANK.copy()
    record["customer_id"] = "1"
    record["tel1"] = "9" + phonenumbers.national_significant_number(number)
    return record


def compare(mapped: FieldMap, rows: Sequence[Row], hand: Callable[[Row], Any], hand_rows: Sequence[Row]) -> None:
    """See that both sides make the same of every row.

    Raises:
        BenchFailed: they do not.
    """
    different = 0
    for place, batch in _batches(rows):
        for result, row in zip(mapped.map_many(batch, NOW.timestamp()), hand_rows[place:], strict=False):
            different += (None if isinstance(result, Rejection) else result) != hand(row)
    if different:
        raise BenchFailed(f"The two sides map {different} of {len(rows)} rows differently.")


def _batches(rows: Sequence[Row]) -> Iterator[tuple[int, Sequence[Row]]]:
    for place in range(0, len(rows), BATCH):
        yield place, rows[place : place + BATCH]


def _timed(work: Callable[[Sequence[Row]], object], rows: Sequence[Row]) -> float:
    """Processor time of mapping all rows, batch by batch; what comes of a batch is dropped before the next."""
    gc.collect()
    began = time.process_time()
    for _, batch in _batches(rows):
        work(batch)
    return time.process_time() - began


def _add(
    section: Section,
    what: str,
    rows: Sequence[Row],
    hand_rows: Sequence[Row],
    mapped: FieldMap,
    hand: Callable[[Row], Any],
    repeat: int,
    bar: float,
    beside: str,
) -> None:
    """Measure one pair, and add its line and its bar."""
    now = NOW.timestamp()
    ours: list[float] = []
    theirs: list[float] = []
    walls: list[float] = []
    for _ in range(repeat):
        wall = time.perf_counter()
        ours.append(_timed(lambda batch: mapped.map_many(batch, now), rows))
        walls.append(time.perf_counter() - wall)
        theirs.append(_timed(lambda batch: [hand(row) for row in batch], hand_rows))
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    ratio = min(ours) / min(theirs)
    each = 1e6 / len(rows)
    section.lines.append(
        (
            what,
            f"{min(ours) * each:.1f}",
            f"{min(theirs) * each:.1f}",
            f"{ratio:.2f}",
            f"{median(ratios):.2f}",
            spread(ratios, 2),
            f"{min(walls):.2f} s",
        )
    )
    section.bars.append(Bar(f"{what}, times {beside}", ratio, bar))
    section.raw[what] = {"syncd_secs": ours, "by_hand_secs": theirs, "syncd_wall_secs": walls}
