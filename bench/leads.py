"""What both sides send: made-up leads, and each field twice, as a rule of syncd and as an expression of Postgres.

The telephone numbers come from blocks that no operator was given, the addresses end in example.com.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from syncd.record import PREDICTIVE_FIELDS

WHERE: Final = "consent AND status = 'new'"


@dataclass(frozen=True, slots=True)
class Mapped:
    """One field of wolkvox's record."""

    field: str
    rule: str
    """As syncd's configuration has it."""
    expression: str
    """What gives the same text in SQL."""


MAPPED: Final = (
    Mapped("customer_id", '"document_number"', "document_number"),
    Mapped("customer_name", '{ column = "full_name", split = "first" }', "split_part(full_name, ' ', 1)"),
    Mapped(
        "customer_last_name",
        '{ column = "full_name", split = "rest" }',
        "substr(full_name, strpos(full_name, ' ') + 1)",
    ),
    Mapped(
        "tel1",
        '{ column = "mobile", phone = { region = "CO", format = "national", prefix = "9", kind = "mobile" } }',
        "'9' || right(translate(mobile, ' +()-', ''), 10)",
    ),
    Mapped("email", '{ column = "email", case = "lower" }', "coalesce(lower(email), '')"),
    Mapped(
        "city",
        '{ column = "city_code", default = "", lookup = { "05001" = "Medellín", "08001" = "Barranquilla",'
        ' "11001" = "Bogotá", "13001" = "Cartagena", "76001" = "Cali" } }',
        "CASE city_code WHEN '05001' THEN 'Medellín' WHEN '08001' THEN 'Barranquilla' WHEN '11001' THEN 'Bogotá'"
        " WHEN '13001' THEN 'Cartagena' WHEN '76001' THEN 'Cali' ELSE '' END",
    ),
    Mapped("age", '"age"', "coalesce(age::text, '')"),
    Mapped("address", '"address"', "coalesce(address, '')"),
    Mapped(
        "recall_date",
        '{ column = "callback_at", datetime = true }',
        "coalesce(to_char(callback_at AT TIME ZONE 'America/Bogota', 'YYYYMMDDHH24MISS'), '')",
    ),
    Mapped("opt1", '{ value = "web" }', "'web'"),
    Mapped(
        "opt2",
        '{ template = "{utm_source}/{utm_campaign}", max = 100 }',
        "CASE WHEN utm_source IS NULL AND utm_campaign IS NULL THEN ''"
        " ELSE left(coalesce(utm_source, '') || '/' || coalesce(utm_campaign, ''), 100) END",
    ),
    Mapped("opt3", '{ column = "notes", max = 100 }', "coalesce(rtrim(left(notes, 100)), '')"),
    Mapped("opt4", '{ column = "product", case = "upper" }', "upper(product)"),
)
"""Twelve columns of the table, and a constant."""

COLUMNS: Final = 12


def fields_as_toml() -> str:
    """The lines below [sync.fields]."""
    return "\n".join(f"{each.field} = {each.rule}" for each in MAPPED)


def statements(leads: int) -> list[str]:
    """What makes the table and so many leads in it, each to be executed by itself.

    Args:
        leads: all of them match `WHERE`.
    """
    text = files("bench").joinpath("table.sql").read_text("utf-8").replace("@leads@", str(leads))
    return [statement for statement in text.split(";\n") if statement.strip()]


def body_query(after: int, upto: int) -> str:
    """The query whose single value is a call's body: the leads with after < id <= upto, every field of the type."""
    expressions = {each.field: each.expression for each in MAPPED}
    record = ", ".join(f"{expressions.get(field, repr(''))} AS {field}" for field in PREDICTIVE_FIELDS)
    rows = f"SELECT {record} FROM public.leads WHERE {WHERE} AND id > {after} AND id <= {upto}"
    return f"SELECT json_agg(record) FROM ({rows}) AS record"
