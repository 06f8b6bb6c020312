"""Each rule, and the one order in which they are applied."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from syncd.fieldmap import FieldMap, FieldRule, PhoneRule, compile_map
from syncd.model import Rejection

NOW = datetime(2030, 5, 6, 12, 0, tzinfo=UTC).timestamp()
One = Callable[..., Any]


def rule_of(result: object) -> str:
    assert isinstance(result, Rejection)
    return result.rule


@pytest.mark.parametrize(
    ("name", "first", "rest"),
    [
        ("María José Díaz", "María", "José Díaz"),
        ("  Ana   Pérez ", "Ana", "Pérez"),
        ("Ana", "Ana", ""),
        ("De la Cruz", "De", "la Cruz"),
        ("", "", ""),
        (None, "", ""),
    ],
)
def test_split_takes_the_first_word_or_the_rest(one: One, name: str | None, first: str, rest: str) -> None:
    assert one(FieldRule(column="name", split="first"), name) == first
    assert one(FieldRule(column="name", split="rest"), name) == rest


def test_a_lookup_writes_what_stands_for_the_text(one: One) -> None:
    cities = {"05001": "Medellín", "11001 ": "Bogotá", "true": "Sí"}
    assert one(FieldRule(column="code", lookup=cities), "05001") == "Medellín"
    assert one(FieldRule(column="code", lookup=cities), " 11001") == "Bogotá"
    assert one(FieldRule(column="code", lookup=cities), True) == "Sí"
    assert one(FieldRule(column="code", lookup=cities), None) == ""


def test_a_lookup_that_misses_rejects_the_lead_or_gives_the_default(one: One) -> None:
    missed = one(FieldRule(column="code", lookup={"a": "b"}), "ZQX")
    assert missed == Rejection("city", "lookup", 'city: column "code" holds a value that the lookup has not.')
    assert one(FieldRule(column="code", lookup={"a": "b"}, default=""), "ZQX") == ""
    assert one(FieldRule(column="code", lookup={"a": "b"}, default="otra"), "ZQX") == "otra"


@pytest.mark.parametrize(
    ("case", "text"), [("lower", "íñigo o'neil"), ("upper", "ÍÑIGO O'NEIL"), ("title", "Íñigo O'Neil")]
)
def test_case_changes_letters(one: One, case: str, text: str) -> None:
    assert one(FieldRule(column="name", case=case), "íÑIGO o'nEIL") == text


def test_a_default_stands_for_what_is_empty_and_is_left_as_it_is(one: One) -> None:
    rule = FieldRule(column="name", split="rest", case="upper", default="sin apellido")
    assert one(rule, "Ana") == "sin apellido"
    assert one(rule, "Ana Ruiz") == "RUIZ"


def test_max_cuts_or_rejects(one: One) -> None:
    assert one(FieldRule(column="note", max=5), "abcd efgh") == "abcd"
    assert one(FieldRule(column="note", max=5, over="cut"), "abcdef") == "abcde"
    assert rule_of(one(FieldRule(column="note", max=5, over="reject"), "abcdef")) == "length"
    assert one(FieldRule(column="note", max=5, over="reject"), "ñandú") == "ñandú"


@pytest.mark.parametrize(("field", "limit"), [("opt1", 100), ("opt6", 100), ("opt7", 200), ("opt12", 200)])
def test_the_vendors_limit_rejects_unless_it_is_told_to_cut(one: One, field: str, limit: int) -> None:
    long = "x" * (limit + 1)
    assert one(FieldRule(column="note"), long[1:], field=field) == long[1:]
    assert rule_of(one(FieldRule(column="note"), long, field=field)) == "length"
    assert one(FieldRule(column="note", over="cut"), long, field=field) == long[1:]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (("fb", "mayo"), "fb/mayo"),
        (("fb", None), "fb/"),
        ((None, "mayo"), "/mayo"),
        ((None, "  "), ""),
        ((3, True), "3/true"),
        (("{b}", "{0}"), "{b}/{0}"),
    ],
)
def test_a_template_is_empty_where_all_its_columns_are(one: One, values: tuple[object, ...], text: str) -> None:
    assert one(FieldRule(template="{a}/{b}"), *values) == text


def test_a_template_is_cleaned_as_a_whole_and_may_hold_braces(one: One) -> None:
    assert one(FieldRule(template=" {a}  {b} "), "Ana", None) == "Ana"
    assert one(FieldRule(template="{{{a}}}"), "x") == "{x}"
    assert one(FieldRule(template="e{a}"), "\u0301") == "é"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("$.budget", "1500"),
        ("$.deep.er", "x"),
        ("$.tags[0]", "a"),
        ("$.tags[-1]", "b"),
        ("$.tags[7]", ""),
        ('$["a key"]', "sí"),
        ("$['a key']", "sí"),
        ("$.nothing", ""),
        ("$.budget.more", ""),
        ("$.null", ""),
        ("$.flag", "true"),
        ("$.tags", '["a", "b"]'),
        ("$[0]", ""),
    ],
)
def test_a_path_leads_into_json(one: One, path: str, text: str) -> None:
    value = {
        "budget": 1500,
        "deep": {"er": "x"},
        "tags": ["a", "b"],
        "a key": "sí",
        "null": None,
        "flag": True,
    }
    assert one(FieldRule(column="attributes", path=path), value) == text


def test_a_path_leads_into_the_text_of_json_and_into_an_array(one: One) -> None:
    assert one(FieldRule(column="attributes", path="$.a"), '{"a": 5}') == "5"
    assert one(FieldRule(column="phones", path="$[1]"), ["x", "y"]) == "y"
    assert one(FieldRule(column="attributes", path="$.a"), None) == ""
    assert one(FieldRule(column="attributes", path="$.a"), " ") == ""
    assert rule_of(one(FieldRule(column="attributes", path="$.a"), "{ZQX")) == "path"
    assert rule_of(one(FieldRule(column="attributes", path="$[0]"), "[" * 100_000)) == "path"


PLUS_TWO = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("value", "stamp"),
    [
        (datetime(2030, 7, 1, 12, 30, 15, 999, tzinfo=UTC), "20300701073015"),
        (datetime(2030, 7, 1, 12, 30, tzinfo=PLUS_TWO), "20300701053000"),
        (datetime(2030, 7, 1, 12, 30), "20300701123000"),  # noqa: DTZ001 - a timestamp without time zone
        (date(2030, 7, 1), "20300701000000"),
        ("2030-07-01", "20300701000000"),
        ("2030-07-01 12:30", "20300701123000"),
        (" 2030-07-01T12:30:15Z ", "20300701073015"),
        ("2030-07-01 12:30:15.5+02", "20300701053015"),
        (date(33, 4, 3), "00330403000000"),
        (datetime(33, 4, 3, 1, 2, 3), "00330403010203"),  # noqa: DTZ001 - the same
        (None, ""),
        ("", ""),
    ],
)
def test_a_datetime_is_written_in_the_zone(one: One, value: object, stamp: str) -> None:
    assert one(FieldRule(column="at", datetime=True), value) == stamp


@pytest.mark.parametrize(
    "value",
    [
        "mañana",
        "infinity",
        "2030-02-30",
        1893456000,
        1.5,
        True,
        b"2030-07-01",
        ["2030-07-01"],
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=23))),
        datetime.min.replace(tzinfo=UTC),
    ],
)
def test_what_is_no_datetime_is_rejected_or_gives_the_default(one: One, value: object) -> None:
    assert rule_of(one(FieldRule(column="at", datetime=True), value)) == "datetime"
    assert one(FieldRule(column="at", datetime=True, default=""), value) == ""


@pytest.mark.parametrize(
    ("instant", "stamp"),
    [
        (datetime(2030, 3, 31, 0, 59, tzinfo=UTC), "20300331015900"),
        (datetime(2030, 3, 31, 1, 0, tzinfo=UTC), "20300331030000"),
        (datetime(2030, 10, 27, 0, 30, tzinfo=UTC), "20301027023000"),
        (datetime(2030, 10, 27, 1, 30, tzinfo=UTC), "20301027023000"),
    ],
)
def test_clocks_that_change_are_followed(one: One, instant: datetime, stamp: str) -> None:
    rule = FieldRule(column="at", datetime=True)
    assert one(rule, instant, zone="Europe/Madrid") == stamp
    assert one(rule, instant.isoformat(), zone="Europe/Madrid") == stamp


def test_a_datetime_of_another_format_is_read_by_it(one: One) -> None:
    rule = FieldRule(column="at", datetime="%d/%m/%Y %H:%M")
    assert one(rule, "01/07/2030  15:45") == "20300701154500"
    assert rule_of(one(rule, "2030-07-01")) == "datetime"
    assert one(rule, date(2030, 7, 1)) == "20300701000000"
    offset = FieldRule(column="at", datetime="%d/%m/%Y %H:%M%z")
    assert one(offset, "01/07/2030 15:45+0000") == "20300701104500"


def test_a_datetime_may_come_from_a_template_and_a_path(one: One) -> None:
    assert one(FieldRule(template="{d}T{t}", datetime=True), date(2030, 7, 1), "15:45") == "20300701154500"
    assert one(FieldRule(column="j", path="$.at", datetime=True), {"at": "2030-07-01"}) == "20300701000000"


def test_a_recall_too_near_is_rejected_or_left_out(one: One) -> None:
    for value in (datetime(2030, 5, 6, 12, 29, tzinfo=UTC), date(2000, 1, 1)):
        assert rule_of(one(FieldRule(column="at", datetime=True), value, field="recall_date")) == "recall"
        assert one(FieldRule(column="at", datetime=True, default=""), value, field="recall_date") == ""
    good = datetime(2030, 5, 6, 12, 30, tzinfo=UTC)
    assert one(FieldRule(column="at", datetime=True), good, field="recall_date") == "20300506073000"
    assert one(FieldRule(column="at", datetime=True), None, field="recall_date") == ""


def test_a_telephone_without_a_phone_rule_must_be_digits(one: One) -> None:
    assert one(FieldRule(column="phone"), 3211234567, field="tel2") == "3211234567"
    assert rule_of(one(FieldRule(column="phone"), "321-1234567", field="tel2")) == "digits"
    assert one(FieldRule(column="phone", default=""), "321-1234567", field="tel2") == ""


def test_a_second_telephone_that_is_wrong_can_be_left_out(one: One) -> None:
    phone = PhoneRule("CO")
    assert rule_of(one(FieldRule(column="phone", phone=phone), "no tiene", field="tel2")) == "phone"
    assert one(FieldRule(column="phone", phone=phone, default=""), "no tiene", field="tel2") == ""


def test_the_steps_are_applied_in_their_order(one: One) -> None:
    rule = FieldRule(
        column="j", path="$.who", split="rest", lookup={"ruiz": "Ruiz Díaz"}, case="upper", max=6, default="-"
    )
    assert one(rule, {"who": "ana ruiz"}) == "RUIZ D"
    assert one(rule, {"who": "ana"}) == "-"
    assert one(rule, {"who": "ana gómez"}) == "-"


def test_customer_id_is_held_to_its_rules(one: One) -> None:
    assert rule_of(one(FieldRule(column="doc"), None, field="customer_id")) == "required"
    assert rule_of(one(FieldRule(column="doc", default="x"), "1,2", field="customer_id")) == "comma"
    assert one(FieldRule(column="doc"), 1020304050, field="customer_id") == "1020304050"


def test_a_field_that_is_required_is_not_empty(compiled: Callable[..., FieldMap]) -> None:
    field_map = compiled({"email": FieldRule(column="mail")}, require=("email", "tel1", "customer_id"))
    rejection = field_map.map((" ",), NOW)
    reason = 'email is required, and column "mail" gives nothing for it.'
    assert rejection == Rejection("email", "required", reason)
    assert not isinstance(field_map.map(("a@example.com",), NOW), Rejection)


def test_one_of_the_telephones_must_be_there() -> None:
    rules = {
        "customer_id": FieldRule(value="1"),
        "tel1": FieldRule(column="mobile"),
        "tel3": FieldRule(column="home"),
        "recall_telephone": FieldRule(column="office"),
    }
    field_map = compile_map(rules, campaign_type="predictive", require=[], zone=ZoneInfo("America/Bogota"))
    rows = [("3211234567", None, None), (None, "3211234567", None), (None, "", "3211234567")]
    first, second, none = field_map.map_many(rows, NOW)
    assert not isinstance(first, Rejection)
    assert not isinstance(second, Rejection)
    reason = 'There is no telephone to dial: column "mobile" and column "home" give nothing.'
    assert none == Rejection("", "telephone", reason)


def test_a_rejected_row_does_not_stop_its_neighbours(compiled: Callable[..., FieldMap]) -> None:
    field_map = compiled({"city": FieldRule(column="code", lookup={"a": "A"})})
    mapped = field_map.map_many([("a",) if n % 7 else (n,) for n in range(2000)], NOW)
    assert [isinstance(result, Rejection) for result in mapped] == [n % 7 == 0 for n in range(2000)]


def test_the_fault_of_the_first_field_is_told(compiled: Callable[..., FieldMap]) -> None:
    lookup = {"a": "A"}
    field_map = compiled({"opt1": FieldRule(column="x", lookup=lookup), "city": FieldRule(column="x", lookup=lookup)})
    rejection = field_map.map(("ZQX",), NOW)
    assert isinstance(rejection, Rejection)
    assert rejection.field == "city"


def test_a_column_is_asked_for_once(compiled: Callable[..., FieldMap]) -> None:
    field_map = compiled(
        {
            "opt2": FieldRule(template="{utm}/{name}"),
            "customer_last_name": FieldRule(column="name", split="rest"),
            "customer_name": FieldRule(column="name", split="first"),
        }
    )
    assert field_map.columns == ("name", "utm")


def test_a_record_has_every_field_and_each_its_own(compiled: Callable[..., FieldMap]) -> None:
    field_map = compiled({"city": FieldRule(column="city")})
    cali, other = field_map.map_many([("Cali",), ("Pasto",)], NOW)
    assert not isinstance(cali, Rejection)
    assert tuple(cali) == field_map.schema.fields
    assert {field for field, value in cali.items() if value} == {"city", "customer_id", "tel1"}
    assert not isinstance(other, Rejection)
    other["city"] = ""
    assert cali["city"] == "Cali"


def test_a_map_of_constants_needs_no_column(compiled: Callable[..., FieldMap]) -> None:
    field_map = compiled({})
    assert field_map.columns == ()
    assert len(field_map.map_many([(), ()], NOW)) == 2
    assert field_map.map_many([], NOW) == []


def test_a_row_of_another_length_is_a_mistake_of_the_caller(compiled: Callable[..., FieldMap]) -> None:
    with pytest.raises(ValueError, match="1 columns"):
        compiled({"city": FieldRule(column="city")}).map(("Cali", "x"), NOW)


def test_a_map_says_in_words_where_a_field_comes_from(compiled: Callable[..., FieldMap]) -> None:
    field_map = compiled(
        {
            "tel2": FieldRule(column="mobile", phone=PhoneRule("CO", prefix="9", kind="mobile"), default=""),
            "opt1": FieldRule(column="j", path="$.a", split="rest", lookup={"a": "b"}, case="upper", max=9),
            "recall_date": FieldRule(template="{d} {t}", datetime="%d/%m/%Y %H:%M"),
        }
    )
    assert field_map.source_of("tel2") == (
        'column "mobile", mobile telephone of CO, national, 9 before it, "" if empty'
    )
    assert field_map.source_of("opt1") == (
        '"$.a" in column "j", all but the first word, lookup of 1, upper case, at most 9 characters'
    )
    assert field_map.source_of("recall_date") == 'the template "{d} {t}", date and time by %d/%m/%Y %H:%M'
    assert field_map.source_of("customer_id") == 'always "1"'
    assert field_map.source_of("zone") == "not mapped"
