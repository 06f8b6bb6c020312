"""The sections on capture measure what they say, verify it, and fail loudly. No test asks for a time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import requests

from bench import bare
from bench.arrivals import Arrivals
from bench.capture import _sizes, capture
from bench.errors import BenchFailed
from bench.idle import idle
from bench.stage import CAPTURES, Manner, Stage, set_up
from bench.table import Bar, Section, share, spread
from bench.trigger import VARIANTS, WRITERS, _bulk, _keep, trigger
from syncd.embedded import EmbeddedPostgres
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)


def quiet(line: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A bench's own server: what it does to settings and slots is seen by no other test."""
    with EmbeddedPostgres(settings={"fsync": "off"}) as server:
        yield Stage(server, tmp_path_factory.mktemp("bench"))


@pytest.mark.slow
def test_what_triggers_cost_is_measured_for_bulk_statements_and_single_writers(stage: Stage) -> None:
    found = trigger(stage, 1, 500, 1, quiet)
    assert set(found.raw["bulk_secs"]) == {
        f"{what}, {variant}" for what in ("INSERT", "COPY", "UPDATE") for variant in VARIANTS[:2]
    }
    assert set(found.raw["single"]) == {f"{writers}, {variant}" for writers in WRITERS for variant in VARIANTS}
    assert [bar.bar for bar in found.bars] == [1.6, 1.6, 1.6]


@pytest.mark.slow
def test_an_idle_daemon_is_measured_and_asks_no_more_than_once_in_each_poll_interval(stage: Stage) -> None:
    found = idle(stage, 6.0, quiet, settle_secs=7.0)
    queries = [bar for bar in found.bars if bar.what.startswith("queries")]
    assert [bar.met for bar in queries] == [True] * len(CAPTURES)
    assert all(bar.figure > 0 for bar in queries)  # else it is the log that is not read
    assert all(figures["rss_mb"] > 1 for figures in found.raw.values())


@pytest.mark.slow
def test_capture_is_measured_with_all_changes_in_the_ledger_and_nothing_left_in_the_crm(stage: Stage) -> None:
    found = capture(stage, 3000, quiet)
    assert list(found.raw) == list(CAPTURES)
    for figures in found.raw.values():
        assert figures["kept_behind"] == 0
        assert figures["rate"] > 0
        assert figures["bare_rate"] > 0


@pytest.mark.slow
def test_the_latency_of_each_side_is_in_the_report_and_held_against_no_bar_where_the_bench_is_quick(
    tmp_path: Path,
) -> None:
    told = tmp_path / "bench.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--only", "latency", "--json", str(told)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    section = json.loads(told.read_text())["sections"]["latency"]
    assert [line[""] for line in section["lines"]] == ["poll", "listen", "bare listen", "slot", "bare slot"]
    assert all(len(taken) == 20 for rounds in section["raw"].values() for taken in rounds)
    assert [(bar["what"].split()[2], bar["met"]) for bar in section["bars"]] == [
        ("poll", None),
        ("listen", None),
        ("slot", None),
    ]
    assert "latency: from the writer's COMMIT" in done.stdout
    assert "NOT MET" not in done.stdout


def test_a_lead_that_does_not_come_ends_the_bench() -> None:
    with Arrivals() as sink, pytest.raises(BenchFailed, match="did not come"):
        sink.wait_for("8000000000", 0.05)


def test_the_sink_notes_the_first_arrival_and_counts_those_that_come_again() -> None:
    with Arrivals() as sink:
        first: list[float] = []
        for _ in range(2):
            assert requests.post(sink.url, data='[{"customer_id": "1"}]', timeout=10).status_code == 201
            eventually(lambda: sink.again == len(first), "the sink has counted")
            first.append(sink.wait_for("1", 10))
        assert first[0] == first[1]


def test_keys_that_the_triggers_did_not_write_end_the_bench(stage: Stage) -> None:
    crm = stage.make_crm(50)
    _keep(crm)
    with stage.configured(crm, "sqlite", "http://127.0.0.1:9", Manner("listen", "now", closed=True)) as config:
        set_up(config)
    assert _bulk(crm, "COPY", 50, "unheard") > 0
    with psycopg.connect(crm, autocommit=True) as connection:
        connection.execute("ALTER TABLE public.leads DISABLE TRIGGER USER")
    with pytest.raises(BenchFailed, match="after INSERT of 50"):
        _bulk(crm, "INSERT", 50, "unheard")
    stage.drop_crm(crm)


def test_setup_that_is_refused_ends_the_bench(stage: Stage) -> None:
    crm = stage.make_crm(1)
    with psycopg.connect(crm, autocommit=True) as connection:
        connection.execute("DROP TABLE public.leads")
    with (
        stage.configured(crm, "sqlite", "http://127.0.0.1:9", Manner("slot", "now")) as config,
        pytest.raises(BenchFailed, match="syncd setup"),
    ):
        set_up(config)
    stage.drop_crm(crm)


@pytest.mark.parametrize("changes", [10, 999, 3000, 100_000, 1_000_000])
def test_statements_of_all_sizes_make_just_so_many_changes(changes: int) -> None:
    sizes = list(_sizes(changes))
    assert sum(sizes) == changes
    assert max(sizes) <= max(1, changes // 10)
    assert list(_sizes(changes)) == sizes


def test_a_share_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [share(values, part) for part in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert share([7.0], 0.5) == 7
    assert spread([3.0, 1.0, 2.0], 1) == "1.0 - 3.0"


def test_a_bar_that_is_missed_is_said_aloud() -> None:
    section = Section("latency", "made up", ("", "p50"), [("slot", "30.0")], [Bar("p50 of slot in ms", 30.0, 25.0)])
    assert "  NOT MET: p50 of slot in ms: 30, at most 25" in section.as_text(judged=True)
    assert section.as_json(judged=True)["bars"][0]["met"] is False
    assert section.as_json(judged=False)["bars"][0]["met"] is None


def test_the_bare_stream_reads_the_columns_of_an_insert() -> None:
    message = b"I\x00\x00\x40\x02N\x00\x03t\x00\x00\x00\x0212nt\x00\x00\x00\x03\xc3\xa1b"
    assert bare._texts(memoryview(message)) == ["12", None, "áb"]
