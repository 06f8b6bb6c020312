"""Any row of any values gives a record that obeys the schema or a rejection; never an exception."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from unicodedata import is_normalized
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.fieldmap import (
    BoolRule,
    DatetimeRule,
    FieldMapError,
    FieldRule,
    NumberRule,
    PhoneRule,
    ReplaceRule,
    compile_map,
)
from syncd.model import Rejection
from syncd.record import DIALLED, FIELDS

NOW = datetime(2030, 5, 6, 12, 0, tzinfo=UTC).timestamp()


class Mute:
    """A type whose text cannot be had."""

    def __str__(self) -> str:
        raise ValueError("no text")

    def __repr__(self) -> str:
        return "Mute()"


texts = (
    st.text(st.characters(), max_size=12)
    | st.text("0123456789+ ,./-x", max_size=25)
    | st.text("áÑ \u0301\u00a0\ud83d\0\tßİ", max_size=130)
    | st.sampled_from(["1.234,50", "US$ 1,200", "-0.5", "sí", "NO", "Gómez y Paz, Ana María del Carmen", "ﬁ ½ Łódź ß"])
    | st.lists(st.sampled_from(["3211234567", "(1) 345 6789", "6012345678", "57", "no"]), max_size=5).map(" / ".join)
    | st.sampled_from(["3211234567", "+57 321 123 4567", "6012345678", "a", "2030-07-01", "20400101000000", "CO", "US"])
)
moments = st.datetimes(timezones=st.none() | st.timezones()) | st.dates() | st.times() | st.timedeltas()
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.uuids()
    | moments
    | st.binary(max_size=4)
    | st.ip_addresses()
    | texts
)
values = scalars | st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("ab") | st.integers() | st.none() | st.uuids(), inner, max_size=3)
    ),
    max_leaves=6,
)
anything: st.SearchStrategy[object] = (
    values | st.binary().map(lambda data: memoryview(data)) | st.builds(Mute) | st.complex_numbers()
)

cells = st.none() | texts | anything

columns = st.sampled_from(["a", "b", "c"])
phones = st.builds(
    PhoneRule,
    region=st.sampled_from(["CO", "US", "AR"]),
    format=st.sampled_from(["national", "e164"]),
    prefix=st.sampled_from(["", "9"]),
    kind=st.sampled_from(["any", "mobile", "fixed"]),
    region_column=st.none() | columns,
    area=st.sampled_from([None, "1", "604"]),
    extension=st.sampled_from(["drop", "reject"]),
    spread=st.booleans(),
)
numbers = st.builds(
    NumberRule,
    decimals=st.sampled_from([None, 0, 2, 15]),
    decimal=st.sampled_from([".", ","]),
    thousands=st.sampled_from(["", ".", ",", " ", "'"]),
    read=st.sampled_from([None, ".", ","]),
)
times = st.sampled_from([True, "%d/%m/%Y", "%d/%m/%Y %H:%M"]) | st.builds(
    DatetimeRule,
    read=st.sampled_from([None, "%Y-%m-%d", "%d/%m/%Y %H:%M"]),
    write=st.sampled_from([None, "%d/%m/%Y", " %H:%M ", "%j%%"]),
    zone=st.sampled_from([None, "UTC", "Pacific/Apia"]),
)
replaces = st.lists(
    st.builds(
        ReplaceRule,
        st.sampled_from(["a", r"\s*ext.*$", "(.)(.)", "^$", "x*", r"[^\d]", "(?i)ñ", r"\pM"]),
        st.sampled_from(["", "b", " ", r"\0\0", "\u0301", "\0"]),
    ),
    min_size=1,
    max_size=2,
)
letters = {
    "strip": st.sampled_from([None, None, "-.", "a ", "\u0301"]),
    "replace": st.none() | st.none() | replaces,
}
defaults = st.sampled_from([None, None, "", "", "0", "x y"])
ends = {
    "max": st.sampled_from([None, None, None, 1, 3, 100]),
    "over": st.sampled_from([None, None, None, "cut", "reject"]),
    "default": defaults,
    "required": st.sampled_from([False, False, True]),
}
stepped = {
    **letters,
    **ends,
    "digits": st.sampled_from([False, False, True]),
    "ascii": st.booleans(),
    "split": st.sampled_from([None, None, "first", "rest", "names", "surnames"]),
    "fold": st.booleans(),
    "bool": st.none() | st.none() | st.just(BoolRule("Sí", "No")),
    "lookup": st.sampled_from([None, None, {"a": "3211234567", "CO": "Ñ"}]),
    "case": st.sampled_from([None, "lower", "upper", "title"]),
    "phone": st.none() | st.none() | phones,
}
several = st.lists(columns, min_size=1, max_size=3, unique=True)
separators = st.sampled_from([None, "", " ", "\u0301", ", "])
rules = (
    st.builds(FieldRule, column=columns, path=st.sampled_from([None, None, "$.a", "$[0]"]), **stepped)
    | st.builds(FieldRule, template=st.sampled_from(["{a}", "{a} {b}/", "{c}{a}"]), **stepped)
    | st.builds(FieldRule, first=several, **stepped)
    | st.builds(FieldRule, join=several, separator=separators, **stepped)
    | st.builds(FieldRule, column=columns, datetime=times, **letters, **ends)
    | st.builds(FieldRule, first=several, datetime=times, default=defaults)
    | st.builds(FieldRule, join=several, datetime=times)
    | st.builds(FieldRule, column=columns, number=numbers, **letters, **ends)
    | st.builds(FieldRule, first=several, number=numbers)
    | st.builds(FieldRule, column=columns, path=st.just("$.a"), number=numbers)
    | st.builds(FieldRule, column=columns, datetime=st.sampled_from([True, "%d/%m/%Y"]), default=defaults)
    | st.builds(FieldRule, template=st.just("{a}T{b}"), datetime=st.just(True))
    | st.builds(FieldRule, value=st.sampled_from(["1", "20", "web"]))
    | st.builds(FieldRule, column=columns)
)
ids = st.just(FieldRule(value="1")) | st.just(FieldRule(column="a", default="0")) | rules
telephones = (
    st.just(FieldRule(value="3211234567"))
    | st.builds(FieldRule, column=columns, phone=phones, default=st.just("3211234567"))
    | st.builds(FieldRule, column=columns, phone=phones, default=st.none())
    | rules
)
zones = st.sampled_from(["America/Bogota", "Europe/Madrid", "Pacific/Apia"])


@settings(max_examples=600, deadline=None)
@given(data=st.data(), campaign_type=st.sampled_from(sorted(FIELDS)), zone=zones)
def test_any_row_by_any_map_gives_a_fit_record_or_a_rejection(
    data: st.DataObject, campaign_type: str, zone: str
) -> None:
    fields = st.sampled_from(FIELDS[campaign_type])
    drawn = {"customer_id": data.draw(ids), "tel1": data.draw(telephones)} | data.draw(
        st.dictionaries(fields, rules, max_size=5)
    )
    require = data.draw(st.lists(st.sampled_from(sorted(drawn)), max_size=2))
    try:
        field_map = compile_map(drawn, campaign_type=campaign_type, require=require, zone=ZoneInfo(zone))
    except FieldMapError as error:
        assert error.problems  # noqa: PT017 - what cannot be compiled says why; the rest is the test
        return
    width = len(field_map.columns)
    kept = {*require, *(field for field, rule in drawn.items() if rule.required or rule.value is not None)}
    rows = data.draw(st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=4))
    mapped = field_map.map_many(rows, NOW)
    assert len(mapped) == len(rows)
    for row, result in zip(rows, mapped, strict=True):
        assert field_map.map(row, NOW) == result
        if isinstance(result, Rejection):
            assert result.rule
            assert result.reason.endswith(".")
            assert result.field in drawn or result.rule == "telephone"
            continue
        assert field_map.schema.check(result, NOW) is None
        assert all(type(value) is str and is_normalized("NFC", value) for value in result.values())
        assert all(value == value.strip() for value in result.values())
        assert all(result[field] for field in require)
        assert all(result[field] for field, rule in drawn.items() if rule.required)
        dialled = [result[field] for field in DIALLED if result[field] and field not in kept]
        assert len(set(dialled)) == len(dialled)
        json.dumps(result, ensure_ascii=False).encode()


whole = {
    "customer_id": FieldRule(column="id"),
    "customer_name": FieldRule(column="name", lookup={"a": "b"}),
    "tel1": FieldRule(column="phone", phone=PhoneRule("CO")),
    "opt1": FieldRule(template="{name}-{id}"),
    "opt2": FieldRule(column="more", path="$.a"),
    "recall_date": FieldRule(column="at", datetime=True),
}


@settings(deadline=None)
@given(st.lists(st.sampled_from("ZQ,7 "), min_size=6, max_size=9).map("".join))
def test_a_rejection_never_holds_a_value_of_the_row(text: str) -> None:
    field_map = compile_map(whole, campaign_type="predictive", require=[], zone=ZoneInfo("America/Bogota"))
    marked = f"ZQX{text}"
    later = datetime.fromtimestamp(NOW, UTC) + timedelta(days=1)
    good = {"id": "1", "name": "a", "phone": "3211234567", "more": None, "at": later}
    bad = {"id": f",{marked}", "name": marked, "phone": marked, "more": marked, "at": marked}
    for column in good:
        row = [bad[name] if name == column else good[name] for name in field_map.columns]
        rejection = field_map.map(row, NOW)
        assert isinstance(rejection, Rejection)
        assert "ZQX" not in rejection.reason
        assert f'"{column}"' in rejection.reason
