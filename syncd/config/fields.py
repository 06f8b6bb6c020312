"""One rule of the field map as it is written in TOML: a bare string is a column, anything else a table."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from syncd.fieldmap import BoolRule, DatetimeRule, FieldRule, NumberRule, PhoneRule, ReplaceRule

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

Flag = bool
"""``bool``, which is also the name of a rule."""


class ReplaceTable(BaseModel):
    """One pattern, and what is written for each place where it is found."""

    model_config = _STRICT

    pattern: str
    """A regular expression as RE2 takes it: no look-around and no back-reference, and never slow. (?i) at its
    start: in any case."""
    replacement: str = Field(default="", alias="with")
    """What is written instead; \\1 is the pattern's first group. Without it, what is found is taken out."""

    def to_rule(self) -> ReplaceRule:
        """The same for the field map."""
        return ReplaceRule(self.pattern, self.replacement)


class BoolTable(BaseModel):
    """What is written for yes and for no."""

    model_config = _STRICT

    true: str
    """For true, t, yes, y, on, 1, sí, si, s and verdadero."""
    false: str
    """For false, f, no, n, off, 0 and falso."""

    def to_rule(self) -> BoolRule:
        """The same for the field map."""
        return BoolRule(self.true, self.false)


class NumberTable(BaseModel):
    """How a number is written, and how a text is read as one."""

    model_config = _STRICT

    decimals: int | None = None
    """Digits after the decimal mark, rounded, halves up; without it, as many as there are."""
    decimal: Literal[".", ","] = "."
    """The decimal mark that is written."""
    thousands: Literal["", ".", ",", " ", "'"] = ""
    """What is written between groups of three digits."""
    read: Literal[".", ","] | None = None
    """The decimal mark of a column of texts. Without it, a text that could be read in two ways, such as "1.500",
    rejects the lead."""

    def to_rule(self) -> NumberRule:
        """The same for the field map."""
        return NumberRule(decimals=self.decimals, decimal=self.decimal, thousands=self.thousands, read=self.read)


class DatetimeTable(BaseModel):
    """How a point in time is read and written."""

    model_config = _STRICT

    read: str | None = None
    """The format of a text, such as "%d/%m/%Y %H:%M"; without it, ISO 8601."""
    write: str | None = None
    """The format that is written, such as "%d/%m/%Y", of %d %m %Y %y %H %I %M %S %p %j; without it, as wolkvox
    writes a date: YYYYmmddHHMMSS. recall_date takes no other."""
    zone: str | None = None
    """The zone of times that name none, such as "UTC", in which many CRMs keep them; without it,
    wolkvox.timezone. It is always written in wolkvox.timezone; a date without a time is midnight there."""

    def to_rule(self) -> DatetimeRule | Flag | str:
        """The same for the field map: in its shortest form."""
        if self.write is None and self.zone is None:
            return True if self.read is None else self.read
        return DatetimeRule(read=self.read, write=self.write, zone=self.zone)


class PhoneTable(BaseModel):
    """How a telephone number is read, and how the dialler wants it written."""

    model_config = _STRICT

    region: str
    """The dialler's country, and that of numbers without a country code: ISO 3166, such as "CO"."""
    format: Literal["national", "e164"] = "national"
    """"national": without country code or trunk prefix; "e164": with the country code. Digits alone, both."""
    prefix: str = ""
    """Digits that your operation dials before each number, such as "9"."""
    kind: Literal["any", "mobile", "fixed"] = "any"
    """Reject numbers of another kind."""
    region_column: str | None = None
    """A column that holds the country of each lead's number (ISO 3166); empty: `region` counts."""
    area: str | None = None
    """The area code of numbers that come without, such as "601"; without it, such a number rejects the lead."""
    extension: Literal["drop", "reject"] = "drop"
    """"drop": dial the number without its extension; "reject": reject a number with one."""
    spread: Flag = False
    """Take every number of the cell: the first for this telephone, the others for the telephones after it that
    have no rule of their own, up to the next that spreads. Numbers without a place are left out, and so is what
    is no number, where there is one at all."""

    def to_rule(self) -> PhoneRule:
        """The same for the field map."""
        return PhoneRule(
            region=self.region,
            format=self.format,
            prefix=self.prefix,
            kind=self.kind,
            region_column=self.region_column,
            area=self.area,
            extension=self.extension,
            spread=self.spread,
        )


def _moment(value: Any) -> Any:
    if value is None or isinstance(value, dict | DatetimeTable):
        return value
    if isinstance(value, str):
        return {"read": value}
    if not isinstance(value, Flag):
        raise ValueError(  # noqa: TRY004 - pydantic takes no TypeError
            "must be true, the format of a text, such as %d/%m/%Y %H:%M, or a table of read, write and zone"
        )
    return {} if value else None


class FieldTable(BaseModel):
    """Where the value of one wolkvox field comes from, and what is done to it, in the order of these keys."""

    model_config = _STRICT

    column: str | None = None
    """A column of the table. Exactly one of column, value, template, first and join is given."""
    value: str | None = None
    """The same text for every lead."""
    template: str | None = None
    """Text with columns in braces, such as "{utm_source}/{utm_campaign}"; empty where all are empty."""
    first: list[str] | None = None
    """Columns, of which the first counts that is not empty."""
    join: list[str] | None = None
    """Columns that are written one after the other; empty ones are left out."""
    separator: str | None = None
    """What stands between the columns of join; without it, a space."""
    path: str | None = None
    """Into a json, jsonb or array column, such as "$.budget", "$.tags[0]" or '$["a key"]'."""
    strip: str | None = None
    """Characters that are taken off both ends; spaces always are."""
    replace: list[ReplaceTable] | None = None
    """Patterns, and what is written for what each of them finds; in turn, each on what the one before it left."""
    digits: Flag = False
    """Keep the digits alone."""
    ascii: Flag = False
    """Write letters without accents, as n for ñ and ss for ß; what has no such form is left out."""
    split: Literal["first", "rest", "names", "surnames"] | None = None
    """The "first" word, or the "rest"; or the "names" or the "surnames" of a person, as Spanish names are made."""
    lookup: dict[str, str] | None = None
    """What to write for each text; another text rejects the lead, unless there is a default."""
    fold: Flag = False
    """Look up without regard to case and accents."""
    bool: BoolTable | None = None
    """Write yes and no in your own words; another word rejects the lead, unless there is a default."""
    case: Literal["lower", "upper", "title"] | None = None
    """Change the case of letters."""
    number: NumberTable | None = None
    """Read a number, or a text with one, with or without a currency, and write it."""
    phone: PhoneTable | None = None
    """Read a telephone number, and write it as it is dialled. Old Colombian numbers are renewed. A number that a
    telephone of the lead before it has already is left out."""
    datetime: Annotated[DatetimeTable | None, BeforeValidator(_moment)] = None
    """Write a date or timestamp as wolkvox does, in wolkvox.timezone: true for timestamps, dates and ISO
    8601, or the format of a text, such as "%d/%m/%Y %H:%M"; or a table."""
    max: Annotated[int, Field(ge=1)] | None = None
    """The most characters."""
    over: Literal["cut", "reject"] | None = None
    """What is done with more: "cut" where max is given, else "reject" above wolkvox's own limit."""
    default: str | None = None
    """What to write where the result is empty, or where lookup, bool, number, phone or datetime cannot take the
    value: with "", a second telephone that is wrong is left out, instead of rejecting the lead."""
    required: Flag = False
    """Reject the lead where the result is empty, as the sync's require does."""

    def to_rule(self) -> FieldRule:
        """The same for the field map."""
        return FieldRule(
            column=self.column,
            value=self.value,
            template=self.template,
            first=self.first,
            join=self.join,
            separator=self.separator,
            path=self.path,
            strip=self.strip,
            replace=None if self.replace is None else [each.to_rule() for each in self.replace],
            digits=self.digits,
            ascii=self.ascii,
            split=self.split,
            lookup=self.lookup,
            fold=self.fold,
            bool=None if self.bool is None else self.bool.to_rule(),
            case=self.case,
            number=None if self.number is None else self.number.to_rule(),
            phone=None if self.phone is None else self.phone.to_rule(),
            datetime=False if self.datetime is None else self.datetime.to_rule(),
            max=self.max,
            over=self.over,
            default=self.default,
            required=self.required,
        )


def _table(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


FieldSpec = Annotated[FieldTable, BeforeValidator(_table)]
"""For ``fields: dict[str, FieldSpec]`` of another model: a bare string is a column."""
