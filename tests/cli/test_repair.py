"""What operators do to leads and calls, and what is told of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.cli import repair
from syncd.config import load
from syncd.embedded import EmbeddedPostgres
from syncd.ledger import Ledger, open_ledger
from syncd.simulator import Fault
from tests.cli.conftest import Run
from tests.support.ledgers import assert_conserved
from tests.support.site import Site
from tests.support.work import work

CANARIES = r"Canario|Amarillo|Lucía|doc-\d|300\d|example\.com"


@pytest.fixture
def lived(site: Site) -> Iterator[Site]:
    """Leads 1 to 3 were delivered; 4 was rejected for its telephone; 5 and 6 are held."""
    site.insert(3)
    site.execute("INSERT INTO leads (document, name, mobile) VALUES ('doc-4', 'Canario Amarillo', '12')")
    work(site, turns=1)
    site.simulator.script(Fault("cut-after", api="add_record"))
    site.insert(2, 5)
    work(site, turns=2)
    yield site
    with_ledger(site, assert_conserved)


def with_ledger(site: Site, what: Callable[[Ledger], Any]) -> Any:
    """What comes of the site's ledger."""
    ledger = open_ledger(load(site.config), site.config, purpose="test", tables="require")
    try:
        return what(ledger)
    finally:
        ledger.close()


def states(run: Run) -> dict[str, str]:
    return {lead["key"]: lead["state"] for lead in run("leads", "web", "--json").json}


def open_call(run: Run) -> str:
    (call,) = run("calls", "--unresolved", "--json").json
    return str(call["call"])


def steps(run: Run, key: str) -> list[str]:
    return [event["what"] for event in run("trace", "web", key, "--json").json["events"]]


def last_act(run: Run) -> dict[str, Any]:
    return dict(run("acts", "--json").json[0])


# -- retry -------------------------------------------------------------------------------------------------------


def test_a_rejected_lead_is_retried_by_its_key_and_arrives(run: Run, lived: Site) -> None:
    said = run("retry", "web", "--key", "4", "--reason", "they\ncorrected   it")
    assert (said.status, said.err) == (0, "")
    assert said.out == 'Lead "4" of web was rejected, and waits for its call again.\n'
    assert states(run)["4"] == "pending"
    act = last_act(run)
    assert list(act) == ["at", "who", "what", "subject", "leads", "reason"]
    assert act["who"] == repair.who()
    assert (act["what"], act["subject"], act["leads"], act["reason"]) == ("retry", "web 4", 1, "they corrected it")
    assert steps(run, "4")[-1] == "pending again: retried: they corrected it"
    lived.execute("UPDATE leads SET mobile = '3000000004' WHERE document = 'doc-4'")
    work(lived, turns=4)
    assert states(run)["4"] == "delivered"
    assert lived.accepted()["doc-4"] == 1


def test_a_lead_that_is_still_bad_is_rejected_again(run: Run, lived: Site) -> None:
    assert run("retry", "web", "--key", "4").status == 0
    assert last_act(run)["reason"] == "no reason was given"
    work(lived, turns=4)
    assert states(run)["4"] == "rejected"


def test_all_rejected_leads_are_retried_at_once(run: Run, lived: Site) -> None:
    said = run("retry", "web", "--state", "rejected", "--reason", "the map was wrong")
    assert said.out == "1 leads of web were rejected, and wait for their call again, behind what is new.\n"
    assert states(run)["4"] == "pending"
    assert (last_act(run)["subject"], last_act(run)["leads"]) == ("web --state rejected", 1)
    again = run("retry", "web", "--state", "rejected")
    assert (again.status, again.out) == (0, "No lead of web is rejected.\n")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("1", "is delivered, and is not retried. wolkvox has it: another call would call that person twice."),
        ("5", "is held, and is not retried. Nobody knows whether wolkvox has it: `syncd resolve` its call."),
        ("77", 'has no lead "77" in sync "web". `syncd leads web` lists those that it has.'),
    ],
)
def test_a_lead_that_cannot_be_retried_is_left_as_it_is_and_that_is_said(
    run: Run, lived: Site, key: str, words: str
) -> None:
    before = states(run)
    said = run("retry", "web", "--key", key)
    assert (said.status, said.out) == (1, "")
    assert words in said.err
    assert states(run) == before
    assert run("acts", "--json").json == []


# -- resolve -----------------------------------------------------------------------------------------------------


def test_held_leads_name_their_call(run: Run, lived: Site) -> None:
    call = open_call(run)
    held = run("leads", "web", "--state", "held", "--json").json
    assert [(lead["key"], lead["call"]) for lead in held] == [("6", call), ("5", call)]
    assert call in run("leads", "web", "--state", "held").out


def test_a_call_is_resolved_as_delivered_with_its_reason(run: Run, lived: Site) -> None:
    call = open_call(run)
    said = run("resolve", call, "--delivered", "--reason", "seen in the campaign")
    assert (said.status, said.err) == (0, "")
    assert said.out == f"Call {call} is resolved: of its leads, 2 delivered.\n"
    assert states(run) == {"1": "delivered", "2": "delivered", "3": "delivered", "4": "rejected"} | dict.fromkeys(
        ("5", "6"), "delivered"
    )
    who = f"{repair.who()}: seen in the campaign"
    assert steps(run, "5") == [
        "captured",
        "sending",
        "held: what became of the call is not known",
        f"delivered: {who}",
    ]
    (told,) = [found for found in run("calls", "--json").json if found["call"] == call]
    assert (told["state"], told["resolved_by"], told["checks"]) == ("accepted", who, 0)
    assert who in run("calls").out
    assert (last_act(run)["what"], last_act(run)["subject"]) == ("resolve --delivered", call)
    assert run("calls", "--unresolved", "--json").json == []


def test_a_call_is_resolved_to_be_sent_again_with_a_warning(run: Run, lived: Site) -> None:
    call = open_call(run)
    said = run("resolve", call, "--resend", "--reason", "the campaign was emptied")
    assert said.status == 0
    assert "called twice" in said.err
    assert "`syncd pause web`" in said.err
    assert said.out == f"Call {call} is resolved: of its leads, 2 pending.\n"
    assert steps(run, "5")[-1] == f"pending again: to be sent again: {repair.who()}: the campaign was emptied"
    work(lived, turns=4)
    assert states(run)["5"] == "delivered"
    assert lived.accepted()["doc-5"] == 2, "as was asked for"


def test_a_call_is_given_to_verification_at_once(run: Run, lived: Site) -> None:
    call = open_call(run)
    said = run("resolve", call, "--verify", "--reason", "wolkvox is back")
    assert (said.status, said.err) == (0, "")
    assert "within a minute" in said.out
    assert states(run)["5"] == "held"
    assert last_act(run)["what"] == "resolve --verify"


def test_a_call_is_resolved_once(run: Run, lived: Site) -> None:
    call = open_call(run)
    assert run("resolve", call, "--delivered", "--reason", "seen").status == 0
    said = run("resolve", call, "--resend", "--reason", "changed my mind")
    assert (said.status, said.out) == (1, "")
    assert f'The outcome of call "{call}" is known: accepted.' in said.err
    assert states(run)["5"] == "delivered"
    assert len(run("acts", "--json").json) == 1


def test_a_call_that_is_not_there_is_said(run: Run, lived: Site) -> None:
    said = run("resolve", "none", "--delivered", "--reason", "x")
    assert (said.status, said.err) == (1, 'syncd: The ledger has no call "none". `syncd calls` lists them.\n')


# -- pause and resume --------------------------------------------------------------------------------------------


def test_a_sync_is_paused_and_resumed_and_status_and_trace_say_so(run: Run, lived: Site) -> None:
    assert run("status", "--json").json["syncs"][0]["remark"] is None
    assert run("pause", "web", "--reason", "new campaign").status == 0
    assert "paused already" in run("pause", "web").out
    lived.insert(1, 9)
    work(lived, turns=4)
    (key,) = [key for key, state in states(run).items() if state == "pending"]
    remark = run("status", "--json").json["syncs"][0]["remark"]
    assert remark == "paused: new campaign. `syncd resume web` sends its leads."
    assert remark in run("status").out
    assert run("pause", "web", "--reason", "for longer").status == 0
    assert run("resume", "web", "--reason", "it is there").out == "web goes on.\n"
    assert run("resume", "web").out == "web was not paused.\n"
    work(lived, turns=4)
    assert states(run)[key] == "delivered"
    told = steps(run, key)
    assert told[0] == "captured"
    assert f"its sync was paused by {repair.who()}: for longer" in told
    assert f"its sync was resumed by {repair.who()}: it is there" in told
    assert told[-1] == "delivered"
    assert [act["what"] for act in run("acts", "--json").json] == ["resume", "resume", "pause", "pause", "pause"]


@pytest.mark.parametrize("command", [("pause", "chat"), ("resume", "chat"), ("retry", "chat", "--key", "1")])
def test_a_sync_that_is_not_there_is_said(run: Run, lived: Site, command: tuple[str, ...]) -> None:
    said = run(*command)
    assert (said.status, said.out) == (1, "")
    assert said.err == 'syncd: The ledger knows no sync "chat". See `syncd status` for those that it knows.\n'


# -- usage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("retry", "web"),
        ("retry", "web", "--key", "1", "--state", "rejected"),
        ("retry", "web", "--state", "delivered"),
        ("retry", "web", "--state", "held"),
        ("resolve", "x", "--delivered"),
        ("resolve", "x", "--reason", "why"),
        ("resolve", "x", "--delivered", "--resend", "--reason", "why"),
        ("resolve", "x", "--delivered", "--reason", " "),
        ("resolve", "x", "--delivered", "--reason", "x" * 501),
        ("pause",),
        ("pause", "web", "--reason", ""),
        ("resume",),
        ("acts", "--limit", "0"),
    ],
)
def test_wrong_usage_ends_with_2_and_changes_nothing(run: Run, site: Site, arguments: tuple[str, ...]) -> None:
    said = run(*arguments)
    assert (said.status, said.out) == (2, "")
    assert not site.ledger_file.exists()


def test_a_reason_in_any_letters_is_kept(run: Run, lived: Site) -> None:
    assert run("pause", "web", "--reason", "año nuevo \udcff\x1b[31m").status == 0
    assert last_act(run)["reason"] == "año nuevo ? [31m"
    assert "año nuevo" in run("acts").out


def test_nobody_did_anything_yet(run: Run, lived: Site) -> None:
    assert run("acts").out == "Nobody did anything yet.\n"


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_123)
    assert repair.who() == "uid 4000000123"


def test_no_command_tells_a_field_of_a_lead(run: Run, lived: Site) -> None:
    call = open_call(run)
    for arguments in (
        ("retry", "web", "--key", "4"),
        ("retry", "web", "--key", "1"),
        ("pause", "web"),
        ("resume", "web"),
        ("resolve", call, "--resend", "--reason", "x"),
        ("acts",),
        ("acts", "--json"),
        ("trace", "web", "5"),
        ("calls", "--json"),
    ):
        said = run(*arguments)
        assert not re.search(CANARIES, said.out + said.err), arguments


def test_the_acts_are_kept_in_a_postgres_ledger_too(
    run: Run,
    tmp_path: Path,
    database: str,
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    postgres_server: EmbeddedPostgres,
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    other = Site(folder, database, site.simulator, database)
    monkeypatch.setenv("SYNCD_CONFIG", str(other.config))
    other.execute("INSERT INTO leads (document, name, mobile) VALUES ('doc-4', 'Canario Amarillo', '12')")
    work(other, turns=1)
    before = time.time()
    assert run("retry", "web", "--state", "rejected", "--reason", "mapped anew").status == 0
    assert run("pause", "web", "--reason", "mapped anew").status == 0
    assert [act["what"] for act in run("acts", "--json").json] == ["pause", "retry"]
    assert steps(run, "1")[-1] == f"its sync was paused by {repair.who()}: mapped anew"
    with_ledger(other, assert_conserved)
    assert before <= time.time()
