"""What wolkvox says that it holds: any bytes are read or refused, and nothing is absent that might be there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.holdings import (
    COMPARED,
    EXPORT_ROWS,
    Finding,
    Holdings,
    find,
    find_unknown,
    loosely,
    read_holdings,
    says_empty,
)
from tests.support.effort import examples

CAMPAIGN = "12345"
MARKER = ("opt12", "261124-120000-abcdef")
RECORD = {"customer_id": "c1", "tel1": "90000000001", "opt1": "web"}


class Everybody:
    """Contains every customer."""

    def __contains__(self, customer: object) -> bool:
        return True


def export(*rows: Any, **members: Any) -> bytes:
    return json.dumps({"code": "200", **members, "records": list(rows)}).encode()


def read(body: bytes, *customers: str, marker: tuple[str, str] | None = None, whole: bool = True) -> Holdings | None:
    asked = {loosely(customer) for customer in customers} if customers else Everybody()
    return read_holdings(body, asked, marker=marker, campaign_id=CAMPAIGN if whole else None)


def found(*rows: Any, marker: tuple[str, str] | None = None, whole: bool = True, carried: int = 2) -> Finding:
    """Whether the record is among these rows."""
    body = export(*rows) if whole else json.dumps({"code": 200, "data": rows}).encode()
    holdings = read(body, "c1", marker=marker, whole=whole)
    assert holdings is not None
    return find(RECORD, holdings, marker, carried)


ROW = {"id_cliente": "c1", "tel1": "90000000001", "opt1": "web", "nombre_cliente": "Ana", "resultado": ""}
STAMPED = {**ROW, "opt12": MARKER[1]}
OTHER = {**ROW, "id_cliente": "c2"}


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("rows", "finding"),
    [
        ([ROW], Finding.THERE),
        ([OTHER, ROW], Finding.THERE),
        ([{**ROW, "tel2": None, "opt3": "  ", "tel1": " 90000000001 "}], Finding.THERE),
        ([{**ROW, "tel1": 90000000001}], Finding.THERE),
        ([{**ROW, "tel1": 9.0e10}], Finding.UNSURE),
        ([{**ROW, "tel1": ["90000000001"]}], Finding.UNSURE),
        ([{**ROW, "tel1": "90000000002"}], Finding.UNSURE),
        ([{**ROW, "opt2": "more"}], Finding.UNSURE),
        ([{**ROW, "id_cliente": "C1"}], Finding.THERE),
        ([{**ROW, "id_cliente": "00c-1", "tel1": ""}], Finding.UNSURE),
        ([OTHER], Finding.ABSENT),
    ],
)
def test_a_record_is_there_absent_or_neither(rows: list[Any], finding: Finding, *, whole: bool) -> None:
    if not whole and finding is Finding.ABSENT:
        finding = Finding.UNSURE
    assert found(*rows, whole=whole) is finding


@pytest.mark.parametrize(
    ("rows", "finding"),
    [
        ([STAMPED], Finding.THERE),
        ([ROW], Finding.ABSENT),
        ([{**ROW, "opt12": "another call's"}], Finding.ABSENT),
        ([{**STAMPED, "tel1": "90000000002"}], Finding.UNSURE),
        ([{**STAMPED, "tel1": "90000000002"}, STAMPED], Finding.THERE),
        ([{**OTHER, "opt12": MARKER[1]}], Finding.ABSENT),
        ([{**OTHER, "opt12": MARKER[1]}, {**STAMPED, "tel1": ""}], Finding.THERE),  # as many as the call had
        ([OTHER], Finding.ABSENT),
    ],
)
def test_a_marker_tells_the_calls_own_records_from_others(rows: list[Any], finding: Finding) -> None:
    assert found(*rows, marker=MARKER) is finding
    if finding is Finding.ABSENT:
        assert found(*rows, marker=MARKER, whole=False) is Finding.UNSURE


@pytest.mark.parametrize(
    ("marked", "finding"), [(0, Finding.ABSENT), (1, Finding.UNSURE), (2, Finding.THERE), (3, Finding.THERE)]
)
def test_of_an_unknown_record_the_number_of_marked_ones_tells(marked: int, finding: Finding) -> None:
    holdings = read(export(OTHER, *[STAMPED] * marked), "nobody", marker=MARKER)
    assert holdings is not None
    assert holdings.marked == marked
    assert find_unknown(holdings, MARKER, 2) is finding
    assert find_unknown(holdings, None, 2) is Finding.UNSURE
    cut = Holdings(holdings.by_customer, marked, holdings.rows, whole=False)
    assert find_unknown(cut, MARKER, 2) is Finding.UNSURE


def test_only_rows_that_concern_us_are_kept() -> None:
    holdings = read(export(ROW, OTHER, {**STAMPED, "id_cliente": "c3"}), "c1", marker=MARKER)
    assert holdings is not None
    assert (set(holdings.by_customer), holdings.rows, holdings.marked) == ({"c1", "c3"}, 3, 1)


@pytest.mark.parametrize(
    ("members", "whole"),
    [
        ({}, True),
        ({"total_records": ""}, True),
        ({"total_records": None}, True),
        ({"total_records": "1"}, True),
        ({"total_records": 1}, True),
        ({"total_records": "2"}, False),
        ({"total_records": "many"}, False),
        ({"total_records": [1]}, False),
        ({"campaign_id": ""}, True),
        ({"campaign_id": CAMPAIGN}, True),
        ({"campaign_id": int(CAMPAIGN)}, True),
    ],
)
def test_an_export_is_whole_unless_it_says_otherwise(members: dict[str, Any], *, whole: bool) -> None:
    holdings = read(export(OTHER, **members))
    assert holdings is not None
    assert holdings.whole is whole


def test_an_export_of_another_campaign_is_no_answer() -> None:
    assert read(export(OTHER, campaign_id="99999")) is None


@pytest.mark.parametrize(("rows", "whole"), [(EXPORT_ROWS - 1, True), (EXPORT_ROWS, False), (EXPORT_ROWS + 1, False)])
def test_an_export_that_may_have_been_cut_is_not_whole(rows: int, *, whole: bool) -> None:
    holdings = read(b'{"code":"200","records":[' + b",".join([b'{"id_cliente":"x"}'] * rows) + b"]}", "c1")
    assert holdings is not None
    assert (holdings.rows, holdings.whole) == (rows, whole)


@pytest.mark.parametrize("size", [1, 100_000, 262_100, 262_144, 300_000, 900_000])
def test_rows_may_lie_across_the_pieces_that_are_decoded(size: int) -> None:
    rows = [{"id_cliente": str(number), "x": "ñ€😀" * (size // 9), "tel1": number} for number in range(5)]
    body = json.dumps({"records": rows, "n": 1.5e3, "code": 200}, ensure_ascii=False).encode()
    holdings = read(body)
    assert holdings is not None
    assert [row[0][0] for row in holdings.by_customer.values()] == ["0", "1", "2", "3", "4"]


def test_a_row_longer_than_any_of_wolkvox_is_no_answer() -> None:
    assert read(export({"id_cliente": "c1", "x": "x" * 3_000_000})) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["code", "records", "data", "campaign_id", "total_records", "id_cliente", "customer_id", "tel1"]
)
ENVELOPES = st.dictionaries(NAMES | st.text(max_size=4), VALUES | st.lists(st.dictionaries(NAMES, VALUES)), max_size=6)


@settings(max_examples=examples(300), deadline=None)
@given(
    body=st.binary(max_size=200)
    | ENVELOPES.map(lambda value: json.dumps(value).encode())
    | st.builds(
        lambda text, cut, add: text[:cut] + add,
        ENVELOPES.map(lambda value: json.dumps({"code": "200", **value}).encode()),
        st.integers(0, 300),
        st.binary(max_size=3),
    )
    | st.text(alphabet='{}[]":,0123456789 codersanltu\\ud8', max_size=80).map(str.encode),
    marker=st.sampled_from([None, MARKER]),
    whole=st.booleans(),
)
def test_any_bytes_are_read_or_refused_and_never_raise(
    body: bytes, marker: tuple[str, str] | None, *, whole: bool
) -> None:
    holdings = read(body, "c1", marker=marker, whole=whole)
    assert says_empty(body, CAMPAIGN) in (True, False)
    if holdings is not None:
        parsed = json.loads(body)  # what was read is JSON to the last letter
        assert str(parsed["code"]) == "200"
        assert holdings.rows == len(parsed["records" if whole else "data"])
        assert find(RECORD, holdings, marker, 1) in Finding
        assert find_unknown(holdings, marker, 1) in Finding


CUSTOMERS = st.text(st.characters(codec="utf-8"), max_size=6) | st.integers() | st.none()
ROWS = st.lists(
    st.builds(
        lambda customer, values, rest: {"id_cliente": customer, **rest, **values},
        CUSTOMERS,
        st.dictionaries(st.sampled_from(COMPARED), st.text(st.characters(codec="utf-8"), max_size=6), max_size=4),
        st.dictionaries(st.sampled_from(["fecha", "resultado", "nombre_cliente"]), VALUES, max_size=2),
    ),
    max_size=6,
)


@settings(max_examples=examples(300), deadline=None)
@given(
    rows=ROWS,
    others=st.dictionaries(st.text(min_size=9), VALUES, max_size=2),
    order=st.randoms(use_true_random=False),
    indent=st.sampled_from([None, 0, 3]),
    raw=st.booleans(),
)
def test_every_row_of_an_envelope_is_found_in_any_order_of_its_members(
    rows: list[dict[str, Any]], others: dict[str, Any], order: Any, indent: int | None, *, raw: bool
) -> None:
    members = [*{**others, "code": "200", "total_records": "", "campaign_id": "", "records": rows}.items()]
    order.shuffle(members)
    body = json.dumps(dict(members), indent=indent, ensure_ascii=not raw).encode("utf-8", "surrogatepass")
    holdings = read(body)
    if holdings is None:  # only what is no UTF-8
        with pytest.raises(UnicodeDecodeError):
            body.decode()
        return
    assert (holdings.rows, holdings.whole) == (len(rows), True)
    assert sum(map(len, holdings.by_customer.values())) == len(rows)
    for row in rows:
        customer = "" if row["id_cliente"] is None else str(row["id_cliente"])
        sent = {"customer_id": customer, **{name: row.get(name, "") for name in COMPARED}}
        assert find(sent, holdings, None, 1) is Finding.THERE


@settings(max_examples=examples(300), deadline=None)
@given(rows=ROWS, which=st.integers(0, 5), name=st.sampled_from(COMPARED), value=VALUES)
def test_a_customer_who_is_there_is_never_absent(
    rows: list[dict[str, Any]], which: int, name: str, value: object
) -> None:
    rows = [*rows, {"id_cliente": "c1"}]
    row = rows[which % len(rows)]
    customer = "" if row["id_cliente"] is None else str(row["id_cliente"])
    sent = {"customer_id": customer, **{each: row.get(each, "") for each in COMPARED}}
    row[name] = value
    holdings = read(json.dumps({"code": 200, "records": rows}).encode(), customer)
    if holdings is not None:
        assert find(sent, holdings, None, 1) is not Finding.ABSENT


@pytest.mark.parametrize("text", ["", "0", "000", "-", "--", " - "])
def test_an_id_of_nothing_but_zeros_and_signs_is_itself(text: str) -> None:
    assert loosely(text) == text.strip()
