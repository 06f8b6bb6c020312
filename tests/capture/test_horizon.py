"""Polling looks back to where a transaction is still open, if the role may see that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from syncd.ledger import Ledger
from tests.capture.harness import Catcher, Leads
from tests.capture.kits import POLL

Connect = Callable[[], psycopg.Connection]
Watch = Callable[..., Catcher]


@pytest.fixture
def watch(database: str, crm: psycopg.Connection, ledger: Ledger) -> Iterator[Watch]:
    """``watch(sees=False)`` polls as a role that may read the table, and ``sees`` what is open or not."""
    role = urlsplit(database).path.strip("/").replace("test_", "role_")
    made: list[Catcher] = []
    crm.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'made-up'")

    def watch(*, sees: bool, lookback_secs: float) -> Catcher:
        leads = Leads(lookback_secs=lookback_secs)
        leads.create(crm)
        crm.execute(f"GRANT SELECT (id, updated_at, note) ON leads TO {role}")
        if sees:
            crm.execute(f"GRANT pg_read_all_stats TO {role}")
        parts = urlsplit(database)
        made.append(Catcher(POLL, database, leads, ledger))
        made[-1].url = urlunsplit(parts._replace(netloc=f"{role}:made-up@{parts.hostname}:{parts.port}"))
        made[-1].restart()
        return made[-1]

    yield watch
    for catcher in made:
        catcher.close()
    crm.execute(f"DROP OWNED BY {role}")
    crm.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("sees", [True, False])
def test_a_transaction_longer_than_the_look_back_is_waited_for_by_who_can_see_it(
    watch: Watch, crm: psycopg.Connection, connect: Connect, *, sees: bool
) -> None:
    catcher = watch(sees=sees, lookback_secs=0)
    catcher.leads.add(crm, 1)
    catcher.drain()
    late = connect()
    catcher.leads.add(late, 2)
    catcher.drain()
    catcher.leads.add(crm, 3)
    catcher.drain()
    late.commit()
    catcher.drain()
    assert catcher.keys == ({"1", "2", "3"} if sees else {"1", "3"})
    assert catcher.sweep() == (0 if sees else 1), "the sweep is the guarantee"
    assert catcher.keys == {"1", "2", "3"}


def test_it_is_seen_even_if_it_began_between_two_looks_and_wrote_later(
    watch: Watch, crm: psycopg.Connection, connect: Connect
) -> None:
    catcher = watch(sees=True, lookback_secs=0)
    catcher.drain()
    for number in range(6):
        late = connect()
        late.execute("SELECT now()")
        catcher.leads.add(crm, 10 * number)
        catcher.turn()
        catcher.leads.add(late, 10 * number + 1)
        catcher.leads.add(crm, 10 * number + 2)
        if number % 2:
            catcher.turn()
        late.commit()
    catcher.drain()
    assert catcher.keys == set(catcher.leads.visible(crm))


def test_passes_read_little_and_now_and_then_the_whole_look_back(watch: Watch, crm: psycopg.Connection) -> None:
    catcher = watch(sees=True, lookback_secs=300)
    for key in range(100):
        crm.execute("INSERT INTO leads VALUES (%s, now() - interval '60 s')", (key,))
    catcher.leads.add(crm, 100)
    catcher.drain()
    catcher.turn()
    assert [catcher.turn().rows for _ in range(5)] == [1] * 5
    catcher.clock.advance(300 / 4)
    assert catcher.turn().rows == 101, "a watermark may be set by a clock that is behind"
    assert catcher.turn().rows == 1


def test_a_row_dated_by_a_clock_that_is_behind_is_found_within_the_look_back(
    watch: Watch, crm: psycopg.Connection
) -> None:
    catcher = watch(sees=True, lookback_secs=300)
    catcher.leads.add(crm, 1)
    catcher.drain()
    crm.execute("INSERT INTO leads VALUES (2, now() - interval '200 s')")
    for _ in range(300 // 4 // 5 + 2):
        catcher.turn()
    assert catcher.keys == {"1", "2"}


def test_without_the_right_each_pass_reads_the_look_back(watch: Watch, crm: psycopg.Connection) -> None:
    catcher = watch(sees=False, lookback_secs=300)
    crm.execute("INSERT INTO leads VALUES (1, now() - interval '60 s'), (2, now())")
    catcher.drain()
    assert [catcher.turn().rows for _ in range(5)] == [2] * 5
