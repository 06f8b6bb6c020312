"""`syncd check` where a sync listens or has a slot: what is installed, and what is not as it should be."""

from __future__ import annotations

import psycopg
import pytest

from tests.cli.conftest import Run, Said
from tests.support.site import Site
from tests.support.toml import ABSENT

FOLLOWING = pytest.mark.parametrize("mode", ["listen", "slot"])


@pytest.fixture
def installed(run: Run, site: Site, mode: str) -> str:
    """A site whose sync captures in that way, set up; the mode."""
    site.write(sync__0__capture=mode)
    assert run("setup", "web", "--apply").status == 0
    return mode


def looked(run: Run) -> Said:
    return run("check", "--no-calls", "--json")


def findings(said: Said, level: str) -> list[str]:
    return [finding["sentence"] for finding in said.json if finding["level"] == level]


def finds(run: Run, level: str, *words: str, status: int) -> None:
    said = looked(run)
    assert said.status == status, said
    (sentence,) = findings(said, level)
    for word in words:
        assert word in sentence


@FOLLOWING
def test_what_setup_installs_passes(run: Run, installed: str) -> None:
    said = looked(run)
    assert (said.status, findings(said, "warning"), findings(said, "error")) == (0, [], [])


@FOLLOWING
def test_what_is_not_installed_is_said_with_the_command_that_installs_it(run: Run, site: Site, mode: str) -> None:
    site.write(sync__0__capture=mode)
    thing = {"listen": "there is no outbox syncd_outbox.web", "slot": "no replication slot syncd_web"}[mode]
    finds(run, "error", thing, "syncd setup web --apply", status=78)


@FOLLOWING
def test_a_view_is_said_to_be_none_that_can_be_followed_with_the_way_out(run: Run, site: Site, mode: str) -> None:
    site.execute("CREATE VIEW shown AS SELECT * FROM leads")
    site.write(sync__0__capture=mode, sync__0__table="shown")
    finds(run, "error", "shown is no table", 'capture = "poll"', "name the table itself", status=78)


@FOLLOWING
def test_no_watermark_is_no_fault(run: Run, site: Site, mode: str) -> None:
    site.write(sync__0__capture=mode, sync__0__watermark_column=ABSENT, sync__0__start="now")
    assert run("setup", "web", "--apply").status == 0
    said = looked(run)
    assert (said.status, findings(said, "warning")) == (0, [])


@FOLLOWING
def test_a_watermark_needs_no_index_where_nothing_is_polled(run: Run, site: Site, installed: str) -> None:
    site.execute("DROP INDEX leads_updated_at_idx")
    said = looked(run)
    assert (said.status, findings(said, "warning")) == (0, [])


@FOLLOWING
def test_rows_without_a_watermark_are_those_that_the_sweep_does_not_find(run: Run, site: Site, installed: str) -> None:
    site.execute("ALTER TABLE leads ALTER updated_at DROP NOT NULL")
    site.execute("INSERT INTO leads (updated_at) VALUES (NULL)")
    finds(run, "warning", "some rows have no updated_at", "the sweep does not find them", status=0)


@pytest.mark.parametrize("mode", ["listen"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("DROP TRIGGER syncd_web_insert ON leads", "lacks the trigger syncd_web_insert"),
        ("ALTER TABLE leads DISABLE TRIGGER syncd_web_update", "are disabled"),
        ("DROP SCHEMA syncd_outbox CASCADE", "no outbox"),
    ],
)
def test_triggers_that_are_not_as_they_were_are_said(
    run: Run, site: Site, installed: str, change: str, words: str
) -> None:
    site.execute(change)
    finds(run, "error", words, "syncd setup web --apply", status=78)
    assert run("setup", "web", "--apply").status == 0
    assert looked(run).status == 0


@pytest.mark.parametrize("mode", ["listen"])
def test_a_partition_without_triggers_is_a_warning_until_setup_is_run_again(run: Run, site: Site, mode: str) -> None:
    site.execute(
        "DROP TABLE leads;"
        "CREATE TABLE leads (id bigint PRIMARY KEY, document text, name text, mobile text, email text,"
        " updated_at timestamptz NOT NULL DEFAULT now()) PARTITION BY RANGE (id);"
        "CREATE TABLE leads_1 PARTITION OF leads FOR VALUES FROM (0) TO (10)"
    )
    site.write(sync__0__capture=mode)
    assert run("setup", "web", "--apply").status == 0
    assert findings(looked(run), "warning") == []
    site.execute("CREATE TABLE leads_2 PARTITION OF leads FOR VALUES FROM (10) TO (20)")
    finds(run, "warning", "leads_2", "found by the sweep only", "syncd setup web --apply", status=0)
    assert run("setup", "web", "--apply").status == 0
    assert findings(looked(run), "warning") == []


ANOTHER_PLUGIN = """
SELECT pg_drop_replication_slot('syncd_web');
SELECT pg_create_logical_replication_slot('syncd_web', 'test_decoding')
"""


@pytest.mark.parametrize("mode", ["slot"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("DROP PUBLICATION syncd_web", "no publication syncd_web"),
        ("ALTER PUBLICATION syncd_web SET (publish = 'insert')", "leaves out inserts or updates"),
        ("SELECT pg_drop_replication_slot('syncd_web')", "no replication slot syncd_web"),
        (ANOTHER_PLUGIN, "belongs to the plugin test_decoding"),
    ],
)
def test_a_slot_that_is_not_as_it_was_is_said(run: Run, site: Site, installed: str, change: str, words: str) -> None:
    try:
        site.execute(change)
    except psycopg.errors.UndefinedFile:
        pytest.skip("this server comes without test_decoding")
    finds(run, "error", words, "syncd setup web --apply", status=78)


@pytest.mark.parametrize("mode", ["slot"])
def test_wal_that_is_kept_without_limit_is_worth_a_remark(run: Run, site: Site, installed: str) -> None:
    assert any("max_slot_wal_keep_size is not set" in sentence for sentence in findings(looked(run), "ok"))
