"""wolkvox's record: each limit and rule, one test."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from syncd.model import Record, Rejection
from syncd.record import DIALLED, LIMITS, PREDICTIVE_FIELDS, PREVIEW_FIELDS, TELEPHONES, schema

NOW = datetime(2030, 5, 6, 12, 0, tzinfo=UTC).timestamp()
BOGOTA = ZoneInfo("America/Bogota")
PREDICTIVE = schema("predictive")


def record(campaign_type: str = "predictive", **values: str) -> Record:
    return schema(campaign_type).blank | {"customer_id": "1020304050", "tel1": "3211234567"} | values


def rule_broken(**values: str) -> str:
    rejection = PREDICTIVE.check(record(**values), NOW)
    return rejection.rule if rejection else ""


@pytest.mark.parametrize("campaign_type", ["predictive", "preview"])
def test_a_record_with_an_id_and_a_telephone_is_fit(campaign_type: str) -> None:
    assert schema(campaign_type).check(record(campaign_type), NOW) is None


def test_the_fields_are_those_of_the_vendors_documentation() -> None:
    only_predictive = set(PREDICTIVE_FIELDS) - set(PREVIEW_FIELDS)
    assert only_predictive == {"tel_extra", "email", "recall_date", "recall_telephone"}
    assert set(PREVIEW_FIELDS) - set(PREDICTIVE_FIELDS) == {"agent_id"}
    assert (len(PREDICTIVE_FIELDS), len(PREVIEW_FIELDS)) == (37, 34)
    assert len(set(PREDICTIVE_FIELDS)) == 37


def test_an_unknown_campaign_type_has_no_schema() -> None:
    with pytest.raises(ValueError, match="predictive"):
        schema("progressive")


def test_every_field_of_the_type_must_be_there_and_no_other() -> None:
    assert rule_broken(agent_id="7") == "fields"
    incomplete = record()
    del incomplete["zone"]
    rejection = PREDICTIVE.check(incomplete, NOW)
    assert rejection is not None
    assert rejection.rule == "fields"


@pytest.mark.parametrize("value", [None, 1, 1.5, True, b"x", ["x"]])
def test_every_value_is_text(value: object) -> None:
    rejection = PREDICTIVE.check({**record(), "city": value}, NOW)
    assert rejection == Rejection("city", "type", "city is not text.")


@pytest.mark.parametrize("character", ["\0", "\t", "\n", "\x1f", "\x7f", "\x85", "\ud83d"])
def test_control_characters_and_lone_surrogates_are_not_text(character: str) -> None:
    assert rule_broken(city=f"Cali{character}") == "characters"


@pytest.mark.parametrize("text", [" Cali", "Cali ", "San  Gil", "San\u00a0Gil", "San\u2028Gil", "Bogota\u0301", " "])
def test_text_is_folded_and_composed(text: str) -> None:
    assert rule_broken(city=text) == "form"


@pytest.mark.parametrize(("field", "limit"), LIMITS.items())
def test_the_vendors_lengths_are_counted_in_characters(field: str, limit: int) -> None:
    assert limit == (100 if int(field.removeprefix("opt")) <= 6 else 200)
    assert rule_broken(**{field: "ñ" * limit}) == ""
    assert rule_broken(**{field: "ñ" * (limit + 1)}) == "length"


def test_a_customer_id_is_required_and_has_no_comma() -> None:
    assert rule_broken(customer_id="") == "required"
    assert rule_broken(customer_id="10,20") == "comma"


@pytest.mark.parametrize("field", sorted(TELEPHONES))
@pytest.mark.parametrize(
    "number", ["+573211234567", "321 1234567", "321-123", "\u0663\u0662\u0661", "\uff13\uff12\uff11", "321²"]
)
def test_a_telephone_is_ascii_digits_alone(field: str, number: str) -> None:
    assert rule_broken(**{field: number}) == "digits"


def test_one_telephone_of_ten_is_enough_and_none_is_not() -> None:
    for field in DIALLED:
        assert rule_broken(**{"tel1": "", field: "3211234567"}) == ""
    assert rule_broken(tel1="", tel_extra="3211234567", recall_telephone="3211234567") == "telephone"


def test_a_recall_is_at_least_30_minutes_ahead() -> None:
    assert rule_broken(recall_date="20300506073000") == ""
    assert rule_broken(recall_date="20300506072959") == "recall"


@pytest.mark.parametrize(
    "stamp",
    ["2030-05-07", "20300507", "2030050710000", "20301307100000", "20300507250000", "2030W507100000", "x" * 14],
)
def test_a_recall_is_fourteen_digits_that_are_a_date_and_time(stamp: str) -> None:
    assert rule_broken(recall_date=stamp) == "recall"


@pytest.mark.parametrize("stamp", ["00010101000000", "99991231235959"])
def test_the_ends_of_the_calendar_are_judged_like_other_dates(stamp: str) -> None:
    assert rule_broken(recall_date=stamp) == ("recall" if stamp < "2" else "")


def test_a_recall_in_the_hour_that_comes_twice_is_read_as_the_earlier() -> None:
    madrid = ZoneInfo("Europe/Madrid")
    first = datetime(2030, 10, 27, 2, 30, tzinfo=madrid)
    half_past = record(recall_date="20301027023000")
    for minutes, fit in ((-40, True), (-20, False), (20, False)):
        now = (first.astimezone(UTC) + timedelta(minutes=minutes)).timestamp()
        assert (schema("predictive", madrid).check(half_past, now) is None) is fit


@pytest.mark.parametrize("zone", ["America/Bogota", "Europe/Madrid", "America/Santiago", "Asia/Kathmandu"])
def test_the_quick_reading_of_a_recall_agrees_with_the_library(zone: str) -> None:
    place = schema("predictive", ZoneInfo(zone))
    shown = datetime(2030, 1, 1)  # noqa: DTZ001 - a clock on a wall
    for _ in range(400):
        shown += timedelta(hours=22, minutes=17)
        at = shown.replace(tzinfo=place.zone).timestamp()
        stamp = record(recall_date=shown.strftime("%Y%m%d%H%M%S"))
        assert place.check(stamp, at - 1800) is None
        assert place.check(stamp, at - 1799) is not None


def test_a_rejection_holds_no_value() -> None:
    for values in ({"customer_id": "ZQX,1"}, {"tel1": "ZQX"}, {"opt1": "ZQX" * 50}, {"recall_date": "ZQX"}):
        rejection = PREDICTIVE.check(record(**values), NOW)
        assert rejection is not None
        assert "ZQX" not in rejection.reason


def test_the_table_of_rules_has_every_word_that_a_rejection_may_have() -> None:
    from syncd import record as module

    assert module.__doc__ is not None
    listed = set(re.findall(r"^``(\w+)`` ", module.__doc__, re.MULTILINE))
    said = set(re.findall(r'Rejection\(\s*(?:\w+|""), "(\w+)"', Path(module.__file__).read_text(encoding="utf-8")))
    assert len(said) > 8
    assert said == listed
