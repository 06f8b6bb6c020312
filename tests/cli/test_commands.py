"""What the commands tell of leads that flowed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from syncd import __version__
from tests.cli.conftest import Run
from tests.support.site import Site
from tests.support.work import work

STATES = {"pending", "sending", "delivered", "rejected", "held", "withdrawn", "expired", "duplicate", "unchanged"}


def instant(text: str) -> datetime:
    """An ISO instant, which must say its offset."""
    read = datetime.fromisoformat(text)
    assert read.tzinfo is not None
    return read


@pytest.fixture
def lived(site: Site) -> Site:
    """Three leads were delivered, one was rejected for its telephone; one was rejected, corrected and delivered."""
    site.insert(3)
    site.execute(
        "INSERT INTO leads (document, name, mobile) VALUES ('doc-4', 'Canario Amarillo', '12'), ('doc-5', 'X Y', '13')"
    )
    corrections = iter(["UPDATE leads SET mobile = '3001234567', updated_at = now() WHERE document = 'doc-5'"])

    def correct() -> None:
        for statement in corrections:
            site.execute(statement)
            break

    work(site, between=correct)
    assert site.accepted() == {f"doc-{number}": 1 for number in (1, 2, 3, 5)}
    return site


# -- status ------------------------------------------------------------------------------------------------------


def test_status_without_a_daemon_says_what_the_ledger_says_under_the_names_of_the_contract(
    run: Run, lived: Site
) -> None:
    said = run("status", "--json")
    assert (said.status, said.err) == (0, "")
    found = said.json
    assert list(found) == ["ready", "state", "reason", "quota", "syncs", "unresolved_calls"]
    assert (found["ready"], found["state"], found["unresolved_calls"]) == (False, "stopped", 0)
    assert list(found["quota"]) == ["limit", "used", "remaining", "reserved", "resets_at"]
    assert (found["quota"]["limit"], found["quota"]["reserved"]) == (50_000, 0)
    assert found["quota"]["remaining"] == 50_000 - found["quota"]["used"]
    assert instant(found["quota"]["resets_at"]).utcoffset() is not None
    (sync,) = found["syncs"]
    assert list(sync) == ["name", "capture", "watermark", "states", "oldest_pending_secs", "backfill", "remark"]
    assert (sync["backfill"], sync["remark"]) == (None, None)
    assert (sync["name"], sync["capture"], sync["oldest_pending_secs"]) == ("web", "poll", None)
    assert set(sync["states"]) == STATES
    assert {state: leads for state, leads in sync["states"].items() if leads} == {"delivered": 4, "rejected": 1}
    assert instant(sync["watermark"]) <= datetime.now(UTC)


def test_status_in_words_says_the_same_to_a_person(run: Run, lived: Site) -> None:
    out = run("status").out
    assert "stopped: No syncd answers" in out
    assert "4 delivered, 1 rejected" in out
    assert re.search(r"calls +\d+ used of 50000 today", out)


def test_a_sync_that_never_ran_has_no_leads_yet(run: Run, site: Site) -> None:
    assert run("migrate").status == 0
    found = run("status", "--json").json
    assert found["syncs"] == [
        {
            "name": "web",
            "capture": "poll",
            "watermark": None,
            "states": {},
            "oldest_pending_secs": None,
            "backfill": None,
            "remark": None,
        }
    ]
    assert "no leads yet" in run("status").out


# -- leads -------------------------------------------------------------------------------------------------------


def test_leads_tells_key_state_times_call_and_reason_and_no_more(run: Run, lived: Site) -> None:
    found = run("leads", "web", "--json").json
    assert [lead["key"] for lead in found] == ["5", "4", "3", "2", "1"]
    names = ["key", "state", "captured_at", "settled_at", "call", "field", "rule", "reason"]
    assert all(list(lead) == names for lead in found)
    by_key = {lead["key"]: lead for lead in found}
    assert {key: lead["state"] for key, lead in by_key.items()} == {
        "1": "delivered",
        "2": "delivered",
        "3": "delivered",
        "4": "rejected",
        "5": "delivered",
    }
    assert by_key["4"]["field"] == "tel1"
    assert by_key["4"]["rule"]
    assert by_key["4"]["reason"]
    assert by_key["4"]["call"] is None
    assert by_key["1"]["call"] == by_key["2"]["call"] != by_key["5"]["call"]
    assert all(instant(lead["captured_at"]) <= instant(lead["settled_at"]) for lead in found)


def test_leads_may_be_of_one_state_and_limited(run: Run, lived: Site) -> None:
    assert [lead["key"] for lead in run("leads", "web", "--state", "rejected", "--json").json] == ["4"]
    assert [lead["key"] for lead in run("leads", "web", "--limit", "2", "--json").json] == ["5", "4"]
    assert run("leads", "web", "--state", "held", "--json").json == []
    assert run("leads", "web", "--state", "held").out == "No such lead.\n"


def test_rejected_leads_are_counted_by_reason(run: Run, lived: Site) -> None:
    out = run("leads", "web", "--state", "rejected").out
    assert "tel1" in out
    assert re.search(r"^ *1 +tel1", out, re.MULTILINE)


def test_a_sync_that_the_ledger_does_not_know_is_said(run: Run, lived: Site) -> None:
    said = run("leads", "chat")
    assert (said.status, said.out) == (1, "")
    assert said.err == 'syncd: The ledger knows no sync "chat". See `syncd status` for those that it knows.\n'


# -- trace -------------------------------------------------------------------------------------------------------


def test_trace_tells_every_step_of_a_lead_that_was_rejected_corrected_and_delivered(run: Run, lived: Site) -> None:
    found = run("trace", "web", "5", "--json").json
    assert list(found) == ["sync", "key", "state", "field", "rule", "reason", "events"]
    assert (found["sync"], found["key"], found["state"], found["reason"]) == ("web", "5", "delivered", None)
    steps = [event["what"] for event in found["events"]]
    assert steps[0] == "captured"
    assert steps[1].startswith("rejected: ")
    assert steps[2] == "pending again: the row changed"
    assert steps[3:] == ["sending", "delivered"]
    calls = [event["call"] for event in found["events"]]
    assert calls[:3] == [None, None, None]
    assert calls[3] == calls[4] is not None
    times = [instant(event["at"]) for event in found["events"]]
    assert times == sorted(times)
    out = run("trace", "web", "5").out
    assert out.startswith("web 5: delivered\n")
    assert all(step in out for step in steps)


def test_trace_of_a_rejected_lead_says_why(run: Run, lived: Site) -> None:
    found = run("trace", "web", "4", "--json").json
    assert [event["what"].partition(":")[0] for event in found["events"]] == ["captured", "rejected"]
    assert found["reason"] in found["events"][1]["what"]
    assert run("trace", "web", "4").out.startswith(f"web 4: rejected ({found['reason']})\n")


def test_trace_of_an_unknown_key_says_why_it_may_be_unknown(run: Run, lived: Site) -> None:
    said = run("trace", "web", "77")
    assert (said.status, said.out) == (1, "")
    assert said.err.startswith('syncd: The ledger has no lead "77" in sync "web". Either the key is written diff')


# -- calls -------------------------------------------------------------------------------------------------------


def test_calls_tells_what_came_of_each_the_latest_first(run: Run, lived: Site) -> None:
    found = run("calls", "--json").json
    assert [call["leads"] for call in found] == [1, 3]
    for call in found:
        assert list(call) == [
            "call",
            "kind",
            "sync",
            "campaign",
            "state",
            "leads",
            "started_at",
            "ended_at",
            "http_status",
            "verdict",
            "sentence",
            "checks",
            "resolved_by",
        ]
        assert (call["kind"], call["sync"], call["campaign"]) == ("add_record", "web", "12345")
        assert (call["state"], call["http_status"]) == ("accepted", 201)
        assert instant(call["started_at"]) <= instant(call["ended_at"])
    assert run("calls", "--limit", "1", "--json").json == found[:1]
    assert run("calls", "--unresolved", "--json").json == []
    assert run("calls", "--unresolved").out == "No such call.\n"
    assert all(call["call"] in run("calls").out for call in found)


def test_no_command_tells_a_field_of_a_lead(run: Run, lived: Site) -> None:
    for arguments in (("status",), ("leads", "web"), ("trace", "web", "4"), ("trace", "web", "5"), ("calls",)):
        for form in ((), ("--json",)):
            out = run(*arguments, *form).out
            assert not re.search(r"Canario|Amarillo|Lucía|doc-\d|300\d|example\.com", out), out


# -- preview -----------------------------------------------------------------------------------------------------


@pytest.fixture
def seen(site: Site) -> Site:
    site.execute(
        "INSERT INTO leads (document, name, mobile, email) VALUES"
        " ('doc-1', 'Canario Amarillo', '3001234567', 'Canario@Example.com'), ('doc-2', 'X Y', '12', NULL)"
    )
    return site


def test_preview_masks_what_would_be_sent_and_says_why_others_would_not(run: Run, seen: Site) -> None:
    said = run("preview", "web", "--json")
    assert said.status == 0
    rejected, sent = said.json["leads"]
    assert (rejected["key"], sent["key"]) == ("2", "1")
    assert list(rejected["rejected"]) == ["field", "rule", "reason"]
    assert rejected["rejected"]["field"] == "tel1"
    assert sent["record"]["customer_name"] == "C*****o"
    assert sent["record"]["tel1"] == "9*********7"
    for form in ((), ("--json",)):
        out = run("preview", "web", *form).out
        assert not re.search(r"Canario|Amarillo|3001234567|example", out, re.IGNORECASE)
    assert "--unmasked shows them" in run("preview", "web").out


def test_preview_shows_all_where_it_is_asked_to(run: Run, seen: Site) -> None:
    record = run("preview", "web", "--unmasked", "--json").json["leads"][1]["record"]
    assert record == {
        "customer_id": "doc-1",
        "customer_name": "Canario",
        "customer_last_name": "Amarillo",
        "tel1": "93001234567",
        "email": "canario@example.com",
    }
    assert "93001234567" in run("preview", "web", "--unmasked").out


def test_preview_looks_at_the_latest_keys_and_sends_and_keeps_nothing(run: Run, site: Site) -> None:
    site.insert(12)
    assert [lead["key"] for lead in run("preview", "web", "-n", "3", "--json").json["leads"]] == ["12", "11", "10"]
    assert site.simulator.state.calls() == {}
    assert not site.ledger_file.exists()


def test_preview_of_nothing_says_so(run: Run) -> None:
    assert run("preview", "web").out == "No row matches.\n"
    assert run("preview", "web", "--json").json == {"leads": [], "table": None}


# -- migrate, version, help --------------------------------------------------------------------------------------


def test_migrate_makes_the_tables_once(run: Run, site: Site) -> None:
    first, second = run("migrate"), run("migrate")
    assert (first.status, second.status) == (0, 0)
    assert re.fullmatch(rf"The ledger at {site.ledger_file} is at version \d+ now \(before: empty\)\.\n", first.out)
    assert re.fullmatch(rf"The ledger at {site.ledger_file} is at version \d+ already\.\n", second.out)
    assert oct(site.ledger_file.stat().st_mode & 0o777) == "0o600"
    assert oct((site.folder / "ledger.db.hash-key").stat().st_mode & 0o777) == "0o600"


@pytest.mark.parametrize("option", ["--help", "-h", "--version"])
def test_help_and_version_are_told(run: Run, option: str) -> None:
    said = run(option)
    assert (said.status, said.err) == (0, "")
    assert (__version__ if option == "--version" else "Usage: syncd") in said.out


def test_each_command_has_a_sentence_of_help(run: Run) -> None:
    out = run("--help").out
    for command in ("run", "check", "preview", "status", "leads", "trace", "calls", "migrate", "simulator", "demo"):
        assert re.search(rf"^  {command} +\w", out, re.MULTILINE), command
        assert run(command, "--help").status == 0


# -- as a program ------------------------------------------------------------------------------------------------


def program(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """`syncd` as a program of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "syncd", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


@pytest.mark.parametrize("arguments", [("leads", "web", "--limit", "5000"), ("leads", "web", "--json"), ("status",)])
def test_a_pipe_that_closes_early_is_quiet(lived: Site, arguments: tuple[str, ...]) -> None:
    with program(*arguments, "--config", str(lived.config)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) in (0, 1)


def test_a_table_in_a_pipe_is_not_cut(lived: Site) -> None:
    with program("leads", "web", "--config", str(lived.config), env={**os.environ, "COLUMNS": "20"}) as process:
        out, err = process.communicate(timeout=20)
    assert err == b""
    assert len([line for line in out.decode().splitlines() if re.match(r" *\d+ +(delivered|rejected)", line)]) == 5


def test_the_exit_status_of_the_program_is_that_of_the_command(lived: Site) -> None:
    with program("trace", "web", "77", "--config", str(lived.config)) as process:
        _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err.startswith(b"syncd: ")
