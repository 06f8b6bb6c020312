"""The bench runs, verifies what it measures, and fails loudly where that does not verify. No test asks for a time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from bench.breakdown import break_down
from bench.errors import BenchFailed
from bench.floor import BATCH, Floor, calls_for, choose_floor, wait
from bench.leads import COLUMNS, MAPPED, WHERE, body_query, statements
from bench.report import as_text, rows_of
from bench.sections import Found
from bench.sink import Accepted, judge
from syncd.record import PREDICTIVE_FIELDS, schema
from syncd.simulator import Settings, Simulator

LEADS = 300
STATE: dict[str, Any] = {
    "total_accepted": 20_000,
    "unique_leads": 20_000,
    "leads_accepted_more_than_once": 0,
    "calls": {"add_record": 2},
    "refused": {},
}


def filled(database: str, leads: int = LEADS) -> str:
    """A CRM with the bench's leads."""
    with psycopg.connect(database, autocommit=True) as connection:
        for statement in statements(leads):
            connection.execute(statement.encode())
    return database


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_quick_bench_measures_what_backfill_takes_and_says_so_in_words_and_in_json(tmp_path: Path) -> None:
    told = tmp_path / "bench.json"
    only = [word for section in ("backfill", "memory", "start") for word in ("--only", section)]
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--leads", str(LEADS), "--profile", "--json", str(told), *only],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(told.read_text())
    assert (report["leads"], report["calls"], report["compared"]) == (LEADS, 1, LEADS)
    assert [pairs[0]["floor_secs"] > 0 for pairs in report["backfill"].values()] == [True, True]
    assert {(each["ledger"], each["leads"]) for each in report["memory_mb"]} == {
        (ledger, leads) for ledger in ("sqlite", "postgres") for leads in (LEADS, 10 * LEADS)
    }
    assert set(report["ready_secs"]["first"]) == set(report["ready_secs"]["later"]) == {"sqlite", "postgres"}
    assert len(report["rows"]) == 12
    for row in report["rows"]:
        assert row["what"] in done.stdout
        assert row["met"] is None  # a quick bench judges nothing
    breakdown = report["backfill"]["sqlite"][0]["syncd"]["breakdown"]
    assert (breakdown["calls"], breakdown["keys"]) == (1, LEADS)
    assert "prepare and intend" in done.stdout
    assert "every lead was accepted exactly once" in done.stdout


def test_counts_that_are_right_verify() -> None:
    judge(STATE, 20_000, 2)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"total_accepted": 19_999}, "accepted 19999"),
        ({"unique_leads": 19_999}, "different leads 19999"),
        ({"leads_accepted_more_than_once": 1}, "accepted more than once 1"),
        ({"calls": {"add_record": 3}}, "calls 3 instead of 2"),
        ({"refused": {"quota": 1}}, "refused 1"),
    ],
)
def test_any_count_that_is_wrong_ends_the_bench(change: dict[str, Any], word: str) -> None:
    with pytest.raises(BenchFailed, match=word):
        judge(STATE | change, 20_000, 2)


def test_every_made_up_lead_matches_and_gives_a_record_that_may_be_sent(database: str) -> None:
    with psycopg.connect(filled(database)) as connection:
        matching = connection.execute(f"SELECT count(*) FROM public.leads WHERE {WHERE}".encode()).fetchone()
        found = connection.execute(body_query(0, LEADS).encode()).fetchone()
    assert matching == (LEADS,)
    assert found is not None
    rules = schema("predictive")
    for record in found[0]:
        assert tuple(record) == PREDICTIVE_FIELDS
        assert rules.check(record, time.time()) is None
    assert len({record["customer_id"] for record in found[0]}) == LEADS
    assert len({record["tel1"] for record in found[0]}) == LEADS


def test_the_table_has_the_index_that_polling_needs_and_leads_that_changed_at_many_times(database: str) -> None:
    with psycopg.connect(filled(database)) as connection:
        indexes = connection.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'leads'").fetchall()
        moments = connection.execute("SELECT count(DISTINCT updated_at) FROM public.leads").fetchone()
    assert any("(updated_at)" in definition for (definition,) in indexes)
    assert moments is not None
    assert moments[0] > LEADS * 0.9


def test_twelve_columns_and_a_constant_are_mapped() -> None:
    assert len({each.field for each in MAPPED}) == len(MAPPED) == COLUMNS + 1


def test_the_fallback_sends_what_the_two_programs_send(database: str) -> None:
    crm = filled(database)
    sent = []
    for floor in (Floor(None, None, "a plain Python loop"), choose_floor()):
        with Simulator(Settings(stock=0, keep_bodies=9)) as simulator:
            query = "api=add_record&type_campaign=predictive&campaign_id=12345&campaign_status=start"
            wait(floor.start(crm, f"{simulator.base_url}/api/v2/campaign.php?{query}", LEADS))
            sent.append([orjson.loads(body) for body in simulator.state.bodies()])
    assert sent[0] == sent[1]
    assert [len(body) for body in sent[0]] == [LEADS]


def test_a_floor_that_fails_ends_the_bench(database: str) -> None:
    filled(database)
    with pytest.raises(BenchFailed, match="The floor ended with status"):
        wait(choose_floor().start(database, "http://127.0.0.1:1/", LEADS))


def test_calls_are_as_full_as_they_may_be() -> None:
    assert [calls_for(leads) for leads in (1, BATCH, BATCH + 1, 10 * BATCH)] == [1, 1, 2, 10]


def test_figures_are_held_against_their_bars() -> None:
    found = Found()
    found.memory = {("sqlite", 100): [120.0, 130.0], ("sqlite", 1000): [151.0]}
    rows = rows_of(found, 100, 1000)
    assert [(row.syncd, row.bar, row.met) for row in rows] == [
        (130.0, 150.0, True),
        (151.0, 150.0, False),
        (21.0, 20.0, False),
    ]
    assert as_text(rows)[1].split()[-6:] == ["120", "-", "130", "150", "MB", "yes"]


def test_the_steps_of_a_run_add_up_to_it() -> None:
    def event(name: str, at: float, **fields: Any) -> dict[str, Any]:
        return {"event": name, "timestamp": datetime.fromtimestamp(at, UTC).isoformat(), **fields}

    events = [
        event("daemon.started", 101.0),
        event("sender.began", 101.5),
        event("intake.backfill", 102.0, rows=10, done=False),
        event("intake.backfill", 102.2, rows=20, done=True),
        event("call.finished", 103.5, seconds=0.2),
        event("call.finished", 105.0, seconds=0.3),
    ]
    found = break_down(events, 100.0, [Accepted(10, 0.0, 103.0), Accepted(10, 0.0, 104.5)])
    assert (found.start_up, found.until_sender, found.first_page) == (1.0, 0.5, 0.5)
    assert (found.post, found.settle) == (0.5, 0.5)
    assert found.capture == pytest.approx(0.7)
    assert found.prepare == pytest.approx(1.5)
    steps = found.start_up + found.until_sender + found.first_page + found.prepare + found.post + found.settle
    assert steps == pytest.approx(4.5)
