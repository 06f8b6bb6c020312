"""The rules as they are written in TOML."""

from __future__ import annotations

import tomllib
from dataclasses import fields

import pytest
from pydantic import BaseModel, ValidationError

from syncd.config.fields import FieldSpec, FieldTable, PhoneTable
from syncd.fieldmap import FieldRule, PhoneRule


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
        ("{ column = 'x', lookup = { a = 5 } }", ("city", "lookup", "a")),
        ("{ column = 'x', phone = { format = 'national' } }", ("city", "phone", "region")),
        ("{ column = 'x', phone = { region = 'CO', area = '1' } }", ("city", "phone", "area")),
    ],
)
def test_a_fault_is_found_at_its_key(rule: str, location: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        rules_of(f"[fields]\ncity = {rule}")
    (fault,) = caught.value.errors()
    assert fault["loc"] == ("fields", *location)


@pytest.mark.parametrize(("table", "rule"), [(FieldTable, FieldRule), (PhoneTable, PhoneRule)])
def test_every_key_is_documented_and_has_its_place_in_the_rule(
    table: type[BaseModel], rule: type[FieldRule | PhoneRule]
) -> None:
    assert set(table.model_fields) == {field.name for field in fields(rule)}
    assert all(field.description for field in table.model_fields.values())
