"""The rules as they are written in TOML."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel, ValidationError

from syncd.config.fields import (
    BoolTable,
    DatetimeTable,
    FieldSpec,
    FieldTable,
    NumberTable,
    PhoneTable,
    ReplaceTable,
)
from syncd.fieldmap import BoolRule, DatetimeRule, FieldRule, NumberRule, PhoneRule, ReplaceRule

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class Sync(BaseModel):
    """The part of a sync that matters here."""

    fields: dict[str, FieldSpec]


WRITTEN = """
[fields]
customer_id = "document_number"
customer_name = { column = "full_name", split = "first" }
tel1 = { column = "mobile", phone = { region = "CO", format = "national", prefix = "9" } }
email = { column = "email", case = "lower" }
city = { column = "city_code", lookup = { "05001" = "Medellín", "11001" = "Bogotá" }, default = "" }
recall_date = { column = "callback_at", datetime = true }
opt1 = { value = "web" }
opt2 = { template = "{utm_source}/{utm_campaign}", max = 100, over = "reject" }
opt3 = { column = "attributes", path = "$.budget" }
opt4 = { column = "born", datetime = "%d/%m/%Y" }
opt5 = { first = ["a", "b"], strip = "-.", replace = [{ pattern = "x+", with = "y" }, { pattern = "z" }], ascii = true }
opt6 = { join = ["a", "b"], separator = ", ", digits = true, required = true }
opt7 = { column = "a", bool = { true = "Sí", false = "No" } }
opt8 = { column = "a", number = { decimals = 2, decimal = ",", thousands = ".", read = "." } }
opt9 = { column = "a", datetime = { write = "%d/%m/%Y", zone = "UTC" } }
opt10 = { column = "a", lookup = { b = "c" }, fold = true }
opt11 = { column = "a", datetime = { read = "%Y" } }
tel2 = { column = "b", phone = { region = "CO", area = "601", extension = "reject", spread = true } }
"""


def rules_of(toml: str) -> dict[str, FieldRule]:
    return {field: spec.to_rule() for field, spec in Sync(**tomllib.loads(toml)).fields.items()}


def test_the_rules_are_read_as_they_are_written() -> None:
    assert rules_of(WRITTEN) == {
        "customer_id": FieldRule(column="document_number"),
        "customer_name": FieldRule(column="full_name", split="first"),
        "tel1": FieldRule(column="mobile", phone=PhoneRule("CO", format="national", prefix="9")),
        "email": FieldRule(column="email", case="lower"),
        "city": FieldRule(column="city_code", lookup={"05001": "Medellín", "11001": "Bogotá"}, default=""),
        "recall_date": FieldRule(column="callback_at", datetime=True),
        "opt1": FieldRule(value="web"),
        "opt2": FieldRule(template="{utm_source}/{utm_campaign}", max=100, over="reject"),
        "opt3": FieldRule(column="attributes", path="$.budget"),
        "opt4": FieldRule(column="born", datetime="%d/%m/%Y"),
        "opt5": FieldRule(
            first=["a", "b"], strip="-.", replace=[ReplaceRule("x+", "y"), ReplaceRule("z", "")], ascii=True
        ),
        "opt6": FieldRule(join=["a", "b"], separator=", ", digits=True, required=True),
        "opt7": FieldRule(column="a", bool=BoolRule("Sí", "No")),
        "opt8": FieldRule(column="a", number=NumberRule(2, ",", ".", ".")),
        "opt9": FieldRule(column="a", datetime=DatetimeRule(write="%d/%m/%Y", zone="UTC")),
        "opt10": FieldRule(column="a", lookup={"b": "c"}, fold=True),
        "opt11": FieldRule(column="a", datetime="%Y"),
        "tel2": FieldRule(column="b", phone=PhoneRule("CO", area="601", extension="reject", spread=True)),
    }


@pytest.mark.parametrize(
    ("rule", "location"),
    [
        ("5", ("city",)),
        ("{ colum = 'x' }", ("city", "colum")),
        ("{ column = 5 }", ("city", "column")),
        ("{ column = 'x', split = 'second' }", ("city", "split")),
        ("{ column = 'x', max = '5' }", ("city", "max")),
        ("{ column = 'x', max = 0 }", ("city", "max")),
        ("{ column = 'x', datetime = 5 }", ("city", "datetime")),
        ("{ column = 'x', datetime = { zon = 'UTC' } }", ("city", "datetime", "zon")),
        ("{ column = 'x', lookup = { a = 5 } }", ("city", "lookup", "a")),
        ("{ first = 'x' }", ("city", "first")),
        ("{ column = 'x', replace = [{ with = 'a' }] }", ("city", "replace", 0, "pattern")),
        ("{ column = 'x', replace = [{ pattern = 'a', replacement = 'b' }] }", ("city", "replace", 0, "replacement")),
        ("{ column = 'x', bool = true }", ("city", "bool")),
        ("{ column = 'x', bool = { true = 'a' } }", ("city", "bool", "false")),
        ("{ column = 'x', number = { decimal = ';' } }", ("city", "number", "decimal")),
        ("{ column = 'x', phone = { format = 'national' } }", ("city", "phone", "region")),
        ("{ column = 'x', phone = { region = 'CO', zone = '1' } }", ("city", "phone", "zone")),
    ],
)
def test_a_fault_is_found_at_its_key(rule: str, location: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        rules_of(f"[fields]\ncity = {rule}")
    (fault,) = caught.value.errors()
    assert fault["loc"] == ("fields", *location)


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        (FieldTable, FieldRule),
        (PhoneTable, PhoneRule),
        (NumberTable, NumberRule),
        (DatetimeTable, DatetimeRule),
        (BoolTable, BoolRule),
        (ReplaceTable, ReplaceRule),
    ],
)
def test_every_key_is_documented_and_has_its_place_in_the_rule(
    table: type[BaseModel], rule: type[DataclassInstance]
) -> None:
    assert set(table.model_fields) == {field.name for field in fields(rule)}
    assert all(field.description for field in table.model_fields.values())
