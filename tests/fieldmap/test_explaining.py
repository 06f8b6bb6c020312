"""What is told of a row is what the map does: the same steps, the same result."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.fieldmap import FieldMap, FieldMapError, FieldRule, PhoneRule, compile_map
from syncd.fieldmap.explaining import SOURCE, TOGETHER, Tally, explain
from syncd.model import Rejection
from tests.fieldmap.test_totality import NOW, cells, rules

Compile = Callable[..., FieldMap]


@settings(max_examples=300, deadline=None)
@given(data=st.data(), field=st.sampled_from(["city", "opt1", "opt7", "customer_name", "recall_date", "zone"]))
def test_the_last_step_gives_the_value_of_the_map(data: st.DataObject, field: str) -> None:
    drawn = {"customer_id": FieldRule(value="1"), "tel1": FieldRule(value="3211234567"), field: data.draw(rules)}
    try:
        fieldmap = compile_map(drawn, campaign_type="predictive", require=[], zone=ZoneInfo("America/Bogota"))
    except FieldMapError:
        return
    width = len(fieldmap.columns)
    row = data.draw(st.lists(cells, min_size=width, max_size=width))
    explained = explain(fieldmap, row, NOW)
    result = fieldmap.map(row, NOW)
    assert explained.result == result
    told = {one.field: one for one in explained.fields}[field]
    if isinstance(result, Rejection):
        assert told.fault == result
        return
    assert told.fault is None
    assert told.value == result[field]
    assert told.constant == (drawn[field].value is not None)
    if not told.constant:
        assert told.steps[0][0] == SOURCE
        assert told.steps[-1][1] == result[field]
        assert TOGETHER not in dict(told.steps)  # no field but a telephone is changed by the others


def test_each_step_that_is_written_is_told_by_its_key_in_the_order_of_the_rules(compiled: Compile) -> None:
    rule = FieldRule(column="a", split="first", lookup={"x": "valor"}, case="upper", max=3)
    (told,) = [one for one in explain(compiled({"city": rule}), ["x y"], NOW).fields if one.field == "city"]
    assert told.steps == (("source", "x y"), ("split", "x"), ("lookup", "valor"), ("case", "VALOR"), ("max", "VAL"))


def test_every_fault_of_a_row_is_told_even_one_that_is_asked_of_the_whole(compiled: Compile) -> None:
    fieldmap = compiled(
        {
            "tel1": FieldRule(column="a", phone=PhoneRule("CO")),
            "city": FieldRule(column="b", lookup={"x": "X"}),
            "zone": FieldRule(column="c"),
        },
        require=("zone",),
    )
    told = {one.field: one for one in explain(fieldmap, _row(fieldmap, a="12", b="b"), NOW).fields}
    rules_told = {name: one.fault and one.fault.rule for name, one in told.items()}
    assert rules_told["city"] == "lookup"
    assert rules_told["tel1"] == "phone"
    required = explain(fieldmap, _row(fieldmap), NOW)
    assert isinstance(required.result, Rejection)
    assert {one.field: one.fault for one in required.fields}["zone"] == required.result


def _row(fieldmap: FieldMap, **cells: str) -> list[str]:
    return [({"a": "3211234567", "b": "x", "c": ""} | cells)[name] for name in fieldmap.columns]


def test_numbers_that_are_spread_are_told_of_the_fields_that_get_them(compiled: Compile) -> None:
    fieldmap = compiled({"tel1": FieldRule(column="a", phone=PhoneRule("CO", spread=True))})
    told = {one.field: one for one in explain(fieldmap, ["3211234567 / 3221234567"], NOW).fields}
    assert told["tel1"].value == "3211234567"
    assert (told["tel2"].value, told["tel2"].steps) == ("3221234567", ((TOGETHER, "3221234567"),))
    assert not told["tel2"].constant  # it is masked


def test_a_tally_counts_each_reason_and_keeps_a_few_keys() -> None:
    tally, bad = Tally(), Rejection("city", "lookup", "No.")
    tally.add(["1", "2"], [{}, bad])
    tally.add([str(n) for n in range(3, 9)], [bad] * 5 + [Rejection("", "telephone", "None.")])
    assert (tally.rows, tally.passed) == (8, 1)
    assert [(some.reason, some.rows, some.examples) for some in tally.stopped] == [
        ("No.", 6, ["2", "3", "4"]),
        ("None.", 1, ["8"]),
    ]
