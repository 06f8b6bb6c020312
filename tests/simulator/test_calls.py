"""What the five calls answer, as the documentation and the logs of wolkvox have it."""

import json
from contextlib import closing
from datetime import UTC, datetime

import pytest

from syncd.simulator.inspection import FIELDS, LENGTHS
from tests.simulator.conftest import Start, add_path, leads, read


def test_a_good_batch_is_accepted_counted_and_starts_the_campaign(start: Start) -> None:
    client = start()
    answer = client.add(leads("a", "b"))
    assert answer.status == 201
    assert answer.json["code"] == "201"
    assert answer.json["msg"] == "All records has been added successfully"
    assert answer.json["data"] == [{"total_registers": " "}]
    assert client.simulator.state.accepted("12345") == {"a": 1, "b": 1}
    row = client.get("information", "campaigns", campaign="12345").json["data"][0]
    assert (row["status"], row["records"], row["type_campaign"]) == ("Started", "2", "predictive")


@pytest.mark.parametrize(("switch", "value"), [("blank", " "), ("int", 1), ("string", "1")])
def test_total_registers_is_filled_as_the_switch_says(start: Start, switch: str, value: object) -> None:
    assert start(total_registers=switch).add(leads("a")).json["data"][0]["total_registers"] == value


def test_status_and_code_of_an_acceptance_follow_their_switches(start: Start) -> None:
    answer = start(accepted_status=200, code_type="int").add(leads("a"))
    assert (answer.status, answer.json["code"]) == (200, 201)


def test_records_without_a_customer_id_are_refused_by_position(start: Start) -> None:
    answer = start().add([{"customer_id": ""}, {"tel1": "90000000001"}])
    assert (answer.status, answer.json["code"]) == (404, "404")
    assert answer.json["msg"] == "0 records has been added, please validate the data"
    data = answer.json["data"][0]
    assert (data["total_registers"], data["total_success"], data["total_errors"]) == ("2", "0", "2")
    errors = [each["error"] for each in data["array_errors"]]
    assert errors == ["CUSTOMER_ID is empty, object position 0", "CUSTOMER_ID is empty, object position 1"]
    assert data["array_errors"][0]["msg"].startswith("CUSTOMER_ID is a required field, ")


def test_a_poisoned_batch_is_refused_as_a_whole_and_nobody_is_named(start: Start) -> None:
    client = start(poison="peste")
    answer = client.add([*leads("good"), {"customer_id": "bad", "customer_name": "la peste"}])
    assert (answer.status, answer.json["code"], answer.json["data"]) == (404, "404", [])
    assert answer.json["msg"] == "0 records has been added, please validate the data"
    assert client.simulator.state.accepted("12345") == {}
    assert client.add(leads("good")).status == 201


@pytest.mark.parametrize(
    ("mixed", "status", "held"),
    [("keep", 201, {"good": 1}), ("keep-404", 404, {"good": 1}), ("refuse", 404, {})],
)
def test_a_mixed_batch_goes_as_the_switch_says(start: Start, mixed: str, status: int, held: dict[str, int]) -> None:
    client = start(mixed=mixed)
    answer = client.add([{"customer_id": ""}, *leads("good")])
    assert answer.status == status
    data = answer.json["data"][0]
    assert (data["total_success"], data["total_errors"]) == (str(len(held)), "1")
    assert data["array_errors"][0]["error"] == "CUSTOMER_ID is empty, object position 0"
    assert client.simulator.state.accepted("12345") == held
    assert [each["customer_id"] for each in client.simulator.state.records("12345")] == list(held)


@pytest.mark.parametrize(("duplicates", "names"), [("append", ["1", "2", "3"]), ("replace", ["3"]), ("ignore", ["1"])])
def test_a_customer_id_again_goes_as_the_switch_says(start: Start, duplicates: str, names: list[str]) -> None:
    client = start(duplicates=duplicates)
    client.add([{"customer_id": "a", "opt1": "1"}])
    client.add([{"customer_id": "a", "opt1": "2"}, {"customer_id": "a", "opt1": "3"}])
    assert [record["opt1"] for record in client.simulator.state.records("12345")] == names
    assert client.simulator.state.campaigns()[0].records == len(names)
    assert client.simulator.state.accepted("12345") == {"a": 3}  # each was told that it was accepted


@pytest.mark.parametrize("name", LENGTHS)
def test_an_option_holds_its_length_in_characters_and_no_more(start: Start, name: str) -> None:
    client = start()
    most = 100 if int(name[3:]) <= 6 else 200
    assert client.add([{"customer_id": "a", name: "ñ" * most}]).status == 201
    assert client.add([{"customer_id": "b", name: "ñ" * (most + 1)}]).status == 404


@pytest.mark.parametrize(
    ("field", "value", "switch"),
    [
        ("hue", "red", {"unknown_fields": "ignore"}),
        ("age", 40, {"non_strings": "accept"}),
        ("age", None, {"nulls": "accept"}),
    ],
)
def test_an_odd_value_is_refused_unless_a_switch_lets_it_pass(
    start: Start, field: str, value: object, switch: dict[str, str]
) -> None:
    record = {"customer_id": "a", field: value}
    refused = start().add([record])
    assert refused.status == 404
    assert refused.json["data"][0]["array_errors"][0]["error"].endswith("object position 0")
    lenient = start(**switch)
    assert lenient.add([record]).status == 201
    assert all(isinstance(each, str) for each in lenient.simulator.state.records("12345")[0].values())


def test_the_fields_of_the_two_types_differ_as_documented() -> None:
    assert len(FIELDS["predictive"]) == 37
    assert FIELDS["predictive"] - FIELDS["preview"] == {
        "tel_extra",
        "email",
        "recall_date",
        "recall_telephone",
    }
    assert FIELDS["preview"] - FIELDS["predictive"] == {"agent_id"}


def test_only_preview_may_leave_out_campaign_status(start: Start) -> None:
    client = start()
    assert client.add(leads("a"), "preview", "12346", "").status == 201
    assert client.simulator.state.campaigns()[1].status == "Stopped"
    refused = client.add(leads("a"), status="")
    assert (refused.status, refused.json["msg"]) == (400, "SOME PARAMETERS ARE REQUIRED")
    assert client.add(leads("a"), status="go").status == 400


def test_a_campaign_that_is_not_there_or_of_the_other_type_is_refused(start: Start) -> None:
    client = start()
    missing = client.add(leads("a"), campaign="777")
    assert (missing.status, missing.json["msg"]) == (404, "Campaign_id 777 does not exist in your operation.")
    assert client.add(leads("a"), "preview").status == 404
    assert start(accept_any_campaign=True).add(leads("a"), campaign="777").status == 201


def test_stop_stops_the_campaign(start: Start) -> None:
    client = start()
    client.add(leads("a"))
    client.add(leads("b"), status="stop")
    assert client.simulator.state.campaigns()[0].status == "Stopped"


def test_more_than_ten_thousand_records_are_refused_and_ten_thousand_are_not(start: Start) -> None:
    client = start()
    batch = [{"customer_id": str(n)} for n in range(10_001)]
    assert client.add(batch).status == 400
    assert client.add(batch[1:]).status == 201
    assert client.simulator.state.campaigns()[0].unique_leads == 10_000


def test_a_full_operation_says_so_and_stores_nothing(start: Start) -> None:
    client = start(stock=3)
    assert client.add(leads("a")).status == 201
    assert client.add(leads("b")).status == 201
    answer = client.add(leads("c", "d"))
    assert answer.status == 404
    assert answer.json["msg"] == (
        "You are uploading (4) records to the system. According to quantity active licenses, "
        "You can upload 3 records. Try again."
    )
    assert set(client.simulator.state.accepted("12345")) == {"a", "b"}
    assert client.add(leads("c")).status == 201  # full to the last record, and no fuller


@pytest.mark.parametrize("body", [b"{", b"{}", b'"text"', b""])
def test_a_body_that_is_no_array_is_refused(start: Start, body: bytes) -> None:
    assert start().call("POST", add_path(), body).status == 400


def test_a_call_that_does_not_exist_is_refused(start: Start) -> None:
    answer = start().get("information", "no_such")
    assert (answer.status, answer.json["msg"]) == (400, "THE API YOU WANT TO CONSULT DOES NOT EXIST")


def test_the_export_has_its_own_envelope_in_spanish(start: Start) -> None:
    moment = datetime(2025, 3, 4, 15, 0, tzinfo=UTC).timestamp()
    client = start(clock=lambda: moment)
    client.add([{"customer_id": "a", "customer_name": "Íñigo", "opt12": "mark", "tel1": "90000000001"}])
    answer = client.get("campaign", "campaign_15", campaign_id="12345")
    assert answer.status == 200
    assert {key: answer.json[key] for key in ("code", "total_records", "campaign_id")} == {
        "code": "200",
        "total_records": "1",
        "campaign_id": "12345",
    }
    row = answer.json["records"][0]
    assert (row["nombre_cliente"], row["id_cliente"], row["opt12"], row["tel1"], row["tel10"]) == (
        "Íñigo",
        "a",
        "mark",
        "90000000001",
        "",
    )
    assert (row["fecha"], row["resultado"]) == ("2025-03-04 10:00:00", "")


def test_reads_without_rows_answer_404_with_a_misleading_text(start: Start) -> None:
    client = start()
    for api, query in (("campaign_15", {}), ("find_record", {"customer_id": "nobody"})):
        answer = client.get("campaign", api, campaign_id="12345", **query)
        assert (answer.status, answer.json["msg"]) == (404, client.simulator.settings.no_rows_msg)


def test_find_record_finds_by_telephone_by_customer_or_by_both(start: Start) -> None:
    client = start()
    escaped = json.dumps([{"customer_id": "ñandú", "tel7": "90000000007"}]).encode()
    client.call("POST", add_path(), escaped)  # "\u00f1": found all the same
    client.add(leads("b"))

    def found(**query: str) -> list[str]:
        answer = client.get("campaign", "find_record", campaign_id="12345", **query)
        return [row["customer_id"] for row in answer.json["data"]]

    assert found(customer_id="ñandú") == ["ñandú"]
    assert found(customer_phone="90000000007") == ["ñandú"]
    assert found(customer_phone="90000000007", customer_id="ñandú") == ["ñandú"]
    assert found(customer_phone="90000000001", customer_id="ñandú") == []
    assert found(customer_id="a") == []
    assert client.get("campaign", "find_record", campaign_id="12345").status == 400


def test_a_record_is_read_only_once_it_is_visible(start: Start) -> None:
    now = [1_000_000.0]
    client = start(clock=lambda: now[0], visible_after_secs=60.0)
    client.add(leads("a"))
    assert client.get("campaign", "campaign_15", campaign_id="12345").status == 404
    now[0] += 60
    assert client.get("campaign", "campaign_15", campaign_id="12345").status == 200


def test_without_records_kept_a_read_never_passes_for_an_empty_campaign(start: Start) -> None:
    client = start(keep_records=False)
    client.add(leads("a"))
    assert client.get("campaign", "campaign_15", campaign_id="12345").status == 501
    assert client.simulator.state.accepted("12345") == {"a": 1}


def test_leads_are_counted_by_the_identity_field(start: Start) -> None:
    client = start(identity="opt12")
    client.add([{"customer_id": "a", "opt12": "x"}, {"customer_id": "b", "opt12": "x"}])
    assert client.simulator.state.accepted("12345") == {"x": 2}


def test_without_validation_anything_that_is_a_record_is_taken(start: Start) -> None:
    client = start(validate=False)
    assert client.add([{"customer_id": "a", "hue": 1}]).status == 201
    assert client.add([1]).status == 500


def test_the_last_bodies_are_kept_when_asked(start: Start) -> None:
    client = start(keep_bodies=2)
    for name in "abc":
        client.add(leads(name))
    assert [json.loads(body)[0]["customer_id"] for body in client.simulator.state.bodies()] == ["b", "c"]


def test_one_connection_serves_many_calls_and_closes_when_asked(start: Start) -> None:
    client = start()
    headers = {"wolkvox-token": "simulator-token", "wolkvox_server": "0042"}
    with closing(client.connect()) as connection:
        for name in "abc":
            connection.request("POST", add_path(), json.dumps(leads(name)), headers)
            assert read(connection).headers["connection"] == "keep-alive"
        connection.request("POST", add_path(), iter([b"[", b"]"]), headers, encode_chunked=True)
        assert read(connection).status == 404  # no record at all
        connection.request("POST", add_path(), b"[]", {**headers, "Connection": "close"})
        assert read(connection).headers["connection"] == "close"
