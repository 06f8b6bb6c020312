"""What each reply of wolkvox means: the table row by row, contradictions, and whatever else may come."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.model import Exchange
from syncd.replies import TABLE, Outcome, Scope, Verdict, judge
from tests.support.effort import examples

ACCEPTED_WORDS = "All records has been added successfully"
REFUSED_WORDS = "0 records has been added, please validate the data"
FULL_WORDS = (
    "You are uploading (66401) records to the system. According to quantity active licenses, "
    "You can upload 50000 records. Try again."
)


def reply(status: int, body: object, records: int = 3) -> Verdict:
    """The verdict on a reply: a status, and a body as bytes or as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return judge(Exchange(True, status, data, "", 0.5), records)


def envelope(code: object, msg: str, *data: object) -> dict[str, Any]:
    return {"code": code, "error": None, "msg": msg, "data": list(data)}


def errors(*positions: int) -> list[dict[str, str]]:
    return [
        {"error": f"CUSTOMER_ID is empty, object position {position}", "msg": "CUSTOMER_ID is a required field"}
        for position in positions
    ]


def totals(success: object, failed: object, *positions: int) -> dict[str, Any]:
    return {
        "total_registers": "3",
        "total_success": success,
        "total_errors": failed,
        "array_errors": errors(*positions),
    }


# -- the table, row by row -----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["201", 201])
@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize("total", [" ", "", 3, "3", None])
def test_accepted_is_accepted(status: int, code: object, total: object) -> None:
    verdict = reply(status, envelope(code, ACCEPTED_WORDS, {"total_registers": total}))
    assert (verdict.name, verdict.outcome, verdict.errors, verdict.parks) == (
        "accepted",
        Outcome.ACCEPTED,
        (),
        Scope.NOTHING,
    )


ROWS = [
    (404, "Campaign_id 12345 does not exist in your operation.", "campaign-unknown", Scope.CAMPAIGN),
    (404, FULL_WORDS, "stock-full", Scope.SENDER),
    (400, "THE API YOU WANT TO CONSULT DOES NOT EXIST", "call-malformed", Scope.SENDER),
    (400, "SOME PARAMETERS ARE REQUIRED", "call-malformed", Scope.SENDER),
    (401, "PLEASE ENTER THE WOLKVOX-TOKEN", "token-missing", Scope.SENDER),
    (403, "PLEASE VALIDATE TOKEN", "token-refused", Scope.SENDER),
    (403, "TOKEN LIMIT EXCEEDED", "quota-spent", Scope.SENDER),
    (403, "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN (2)", "too-many-at-once", Scope.SENDER),
    (403, "SYSTEM UNDER MAINTENANCE, TRY AGAIN LATER", "not-now", Scope.SENDER),
]


@pytest.mark.parametrize(("status", "words", "name", "parks"), ROWS)
@pytest.mark.parametrize("code_type", [str, int])
@pytest.mark.parametrize("change", [str, str.lower, str.upper])
def test_a_refusal_is_a_refusal(status: int, words: str, name: str, parks: Scope, code_type: type, change: Any) -> None:
    verdict = reply(status, envelope(code_type(status), change(words)))
    assert (verdict.name, verdict.outcome, verdict.errors, verdict.parks) == (name, Outcome.REFUSED, (), parks)
    assert verdict.park_secs > 0
    assert verdict.code == str(status)


def test_every_row_of_the_table_has_a_test() -> None:
    assert {row.name for row in TABLE} == {"accepted", "records-refused"} | {row[2] for row in ROWS}


@pytest.mark.parametrize("code", ["404", 404])
@pytest.mark.parametrize("form", [str, int])
def test_records_refused_one_by_one_are_named_by_position(code: object, form: type) -> None:
    verdict = reply(404, envelope(code, REFUSED_WORDS, totals(form(0), form(3), 2, 0, 1)))
    assert (verdict.name, verdict.outcome, verdict.parks) == ("records-refused", Outcome.REFUSED, Scope.NOTHING)
    assert [error.position for error in verdict.errors] == [0, 1, 2]
    assert {error.reason for error in verdict.errors} == {"CUSTOMER_ID is empty"}


def test_the_position_is_found_in_either_text() -> None:
    listed = [{"error": "empty", "msg": "CUSTOMER_ID is required, Object Position 1"}]
    verdict = reply(404, envelope("404", REFUSED_WORDS, {"total_success": "0", "array_errors": listed}))
    assert [error.position for error in verdict.errors] == [1]


def test_a_batch_refused_without_a_name_parks_its_campaign() -> None:
    for data in ({"total_success": "0", "total_errors": "3", "array_errors": []}, {}, {"array_errors": ""}):
        verdict = reply(404, envelope("404", REFUSED_WORDS, data))
        assert (verdict.outcome, verdict.errors, verdict.parks) == (Outcome.REFUSED, (), Scope.CAMPAIGN)


def test_a_batch_taken_in_part_names_those_that_were_not() -> None:
    verdict = reply(201, envelope("201", "2 records has been added, please validate the data", totals("2", "1", 1)))
    assert (verdict.name, verdict.outcome) == ("accepted-in-part", Outcome.ACCEPTED_IN_PART)
    assert [error.position for error in verdict.errors] == [1]


def test_a_batch_taken_in_part_of_which_nothing_was_taken_is_refused() -> None:
    verdict = reply(201, envelope("201", REFUSED_WORDS, totals("0", "3", 0, 1, 2)))
    assert verdict.outcome is Outcome.REFUSED
    assert len(verdict.errors) == 3


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 404, 409, 422, 302, 307, 202, 204, 100, 999])
def test_a_new_text_or_status_is_unknown(status: int) -> None:
    verdict = reply(status, envelope(str(status), "SOMETHING NEW"))
    assert (verdict.name, verdict.outcome) == ("unrecognised", Outcome.UNKNOWN)


def test_words_of_acceptance_under_another_status_accept_nothing() -> None:
    for status in set(range(100, 600)) - {200, 201}:
        assert reply(status, envelope("201", ACCEPTED_WORDS)).outcome is Outcome.UNKNOWN


def test_a_403_without_an_envelope_is_not_now() -> None:
    for body in (b"", b"<html>Backups run.</html>", b"\xff\xfe", b"[]"):
        assert (reply(403, body).name, reply(403, body).outcome) == ("not-now", Outcome.REFUSED)


def test_nothing_sent_is_not_sent_whatever_else_is_said() -> None:
    verdict = judge(Exchange(False, None, b"", "no connection (ConnectTimeout)", 10), 3)
    assert (verdict.name, verdict.outcome, verdict.parks) == ("not-sent", Outcome.NOT_SENT, Scope.SENDER)


def test_no_whole_reply_is_unknown() -> None:
    verdict = judge(Exchange(True, None, b'{"code": "201"', "the connection broke", 1), 3)
    assert (verdict.name, verdict.outcome, verdict.parks) == ("no-reply", Outcome.UNKNOWN, Scope.NOTHING)


# -- contradictions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (201, envelope("404", ACCEPTED_WORDS)),
        (200, envelope("403", "TOKEN LIMIT EXCEEDED")),
        (200, envelope("200", ACCEPTED_WORDS)),
        (404, envelope("201", ACCEPTED_WORDS)),
        (404, envelope("403", "Campaign_id 1 does not exist in your operation.")),
        (403, envelope("201", ACCEPTED_WORDS)),
        (403, envelope("500", "TOKEN LIMIT EXCEEDED")),
        (400, envelope(None, "SOME PARAMETERS ARE REQUIRED")),
        (201, envelope(None, ACCEPTED_WORDS)),
        (201, envelope(True, ACCEPTED_WORDS)),
        (201, envelope(201.0, ACCEPTED_WORDS)),
        (201, {"msg": ACCEPTED_WORDS}),
    ],
)
def test_where_status_and_code_differ_neither_is_believed(status: int, body: object) -> None:
    assert reply(status, body).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    "data",
    [
        totals("3", "1", 0),
        totals("2", "0", 0),
        totals("2", "2", 0),
        totals("0", "0"),
        totals("2", "1"),
        totals("3", "1"),
        totals(2, 1),
        totals("3", "0", 0),
        totals("", "1"),
        totals("4", "0"),
        totals("", "", 3),
        totals("", "1", 99999),
        totals("", "one"),
        totals("", -1),
        totals("", "-1"),
        totals("", 1.0),
        totals("", [1]),
        totals("", True),
        totals("", "٣"),
        totals("", "9" * 5000),
        totals("", "", 0) | {"array_errors": [{"error": "CUSTOMER_ID is empty", "msg": "no position"}]},
        totals("", "", 0) | {"array_errors": ["CUSTOMER_ID is empty, object position 0"]},
        totals("", "", 0) | {"array_errors": {"0": "CUSTOMER_ID is empty"}},
        totals("", "", 0) | {"array_errors": 1},
        totals("", "", 0) | {"array_errors": [{"error": "x, object position -1"}]},
        totals("", "", 0) | {"array_errors": [{"error": "x, object position 123456"}]},
        totals("1", "2", 0, 0),
    ],
)
def test_an_acceptance_that_contradicts_itself_is_unknown(data: object) -> None:
    verdict = reply(201, envelope("201", ACCEPTED_WORDS, data))
    assert (verdict.name, verdict.outcome, verdict.errors) == ("contradiction", Outcome.UNKNOWN, ())


@pytest.mark.parametrize("words", [REFUSED_WORDS, "2 records has been added, please validate the data"])
def test_an_acceptance_whose_words_count_otherwise_is_unknown(words: str) -> None:
    assert reply(201, envelope("201", words, {"total_registers": " "})).outcome is Outcome.UNKNOWN
    assert reply(201, envelope("201", words)).outcome is Outcome.UNKNOWN


def test_an_acceptance_whose_words_count_all_is_accepted() -> None:
    assert reply(201, envelope("201", "3 records has been added", totals("3", "0"))).outcome is Outcome.ACCEPTED


NO_LISTS: list[object] = ["no", {}, [None], [{"error": "no position"}]]


@pytest.mark.parametrize(
    "data",
    [totals("1", "2", 0, 1), totals("3", "0"), totals("one", "2"), totals("", "", 7)]
    + [totals("0", "3") | {"array_errors": listed} for listed in NO_LISTS],
)
def test_a_refusal_that_contradicts_itself_is_unknown(data: object) -> None:
    assert reply(404, envelope("404", REFUSED_WORDS, data)).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("count", [10, 20, 100, 9990])
def test_ten_records_added_are_not_none(count: int) -> None:
    """The words of a refusal lie within those of a part: "10 records has been added"."""
    words = f"{count} records has been added, please validate the data"
    assert reply(404, envelope("404", words), records=10_000).outcome is Outcome.UNKNOWN
    assert reply(404, envelope("404", words, totals(str(count), "1", 0)), records=10_000).outcome is Outcome.UNKNOWN


# -- what nobody should send ---------------------------------------------------------------------------------

HOSTILE = [
    b"",
    b" ",
    b"null",
    b"true",
    b"201",
    b'"accepted"',
    b"[]",
    b"[{}]",
    b"{",
    b"<html><body>502 Bad Gateway</body></html>",
    b"\x00",
    b"\xff\xfe\x00",
    b"\xef\xbb\xbf{}",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"code": ' + b"9" * 100_000 + b"}",
    b'{"code": 1e400, "msg": NaN}',
    b'{"code": "\\ud800", "msg": "\\udfff"}',
    b'{"code": ["201"], "msg": {"a": 1}}',
    b'{"code": "201", "msg": 5, "data": {"array_errors": [[]]}}',
    json.dumps(envelope("404", "\x00 0 records has been added", totals("0", "1", 0))).encode()[:-40],
]


@pytest.mark.parametrize("body", HOSTILE)
@pytest.mark.parametrize("status", [200, 201, 400, 401, 404, 500])
def test_a_hostile_reply_is_unknown_and_crashes_nothing(body: bytes, status: int) -> None:
    assert reply(status, body).outcome is Outcome.UNKNOWN


def test_the_last_of_two_equal_names_is_read_and_must_agree() -> None:
    assert reply(201, b'{"code": "201", "msg": "All records", "code": "500"}').outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    "words",
    [
        "campaign_id " * 100_000,
        "you are uploading records you can upload " * 30_000,
        "you are uploading " + "records" * 100_000,
    ],
)
def test_a_long_text_takes_no_long_time(words: str) -> None:
    began = time.monotonic()
    assert reply(404, envelope("404", words)).outcome in (Outcome.UNKNOWN, Outcome.REFUSED)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("text", ["x" * 300_000, " " * 300_000, "," * 300_000, "9" * 300_000, "@" * 300_000])
def test_a_long_reason_takes_no_long_time_and_little_room(text: str) -> None:
    began = time.monotonic()
    listed = [{"error": "object position 0 " + text, "msg": text}]
    verdict = reply(404, envelope("404", REFUSED_WORDS, {"total_success": "0", "array_errors": listed}))
    assert time.monotonic() - began < 2
    assert all(len(error.reason) <= 200 for error in verdict.errors)


def test_a_reason_holds_nothing_that_a_database_refuses() -> None:
    body = (
        b'{"code": "404", "msg": "0 records has been added", "data": [{"array_errors": [{"error":'
        b' "bad \\u0000 \\ud800 \\udc00x \\u001b[2J \\u007f, object position 0", "msg": ""}]}]}'
    )
    (error,) = reply(404, body).errors
    error.reason.encode()
    assert not any(character < " " or character == "\x7f" for character in error.reason)


def test_a_code_holds_nothing_that_a_database_refuses() -> None:
    reply(201, b'{"code": "\\ud800\\u0000"}').code.encode()


@pytest.mark.parametrize("value", ["573001234567", "ana@example.com", "1020304050", "x.y@z"])
def test_a_reason_does_not_repeat_what_may_be_a_value_of_the_lead(value: str) -> None:
    listed = [{"error": f"TEL1 {value} is invalid, object position 0", "msg": ""}]
    (error,) = reply(404, envelope("404", REFUSED_WORDS, {"array_errors": listed})).errors
    assert value not in error.reason
    assert error.reason.startswith("TEL1")


def recognised(exchange: Exchange) -> bool:
    """Whether a reply of these marks may be taken for certain, by WOLKVOX's table as the test reads it."""
    if not exchange.sent or exchange.status == 403:
        return True
    try:
        body = json.loads(exchange.body)
        code, words = str(body["code"]), str(body.get("msg") or "") + str(body.get("error") or "")
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return False
    if exchange.status in (200, 201):
        return code == "201"
    known = (
        "records has been added",
        "does not exist",
        "are uploading",
        "parameters are required",
        "enter the wolkvox",
    )
    return code == str(exchange.status) and any(part in words.lower() for part in known)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
TEXTS = SCALARS | st.sampled_from(
    [
        ACCEPTED_WORDS,
        REFUSED_WORDS,
        FULL_WORDS,
        "201",
        "404",
        *(row[1] for row in ROWS),
        *(e["error"] for e in errors(0, 1, 7)),
    ]
)
ENTRIES = st.dictionaries(st.sampled_from(["error", "msg", "x"]), TEXTS) | TEXTS
TOTALS = st.dictionaries(
    st.sampled_from(["total_registers", "total_success", "total_errors"]), TEXTS | st.integers(0, 4).map(str)
).flatmap(
    lambda given: st.lists(ENTRIES, max_size=4).map(lambda listed: given | {"array_errors": listed}) | st.just(given)
)
ENVELOPES = st.fixed_dictionaries(
    {},
    optional={
        "code": TEXTS | st.sampled_from([200, 201, 400, 401, 403, 404, "200", "403"]),
        "error": TEXTS,
        "msg": TEXTS,
        "data": st.lists(TOTALS, max_size=2) | TOTALS | TEXTS,
    },
)
BODIES = (
    st.binary(max_size=200)
    | st.sampled_from(HOSTILE)
    | ENVELOPES.map(lambda body: json.dumps(body).encode("utf-8", "surrogatepass"))
    | ENVELOPES.map(lambda body: json.dumps(body).encode()[:-3])
)
STATUSES = st.none() | st.sampled_from([200, 201, 400, 401, 403, 404, 500]) | st.integers(0, 1000)


@settings(max_examples=examples(600), deadline=None)
@given(sent=st.booleans(), status=STATUSES, body=BODIES, records=st.integers(1, 10_000))
def test_any_reply_gives_a_verdict_and_none_is_certain_unless_recognised(
    *, sent: bool, status: int | None, body: bytes, records: int
) -> None:
    exchange = Exchange(sent, status, body, "", 0.0)
    verdict = judge(exchange, records)
    assert verdict.sentence
    positions = [error.position for error in verdict.errors]
    assert positions == sorted(set(positions))
    assert all(0 <= position < records for position in positions)
    for error in verdict.errors:
        error.reason.encode()
    verdict.code.encode()
    assert (verdict.outcome is Outcome.NOT_SENT) is not sent
    if verdict.outcome in (Outcome.ACCEPTED, Outcome.ACCEPTED_IN_PART):
        assert status in (200, 201)
        assert recognised(exchange)
    if verdict.outcome is Outcome.REFUSED:
        assert status is not None
        assert recognised(exchange)
    if status is None and sent:
        assert verdict.outcome is Outcome.UNKNOWN
