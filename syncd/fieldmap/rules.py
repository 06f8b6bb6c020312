"""What an operator may write about one field, as values; and what may be wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from syncd.errors import EXIT_CONFIG, SyncdError


@dataclass(frozen=True, slots=True)
class PhoneRule:
    """How a telephone number is read, and how the dialler wants it written."""

    region: str
    """The dialler's country, and that of numbers without a country code: ISO 3166, as ``CO``."""
    format: str = "national"
    """``national``: the significant number, without trunk prefix or country code; ``e164``: with its country
    code. Both digits alone, as wolkvox takes them."""
    prefix: str = ""
    """Digits that the operation dials before each number; often ``9``."""
    kind: str = "any"
    """``any``, ``mobile`` or ``fixed``: other numbers are rejected. Where a country's numbers do not tell
    mobile from fixed, they count as both."""
    region_column: str | None = None
    """A column with the country of each row's number (ISO 3166); empty: `region`."""


@dataclass(frozen=True, slots=True)
class FieldRule:
    """Where the value of one wolkvox field comes from, and what is done to it.

    Exactly one source, then each step that is written, in this order whatever the order of writing:

    1. the source: ``column`` | ``value`` | ``template``; then ``path`` into a column's JSON;
    2. text: as `syncd.fieldmap.text` writes each type of Postgres, NFC, whitespace folded;
    3. ``split``; 4. ``lookup``; 5. ``case``; 6. ``phone`` or ``datetime``; 7. ``max``;
    8. ``default``, as it is, where the result is empty. Whether it may be empty is asked last.

    What is empty stays empty up to the default. A value that a step cannot take rejects the lead; with a
    default, ``lookup``, ``phone`` and ``datetime`` give that instead."""

    column: str | None = None
    """A column of the CRM's table."""
    value: str | None = None
    """The same text for every lead; takes no step."""
    template: str | None = None
    """Text with columns in braces, as ``{utm_source}/{utm_campaign}``; a brace itself is doubled. Empty where
    all its columns are empty; where only some are, the text between them stays."""
    path: str | None = None
    """Into a json, jsonb or array column, as ``$.budget``, ``$.tags[0]``, ``$["a key"]``. What is not there
    is empty."""
    split: str | None = None
    """``first``: the first word; ``rest``: the others. `María José Díaz` gives `María` and `José Díaz`."""
    lookup: Mapping[str, str] | None = None
    """What to write for each text. One that is not there is a fault, unless there is a default."""
    case: str | None = None
    """``lower``, ``upper`` or ``title``."""
    phone: PhoneRule | None = None
    datetime: bool | str = False
    """Write a date or timestamp as ``YYYYmmddHHMMSS`` in the configured zone. True: timestamps, dates and ISO
    8601; or the format of a text, as ``%d/%m/%Y %H:%M``. Without an offset, a time is in that zone already;
    a date alone is midnight."""
    max: int | None = None
    """The most characters."""
    over: str | None = None
    """What is done with more: ``cut`` (the default where ``max`` is given) or ``reject`` (the default where
    only the vendor's limit is)."""
    default: str | None = None
    """What to write where the result is empty, or where lookup, phone or datetime cannot take the value, or
    where ``recall_date`` is not far enough ahead, or a telephone without a phone rule has not digits alone.
    With ``""``, a second telephone that is wrong is left out, instead of rejecting the lead."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of the map, found before any row is read."""

    field: str
    """The wolkvox field, as the operator wrote it."""
    key: str
    """The key within its rule, as ``phone.region``; ``""`` where it is the rule as a whole."""
    value: str
    """What was written there; ``""`` where nothing was."""
    rule: str
    """What should be there, as a sentence."""

    def __str__(self) -> str:
        place = f"{self.field}.{self.key}" if self.key else self.field
        return f"{place} = {self.value!r}: {self.rule}" if self.value else f"{place}: {self.rule}"


class FieldMapError(SyncdError):
    """A map that cannot work, with everything that is wrong with it.

    Args:
        problems: one or more.
    """

    exit_status = EXIT_CONFIG

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)), "Correct the fields of the sync.")
        self.problems = list(problems)


def origin(rule: FieldRule) -> str:
    """Name the source of a rule for a person, as ``column "mobile"``; for sentences about its value."""
    if rule.column is not None:
        place = f'column "{rule.column}"'
        return f'"{rule.path}" in {place}' if rule.path is not None else place
    if rule.template is not None:
        return f'the template "{rule.template}"'
    return "the constant"


def describe(rule: FieldRule) -> str:
    """Say a rule in words, source and steps in their order; for people who read a preview."""
    if rule.value is not None:
        return f'always "{rule.value}"'
    steps = [origin(rule)]
    if rule.split is not None:
        steps.append("first word" if rule.split == "first" else "all but the first word")
    if rule.lookup is not None:
        steps.append(f"lookup of {len(rule.lookup)}")
    if rule.case is not None:
        steps.append(f"{rule.case} case")
    if rule.phone is not None:
        kind = "telephone" if rule.phone.kind == "any" else f"{rule.phone.kind} telephone"
        dialled = f", {rule.phone.prefix} before it" if rule.phone.prefix else ""
        steps.append(f"{kind} of {rule.phone.region}, {rule.phone.format}{dialled}")
    if rule.datetime:
        steps.append("date and time" if rule.datetime is True else f"date and time by {rule.datetime}")
    if rule.max is not None:
        steps.append(f"at most {rule.max} characters")
    if rule.default is not None:
        steps.append(f'"{rule.default}" if empty')
    return ", ".join(steps)
