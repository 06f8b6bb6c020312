"""Leads of people who do not exist, as forms on the web and salespeople in a hurry enter them.

Names are put together at random, addresses end in example.com, document numbers are higher than any that was issued,
and telephone numbers come from blocks that no operator was given, though the numbering plan has them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

Row = dict[str, Any]
"""A lead by column."""

COLUMNS: Final = (
    "status",
    "consent",
    "document_type",
    "document_number",
    "full_name",
    "mobile",
    "email",
    "city_code",
    "product",
    "notes",
    "utm_source",
    "utm_campaign",
    "callback_at",
    "attributes",
)
"""What a lead is inserted with."""

BLOCKS: Final = ("3100", "3101", "3110", "3111", "3120", "3121", "3140", "3141", "3200", "3201", "3210", "3211")
"""Valid by the numbering plan, and given to no operator as far as libphonenumber's data go."""

_FIRST: Final = """
    Ana Andrés Belén Camila Carlos Daniela Diego Elena Esteban Felipe Gabriela Héctor Inés Iván Jesús
    Jorge Julián Laura Lucía Manuel María Martín Mónica Natalia Nicolás Óscar Paula Raúl Sofía Tomás
    Valentina Verónica Ximena
"""
_LAST: Final = """
    Acuña Álvarez Bermúdez Castaño Castro Cárdenas Domínguez Gómez González Gutiérrez Hernández Ibáñez
    Jiménez León López Martínez Muñoz Núñez Ordóñez Ospina Patiño Peña Pérez Quiñones Ramírez Ríos
    Rodríguez Suárez Vélez Zúñiga
"""
_PRODUCTS: Final = ("Plan hogar", "Plan móvil", "Internet fibra", "Crédito de vehículo", "Seguro de vida", "Posgrado")
_SOURCES: Final = ("google", "facebook", "instagram", "referido", "feria", None)
_LONG: Final = "Pidió que la llamaran después de las seis, porque antes está en clase y no puede contestar. "


class People:
    """Makes leads up, each with a telephone number of its own; the same seed gives the same people."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)  # noqa: S311 - made-up people, nothing secret
        self._numbers = count()
        self._recent: list[Row] = []

    def many(self, leads: int) -> list[Row]:
        """So many leads: most are well, some are odd and must arrive, some must not."""
        return [self.one() for _ in range(leads)]

    def one(self) -> Row:
        """One lead: well nine times in ten."""
        row = self.well()
        if self._random.random() < 0.10:
            self._random.choice(FLAWS)(row, self._random)
        elif self._recent and self._random.random() < 0.01:
            row["mobile"] = self._random.choice(self._recent)["mobile"]  # the same person, through another form
        if self._random.random() < 0.05:
            self._recent = [*self._recent[-50:], row]
        return row

    def well(self) -> Row:
        """A lead with nothing wrong."""
        pick, number = self._random.choice, next(self._numbers)
        first, last, second = pick(_FIRST.split()), pick(_LAST.split()), pick(_LAST.split())
        return {
            "status": "new",
            "consent": True,
            "document_type": pick(("CC", "CC", "CC", "CE", "PA", "")),
            "document_number": str(9_000_000_000 + number * 37 % 999_999_999),
            "full_name": f"{first} {last} {second}",
            "mobile": self._written(number),
            "email": f"{first}.{last}.{number}@Example.com" if number % 9 else None,
            "city_code": pick(("05001", "08001", "11001", "11001", "76001", "99999", None)),
            "product": pick(_PRODUCTS),
            "notes": None,
            "utm_source": pick(_SOURCES),
            "utm_campaign": pick(("black-friday", "niñez_2026", None)),
            "callback_at": None if number % 11 else datetime.now(UTC) + timedelta(days=1 + number % 5),
            "attributes": pick(({"budget": number % 900 * 1000}, {"budget": "por definir"}, {"ref": [1, "ñ"]}, None)),
        }

    def _written(self, number: int) -> str:
        """A telephone number that is nobody's, written as people write."""
        block = BLOCKS[number % len(BLOCKS)]
        tail = f"{(number // len(BLOCKS) * 7919 + 1234) % 1_000_000:06d}"
        a, b, c = block[:3], block[3] + tail[:2], tail[2:]
        return self._random.choice(
            (a + b + c, a + b + c, a + b + c, f"{a} {b} {c}", f"({a}) {b}-{c}", f"+57 {a} {b} {c}", f"57{a}{b}{c}")
        )


Flaw = Callable[[Row, random.Random], None]


def _set(**values: Any) -> Flaw:
    return lambda row, _random: row.update(values)


def _around(column: str, before: str, after: str) -> Flaw:
    return lambda row, _random: row.update({column: f"{before}{row[column]}{after}"})


def _one_of(column: str, *values: Any) -> Flaw:
    return lambda row, chance: row.update({column: chance.choice(values)})


def _shouted(row: Row, _random: random.Random) -> None:
    row["full_name"] = f" \t{row['full_name'].upper().replace(' ', '   ')}\u00a0\r\n"


def _past(row: Row, chance: random.Random) -> None:
    row["callback_at"] = datetime.now(UTC) - timedelta(days=chance.randint(1, 400))


ODD: Final[Sequence[Flaw]] = (
    _around("full_name", "", " 🌻🇨🇴"),
    _around("full_name", "\x07", "\x1b[31m\x01"),
    _shouted,
    _set(full_name=None),
    _set(full_name="Ñandú"),
    _around("document_number", " \t", "\u200b"),
    _around("mobile", "\u202a", "\u202c"),
    _around("mobile", "  ", "\n"),
    _around("mobile", "llamar al ", ""),
    _set(notes=_LONG * 5),
    _set(notes="Dijo: «¿cuánto vale?»\n\t— “1.000.000” \\ \x02 <b>100 %</b> {{nombre}} '; DROP TABLE leads; --"),
    _set(notes="null", utm_source="  ", utm_campaign=""),
    _set(email="", city_code="  11001 "),
    _set(attributes=[]),
    _set(attributes={"budget": {"min": 1, "max": 2.5}}),
    _set(attributes={"budget": None, "😀": "sí"}),
)
"""Odd, and no reason not to call: the lead must arrive."""

FATAL: Final[Sequence[Flaw]] = (
    _one_of("document_number", "", None, "   ", "\u200b", "\t"),
    _around("document_number", "", ",1"),
    _one_of("document_type", "cédula", "??", "NIT"),
    _one_of("mobile", None, "", "no tiene", "12345", "000", "310", "ana@example.com", "3100000"),
    _around("mobile", "", " / 310 000 0001"),
    _around("mobile", "", " o 3110000002"),
    _set(mobile="+1 305 555 0123"),
    _around("product", "", " y además " + _LONG * 2),
    _past,
)
"""Reasons to reject a lead: wolkvox would refuse it, or dial what is no number."""

UNWANTED: Final[Sequence[Flaw]] = (_one_of("consent", False, None), _set(status="contacted"))
"""Reasons not to look at a lead at all: `where` says so."""

FLAWS: Final = (*ODD, *FATAL, *UNWANTED)
