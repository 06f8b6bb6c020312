"""What an operator may write about one field, as values; and what may be wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from syncd.errors import EXIT_CONFIG, SyncdError

Flag = bool
"""``bool``, which is also the name of a rule."""


@dataclass(frozen=True, slots=True)
class ReplaceRule:
    """One pattern, and what is written for each place where it is found."""

    pattern: str
    """A regular expression as RE2 takes it: no look-around, no back-reference, and time linear in the text."""
    replacement: str = ""
    """What is written instead; ``\\1`` is the pattern's first group."""


@dataclass(frozen=True, slots=True)
class BoolRule:
    """What is written for yes and for no."""

    true: str
    """For true, t, yes, y, on, 1, sí, si, s, verdadero."""
    false: str
    """For false, f, no, n, off, 0, falso."""


@dataclass(frozen=True, slots=True)
class NumberRule:
    """How a number is written, and how one that comes as text is read."""

    decimals: int | None = None
    """Digits after the decimal mark, rounded half up; None: as many as there are."""
    decimal: str = "."
    """The decimal mark that is written: ``.`` or ``,``."""
    thousands: str = ""
    """What is written between groups of three digits: nothing, ``.``, ``,``, a space or ``'``."""
    read: str | None = None
    """The decimal mark of texts: ``.`` or ``,``. None: as the text shows; one that shows it not, such as
    ``1.500``, is a fault."""


@dataclass(frozen=True, slots=True)
class DatetimeRule:
    """How a point in time is read and written."""

    read: str | None = None
    """The format of a text, as ``%d/%m/%Y %H:%M``; None: ISO 8601."""
    write: str | None = None
    """The format that is written, as ``%d/%m/%Y``; None: ``YYYYmmddHHMMSS``."""
    zone: str | None = None
    """The zone of times that name none, as ``UTC``; None: the configured zone. In the latter it is written."""


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
    area: str | None = None
    """The area code that completes a local number of `region`, as ``601``; None: a local number is a fault."""
    extension: str = "drop"
    """``drop``: dial the number without its extension; ``reject``: a number with one is a fault."""
    spread: bool = False
    """Take every number of the cell, for this and the telephones after it that have no rule."""


@dataclass(frozen=True, slots=True)
class FieldRule:
    """Where the value of one wolkvox field comes from, and what is done to it.

    Exactly one source, then each step that is written, in this order whatever the order of writing:

    1. the source: ``column`` | ``value`` | ``template`` | ``first`` | ``join``; ``path`` into a column's JSON;
    2. text: as `syncd.fieldmap.text` writes each type of Postgres, NFC, whitespace folded;
    3. ``strip``; 4. ``replace``; 5. ``digits``; 6. ``ascii``; 7. ``split``; 8. ``lookup`` or ``bool``;
    9. ``case``; 10. ``number``, ``phone`` or ``datetime``; 11. ``max``; 12. ``default``, as it is, where the
    result is empty. Whether it may be empty is asked last.

    What is empty stays empty up to the default. A value that a step cannot take rejects the lead; with a
    default, ``lookup``, ``bool``, ``number``, ``phone`` and ``datetime`` give that instead. ``number`` and
    ``datetime`` take a number or a date as the database has it, and of the steps before them only ``strip``
    and ``replace``, for a text."""

    column: str | None = None
    """A column of the CRM's table."""
    value: str | None = None
    """The same text for every lead; takes no step."""
    template: str | None = None
    """Text with columns in braces, as ``{utm_source}/{utm_campaign}``; a brace itself is doubled. Empty where
    all its columns are empty; where only some are, the text between them stays."""
    first: Sequence[str] | None = None
    """Columns, of which the first counts that is not empty."""
    join: Sequence[str] | None = None
    """Columns that are written one after the other, empty ones left out."""
    separator: str | None = None
    """What stands between the columns of ``join``; None: a space."""
    path: str | None = None
    """Into a json, jsonb or array column, as ``$.budget``, ``$.tags[0]``, ``$["a key"]``. What is not there
    is empty."""
    strip: str | None = None
    """Characters that are taken off both ends."""
    replace: Sequence[ReplaceRule] | None = None
    """Patterns and what is written for what they find, one after the other."""
    digits: Flag = False
    """Keep the digits alone."""
    ascii: Flag = False
    """Write letters without their marks, as n for ñ; what has no such form is left out."""
    split: str | None = None
    """``first``: the first word; ``rest``: the others. ``names`` and ``surnames``: see `syncd.fieldmap.names`."""
    lookup: Mapping[str, str] | None = None
    """What to write for each text. One that is not there is a fault, unless there is a default."""
    fold: Flag = False
    """Look up without regard to case and accents."""
    bool: BoolRule | None = None
    """Write yes and no in your own words. Another word is a fault, unless there is a default."""
    case: str | None = None
    """``lower``, ``upper`` or ``title``."""
    number: NumberRule | None = None
    """Read a number, and write it."""
    phone: PhoneRule | None = None
    """Read a telephone number, and write it as it is dialled."""
    datetime: Flag | str | DatetimeRule = False
    """Write a date or timestamp as ``YYYYmmddHHMMSS`` in the configured zone. True: timestamps, dates and ISO
    8601; or the format of a text, as ``%d/%m/%Y %H:%M``. Without an offset, a time is in that zone already;
    a date alone is midnight."""
    max: int | None = None
    """The most characters."""
    over: str | None = None
    """What is done with more: ``cut`` (the default where ``max`` is given) or ``reject`` (the default where
    only the vendor's limit is)."""
    default: str | None = None
    """What to write where the result is empty, or where lookup, bool, number, phone or datetime cannot take the
    value, or where ``recall_date`` is not far enough ahead, or a telephone without a phone rule has not digits
    alone. With ``""``, a second telephone that is wrong is left out, instead of rejecting the lead."""
    required: Flag = False
    """Reject the lead where the result is empty."""

    @property
    def moment(self) -> DatetimeRule | None:
        """`datetime` written out; None where there is none."""
        if self.datetime is False:
            return None
        if isinstance(self.datetime, DatetimeRule):
            return self.datetime
        return DatetimeRule(read=self.datetime if isinstance(self.datetime, str) else None)


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
