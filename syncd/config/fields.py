"""One rule of the field map as it is written in TOML: a bare string is a column, anything else a table."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from syncd.fieldmap import FieldRule, PhoneRule

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


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

    def to_rule(self) -> PhoneRule:
        """The same for the field map."""
        return PhoneRule(
            region=self.region,
            format=self.format,
            prefix=self.prefix,
            kind=self.kind,
            region_column=self.region_column,
        )


def _true_or_format(value: Any) -> Any:
    if not isinstance(value, bool | str):
        raise ValueError(  # noqa: TRY004 - pydantic takes no TypeError
            "must be true, or the format of a text, such as %d/%m/%Y %H:%M"
        )
    return value


class FieldTable(BaseModel):
    """Where the value of one wolkvox field comes from, and what is done to it, in the order of these keys."""

    model_config = _STRICT

    column: str | None = None
    """A column of the table. Exactly one of column, value and template is given."""
    value: str | None = None
    """The same text for every lead."""
    template: str | None = None
    """Text with columns in braces, such as "{utm_source}/{utm_campaign}"; empty where all are empty."""
    path: str | None = None
    """Into a json, jsonb or array column, such as "$.budget", "$.tags[0]" or '$["a key"]'."""
    split: Literal["first", "rest"] | None = None
    """The first word, or all but the first word."""
    lookup: dict[str, str] | None = None
    """What to write for each text; another text rejects the lead, unless there is a default."""
    case: Literal["lower", "upper", "title"] | None = None
    """Change the case of letters."""
    phone: PhoneTable | None = None
    """Read a telephone number, and write it as it is dialled."""
    datetime: Annotated[bool | str, BeforeValidator(_true_or_format)] = False
    """Write a date or timestamp as wolkvox does, in wolkvox.timezone: true for timestamps, dates and ISO
    8601, or the format of a text, such as "%d/%m/%Y %H:%M"."""
    max: Annotated[int, Field(ge=1)] | None = None
    """The most characters."""
    over: Literal["cut", "reject"] | None = None
    """What is done with more: "cut" where max is given, else "reject" above wolkvox's own limit."""
    default: str | None = None
    """What to write where the result is empty, or where lookup, phone or datetime cannot take the value: with
    "", a second telephone that is wrong is left out, instead of rejecting the lead."""

    def to_rule(self) -> FieldRule:
        """The same for the field map."""
        return FieldRule(
            column=self.column,
            value=self.value,
            template=self.template,
            path=self.path,
            split=self.split,
            lookup=self.lookup,
            case=self.case,
            phone=None if self.phone is None else self.phone.to_rule(),
            datetime=self.datetime,
            max=self.max,
            over=self.over,
            default=self.default,
        )


def _table(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


FieldSpec = Annotated[FieldTable, BeforeValidator(_table)]
"""For ``fields: dict[str, FieldSpec]`` of another model: a bare string is a column."""
