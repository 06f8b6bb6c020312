"""When table or server change under a sync: it stops with one sentence, goes on when mended, and loses nothing."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import sql

from syncd.embedded import EmbeddedPostgres
from syncd.errors import CaptureLost, CrmFault, CrmUnavailable
from syncd.ledger import Ledger
from tests.capture.conftest import Catch, url_of
from tests.capture.harness import Catcher, Kit, Leads
from tests.conftest import FAST

BREAKS: dict[str, tuple[str, str, str, str]] = {
    "a table renamed": (
        "ALTER TABLE leads RENAME TO gone",
        "INSERT INTO gone (id) VALUES (5)",
        "ALTER TABLE gone RENAME TO leads",
        "leads",
    ),
    "a key renamed": (
        "ALTER TABLE leads RENAME id TO no",
        "INSERT INTO leads (no) VALUES (5)",
        "ALTER TABLE leads RENAME no TO id",
        "id",
    ),
    "a watermark renamed": (
        "ALTER TABLE leads RENAME updated_at TO changed_at",
        "INSERT INTO leads (id) VALUES (5)",
        "ALTER TABLE leads RENAME changed_at TO updated_at",
        "updated_at",
    ),
    "a column of the condition renamed": (
        "ALTER TABLE leads RENAME note TO remark",
        "INSERT INTO leads (id) VALUES (5)",
        "ALTER TABLE leads RENAME remark TO note",
        "note",
    ),
    "a column of the condition dropped": (
        "ALTER TABLE leads DROP note",
        "INSERT INTO leads (id) VALUES (5)",
        "ALTER TABLE leads ADD note text NOT NULL DEFAULT ''",
        "note",
    ),
    "a watermark of another type": (
        "ALTER TABLE leads ALTER updated_at DROP DEFAULT, ALTER updated_at TYPE text",
        "INSERT INTO leads (id, updated_at) VALUES (5, clock_timestamp())",
        "ALTER TABLE leads ALTER updated_at TYPE timestamptz USING updated_at::timestamptz",
        "",
    ),
}
"""What breaks the table, a write of the CRM then, what mends it, and what the sentence names."""


def assert_said(trouble: Exception, named: str) -> None:
    """That trouble is a sentence or two that name the sync and the thing."""
    assert isinstance(trouble, CrmFault), trouble
    assert not isinstance(trouble, CaptureLost), trouble
    assert not trouble.retry
    assert 'sync "' in str(trouble)
    assert named in str(trouble)
    assert "\n" not in str(trouble)
    assert trouble.remedy


@pytest.mark.parametrize("what", BREAKS)
def test_a_table_changed_under_way_stops_its_sync_with_a_sentence_and_goes_on_when_mended(
    catch: Catch, crm: psycopg.Connection, what: str
) -> None:
    breaks, writes, mends, named = BREAKS[what]
    catcher, other = catch(where="note = ''", start="now"), catch(name="others")
    catcher.drain()
    catcher.leads.add(crm, 1)
    catcher.drain()
    other.drain()
    crm.execute(breaks.encode())
    crm.execute(writes.encode())  # which syncd may not make fail
    assert_said(catcher.troubled(), named)
    other.leads.add(crm, 7)
    other.drain()
    assert other.keys == {"7"}
    crm.execute(mends.encode())
    catcher.leads.add(crm, 2, datetime.now(UTC))
    catcher.recover()
    assert catcher.intake.trouble is None
    assert catcher.keys == {"1", "2", "5"}
    assert catcher.captured == 3


def replace_by_drop(crm: psycopg.Connection, catcher: Catcher) -> None:
    """The table is gone for a while."""
    crm.execute("DROP TABLE leads")
    assert_said(catcher.troubled(), "leads")
    catcher.leads.create(crm)


def replace_by_swap(crm: psycopg.Connection, catcher: Catcher) -> None:
    """As pg_repack and many a migration do it: nobody ever sees a moment without."""
    crm.execute("CREATE TABLE new (LIKE leads INCLUDING ALL)")
    crm.execute("INSERT INTO new SELECT * FROM leads")
    with crm.transaction():
        crm.execute("ALTER TABLE leads RENAME TO old")
        crm.execute("ALTER TABLE new RENAME TO leads")


@pytest.mark.parametrize("replace", [replace_by_drop, replace_by_swap])
def test_a_replaced_table_is_swept_and_followed_again_once_it_is_set_up(
    catch: Catch, crm: psycopg.Connection, kit: Kit, replace: Any
) -> None:
    catcher, other = catch(), catch(name="others")
    catcher.leads.add(crm, 1)
    catcher.drain()
    other.drain()
    replace(crm, catcher)
    catcher.leads.add(crm, 2)
    if kit.follows:
        catcher.wait(lambda: isinstance(catcher.turn().trouble, CaptureLost), "it says that it cannot follow")
        catcher.wait(lambda: catcher.turn() is not None and "2" in catcher.keys, "the sweep goes on meanwhile")
        assert sum(result.swept for result in catcher.results) == 1
        catcher.leads.add(crm, 3)
        catcher.install()
    else:
        catcher.leads.add(crm, 3)
    other.leads.add(crm, 7)
    other.drain()
    assert other.keys == {"7"}
    catcher.recover()
    if kit.follows or replace is replace_by_drop:
        assert any(result.gap for result in catcher.results)
    assert catcher.keys == {"1", "2", "3"}
    catcher.leads.add(crm, 4)
    catcher.drain()
    assert catcher.keys == {"1", "2", "3", "4"}
    assert catcher.captured == 4
    assert catcher.sweep() == 0


def test_a_replaced_table_with_another_type_of_key_is_read_as_it_is_now(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch()
    catcher.leads.add(crm, 1)
    catcher.drain()
    catcher.leads.add(crm, 2)  # may be on its way yet
    crm.execute("DROP TABLE leads")
    assert_said(catcher.troubled(), "leads")
    Leads(key_type="text", mark_type="timestamp").create(crm)
    catcher.leads.add(crm, "x")
    catcher.install()
    catcher.recover()
    assert catcher.keys - {"2"} == {"1", "x"}
    catcher.leads.add(crm, "y")
    catcher.drain()
    assert catcher.keys - {"2"} == {"1", "x", "y"}


def test_a_key_of_another_type_under_way_loses_nothing(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch()
    catcher.leads.add(crm, 1)
    catcher.drain()
    catcher.leads.add(crm, 2)
    try:
        crm.execute("ALTER TABLE leads ALTER id TYPE text")
    except psycopg.errors.FeatureNotSupported:  # a publication that names the column in a condition is in the way
        catcher.restart()  # which leaves the slot
        catcher.kit.remove(crm, catcher.leads, catcher.objects)
        crm.execute("ALTER TABLE leads ALTER id TYPE text")
        catcher.install()
    catcher.leads.add(crm, "x")
    catcher.recover()
    catcher.leads.add(crm, "y")
    catcher.drain()
    assert catcher.keys == {"1", "2", "x", "y"}
    assert catcher.captured == 4


def test_a_right_taken_away_is_said_and_forgotten_when_it_is_back(
    catch: Catch, crm: psycopg.Connection, database: str, kit: Kit, role: str
) -> None:
    catcher = catch(where="note = ''", role=role)
    catcher.url = url_of(database, role)
    catcher.restart()
    catcher.leads.add(crm, 1)
    catcher.drain()
    assert catcher.keys == {"1"}
    names = {"table": catcher.leads.identifier, "role": sql.Identifier(role)}
    for number, column in enumerate(("id", "updated_at", "note")):
        right = sql.SQL("SELECT ({}) ON {table}").format(sql.Identifier(column), **names)
        crm.execute(sql.SQL("REVOKE {} FROM {role}").format(right, **names))
        catcher.leads.add(crm, 10 + number)
        trouble = catcher.troubled()
        assert_said(trouble, "permission denied for table leads")
        assert "Grant it to syncd's role" in str(trouble)
        crm.execute(sql.SQL("GRANT {} TO {role}").format(right, **names))
        catcher.recover()
    assert catcher.keys == {"1", "10", "11", "12"}


def test_killed_sessions_are_trouble_once_and_lose_nothing(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch()
    catcher.drain()
    for key in range(3):
        catcher.leads.add(crm, 10 * key)
        catcher.kill(crm)
        catcher.leads.add(crm, 10 * key + 1)
        troubles = catcher.recover()
        assert len(troubles) <= 2
        assert all(isinstance(trouble, CrmUnavailable) for trouble in troubles)
    assert catcher.keys == {"0", "1", "10", "11", "20", "21"}
    assert catcher.captured == 6
    assert catcher.sweep() == 0


def test_trouble_is_tried_again_less_and_less_often(catch: Catch, crm: psycopg.Connection) -> None:
    catcher = catch(make=False)
    waits = []
    for _ in range(8):
        result = catcher.turn()
        waits.append(round(result.next_at - catcher.clock()))
    assert waits == [1, 2, 5, 15, 30, 60, 60, 60]
    catcher.leads.create(crm)
    catcher.install()
    catcher.drain()


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory, postgres_template: Any) -> Iterator[EmbeddedPostgres]:
    """A server for these tests alone, which they stop and start."""
    directory = tmp_path_factory.mktemp("restarted")
    with EmbeddedPostgres(directory, template=postgres_template, settings=FAST) as server:
        yield server


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_server_that_is_started_anew_is_followed_from_where_the_ledger_is(
    restarted: EmbeddedPostgres, kit: Kit, ledger: Ledger, how: Any
) -> None:
    leads = Leads(name=f"leads_{uuid.uuid4().hex}")
    with psycopg.connect(restarted.url(), autocommit=True) as crm:
        leads.create(crm)
        catcher = Catcher(kit, restarted.url(), leads, ledger)
        catcher.install()
        leads.add(crm, 1)
        catcher.drain()
        leads.add(crm, 2)
    catcher.admin.close()
    stopping = threading.Thread(target=restarted.stop, args=(how,))
    stopping.start()
    catcher.wait(lambda: catcher.turn().trouble is not None, "the server is gone")
    stopping.join()
    assert isinstance(catcher.turn().trouble, CrmUnavailable)
    restarted.start()
    with psycopg.connect(restarted.url(), autocommit=True) as crm:
        leads.add(crm, 3)
        catcher.url = catcher.admin_url = restarted.url()
        catcher.recover()
        assert catcher.keys == {"1", "2", "3"}
        assert catcher.captured == 3
        assert catcher.sweep() == 0
        catcher.close()
