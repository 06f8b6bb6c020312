"""Made-up people with the data of real tables: as somebody typed, pasted or imported them, and what is made of each."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Person:
    """One person as the CRM has them."""

    given: str | None
    surname: str | None
    phone: str | None
    email: str | None = None
    city: str | None = None
    sent: dict[str, str] = field(default_factory=dict)
    """Fields of the record; ``full`` is name and last name together."""
    rejected: tuple[str, str] | None = None
    """Field and rule of the rejection."""


PEOPLE: dict[str, Person] = {
    "plain": Person(
        "Lucía",
        "Prueba Gómez",
        "3000000001",
        "lucia@example.com",
        "Bogotá",
        {"full": "Lucía Prueba Gómez", "tel1": "93000000001", "email": "lucia@example.com", "city": "Bogotá"},
    ),
    "with the country code": Person("Ana", "Prueba", "+57 300 000 0002", sent={"tel1": "93000000002"}),
    "brackets": Person("Ana", "Prueba", "(300) 000-0003", sent={"tel1": "93000000003"}),
    "dots": Person("Ana", "Prueba", "300.000.0004", sent={"tel1": "93000000004"}),
    "the country code without a plus": Person("Ana", "Prueba", "573000000005", sent={"tel1": "93000000005"}),
    "spaces and capitals": Person(
        "  MARÍA   JOSÉ ",
        "\tPrueba  de la Torre\n",
        " 300 000 0006 ",
        " MARIA@Example.COM ",
        sent={"full": "MARÍA JOSÉ Prueba de la Torre", "tel1": "93000000006", "email": "maria@example.com"},
    ),
    "accents of their own": Person(
        "Jose\u0301", "Mun\u0303oz", "3000000007", sent={"full": "José Muñoz", "tel1": "93000000007"}
    ),
    "pasted from a chat": Person(
        "Ana", "Prueba", "\u202a+57\u00a0300\u00a0000\u00a00008\u202c", sent={"tel1": "93000000008"}
    ),
    "from a spreadsheet": Person("Ana", "Prueba", "3000000009.0", sent={"tel1": "93000000009"}),
    "control characters": Person("An\x07a", "Pru\x1beba", "3000000010", sent={"full": "Ana Prueba"}),
    "an emoji": Person("Ana 🌻", "Prueba", "3000000011", sent={"full": "Ana 🌻 Prueba"}),
    "quotes and angles": Person("O'Neil", 'Prue"ba <b>', "3000000012", sent={"full": "O'Neil Prue\"ba <b>"}),
    "no e-mail": Person("Ana", "Prueba", "3000000013", "", sent={"email": ""}),
    "two numbers in one cell": Person("Ana", "Prueba", "3000000014 / 3000000015", sent={"tel1": "93000000014"}),
    "a fixed line with extension": Person("Ana", "Prueba", "6012345678 ext. 21", sent={"tel1": "96012345678"}),
    "no first name": Person(None, "Prueba", "3000000016", sent={"tel1": "93000000016"}),
    "no telephone": Person("Ana", "Prueba", None, rejected=("", "telephone")),
    "an empty telephone": Person("Ana", "Prueba", "  ", rejected=("", "telephone")),
    "words for a telephone": Person("Ana", "Prueba", "no tiene", rejected=("tel1", "phone")),
    "too few digits": Person("Ana", "Prueba", "12345", rejected=("tel1", "phone")),
    "a number of another country": Person("Ana", "Prueba", "+1 202 555 0143", rejected=("tel1", "phone")),
}
