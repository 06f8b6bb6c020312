"""Whatever the order of commits: what is captured is what a reader sees at the end, and a broken capture is caught."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql

from syncd.capture import Page, Position, Resumed, Source
from syncd.capture.listen import ListenSource
from syncd.capture.poll import PollSource
from syncd.capture.slot import SlotSource
from syncd.embedded import EmbeddedPostgres
from syncd.errors import LedgerUnavailable
from syncd.ledger import Ledger
from syncd.model import Instant
from tests.capture.harness import Catcher, Kit, Leads, Refusing
from tests.capture.history import WRITERS, History, Writer, begin
from tests.capture.kits import KITS, LISTEN, POLL, SLOT
from tests.conftest import FAST

GROUPS = 8
EACH = int(os.environ.get("SYNCD_HISTORIES", "200")) // GROUPS
"""SYNCD_HISTORIES=5000 plays thousands, of each way of capturing."""
STEPS = 40


@pytest.fixture
def writers(database: str) -> Iterator[list[Writer]]:
    made = [Writer(psycopg.connect(database)) for _ in range(WRITERS)]
    yield made
    for writer in made:
        writer.connection.close()


def faults_of(history: History, *, sweep: bool = True) -> list[str]:
    """What is wrong at the end of a history, in words."""
    try:
        history.play(STEPS)
        history.settle()
        return judge(history, sweep=sweep)
    finally:
        history.end("ROLLBACK")  # where it was cut short
        history.catcher.close()


def judge(history: History, *, sweep: bool = True) -> list[str]:
    """The same for one that has been played, and is at rest."""
    catcher, reader = history.catcher, history.writers[0].connection
    catcher.backfill()
    seen = set(catcher.leads.visible(reader))
    unseen = history.hidden if catcher.kit.name == "listen" else set()
    faults = []
    if catcher.kit.follows or catcher.leads.lookback_secs > 60:
        faults += [f"{key} was missed" for key in seen - catcher.keys - unseen]
    if sweep:
        found = catcher.sweep()
        if not faults and found > len(unseen) and catcher.kit.follows:
            faults.append(f"the sweep found {found}, and {len(unseen)} were hidden")
    known = catcher.keys
    faults += [f"{key} is missing after the sweep" for key in seen - known if sweep]
    faults += [f"{key} was never there" for key in known - history.committed]
    if history.ledger.taken != len(known):
        faults.append(f"{history.ledger.taken} captures for {len(known)} leads")
    faults += [f"a gap for nothing: {result.gap}" for result in catcher.results if result.gap is not None]
    return faults + changes_unseen(history, sorted(seen & known))


def changes_unseen(history: History, keys: list[str]) -> list[str]:
    """Which of the rows that are changed now are not seen to change, and which others are."""
    catcher, writer = history.catcher, history.writers[0].connection
    chosen = {key for key in keys if history.chance.random() < 0.3}
    before = catcher.versions
    mark = "nextval('marks')" if catcher.leads.mark_type == "bigint" else "clock_timestamp()"
    writer.execute(f"UPDATE leads SET updated_at = {mark} WHERE id::text = ANY(%s)".encode(), (list(chosen),))
    writer.commit()
    catcher.drain()
    after = catcher.versions
    changed = {key for key, version in after.items() if before.get(key) != version}
    return [f"{key} changed unseen" for key in chosen - changed] + [
        f"{key} changed for nothing" for key in changed - chosen if catcher.kit.follows
    ]


@pytest.mark.parametrize("kit_name", KITS)
@pytest.mark.parametrize("group", range(GROUPS))
def test_what_is_captured_is_what_a_reader_sees_at_the_end(
    database: str, writers: list[Writer], ledger: Ledger, pages_of_seven: None, kit_name: str, group: int
) -> None:
    for seed in range(group * EACH, (group + 1) * EACH):
        history = begin(KITS[kit_name], database, ledger, writers, seed)
        assert faults_of(history) == [], f"seed {seed}"


# -- servers that are started anew, and writers that really are at work together ---------------------------------------


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory, postgres_template: Any) -> Iterator[EmbeddedPostgres]:
    """A server that the histories may stop."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("own"), template=postgres_template, settings=FAST) as server:
        yield server


@pytest.mark.parametrize("kit_name", KITS)
def test_a_server_that_is_started_anew_in_the_middle_loses_nothing(
    own_server: EmbeddedPostgres, ledger: Ledger, pages_of_seven: None, kit_name: str
) -> None:
    for seed in range(3):
        writers = [Writer(psycopg.connect(own_server.url())) for _ in range(WRITERS)]
        history = begin(KITS[kit_name], own_server.url(), ledger, writers, seed, lookback_secs=300.0)
        for mode in ("immediate", "fast"):
            history.play(STEPS // 2)
            if mode == "fast":  # else it is a crash, in the middle of the transactions
                history.end()
            stop(own_server, history.catcher, mode)
            own_server.start()
            for writer in writers:
                history._end(writer, "ROLLBACK")
                writer.connection.close()
                writer.connection = psycopg.connect(own_server.url())
            history.ledger.refuse = 0
            history.catcher.recover()
        history.play(STEPS // 2)
        assert faults_of(history) == [], f"seed {seed}"
        for writer in writers:
            writer.connection.close()


def stop(server: EmbeddedPostgres, catcher: Catcher, mode: Any) -> None:
    """Stop the server under a syncd that goes on meanwhile: a slow reader of a slot would make it wait."""
    catcher.admin.close()
    stopping = threading.Thread(target=server.stop, args=(mode,))
    stopping.start()
    while stopping.is_alive():
        with suppress(LedgerUnavailable):
            catcher.turn()
        stopping.join(0.01)


def write(url: str, number: int, until: float, hidden: set[str]) -> None:
    """One writer: transactions of a millisecond to half a second, with all that a CRM does in them."""
    chance = random.Random(number)
    keys = iter(range(number * 1_000_000, (number + 1) * 1_000_000))
    with psycopg.connect(url) as connection:
        while time.monotonic() < until:
            mine = [next(keys) for _ in range(chance.choice((1, 1, 2, 30)))]
            connection.execute("INSERT INTO leads (id) SELECT * FROM unnest(%s::bigint[])", (mine,))
            time.sleep(chance.choice((0.001, 0.001, 0.01, 0.05, 0.5 if chance.random() < 0.1 else 0.0)))
            if chance.random() < 0.3:
                connection.execute(
                    "UPDATE leads SET updated_at = clock_timestamp() WHERE id IN (SELECT id FROM leads"
                    " WHERE id %% 7 = %s LIMIT 5 FOR UPDATE SKIP LOCKED)",
                    (chance.randrange(7),),
                )
            if chance.random() < 0.1:
                connection.execute("DELETE FROM leads WHERE id = %s", (mine[0],))
            if chance.random() < 0.05:
                key = next(keys)
                connection.execute("SET LOCAL session_replication_role = replica")
                connection.execute("INSERT INTO leads (id) VALUES (%s)", (key,))
                connection.execute("SET LOCAL session_replication_role = origin")
                hidden.add(str(key))
            if chance.random() < 0.1:
                connection.rollback()
            else:
                connection.commit()


def faults_with_threads(kit: Kit, url: str, ledger: Ledger, secs: float, **described: Any) -> list[str]:
    """What is wrong after some seconds of eight writers, a syncd that is killed and restarted among them."""
    leads = Leads(**({"lookback_secs": 300.0} | described))
    refusing = Refusing(ledger)
    with psycopg.connect(url, autocommit=True) as admin:
        leads.create(admin)
        catcher = Catcher(kit, url, leads, refusing)
        catcher.install()
        chance, hidden, until = random.Random(0), set[str](), time.monotonic() + secs
        threads = [threading.Thread(target=write, args=(url, n, until, hidden)) for n in range(WRITERS)]
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                befalls = chance.random()
                if befalls < 0.01:
                    catcher.kill(admin)
                elif befalls < 0.02:
                    catcher.restart()
                if not catcher.turn().more:
                    catcher.listen()
            catcher.recover()
            seen, known = set(leads.visible(admin)), catcher.keys
            faults = [f"{key} was missed" for key in sorted(seen - known - hidden)]
            catcher.sweep()
            faults += [f"{key} is missing after the sweep" for key in sorted(seen - catcher.keys)]
            if refusing.taken != len(catcher.keys):
                faults.append(f"{refusing.taken} captures for {len(catcher.keys)} leads")
            return faults + [f"a gap for nothing: {result.gap}" for result in catcher.results if result.gap]
        finally:
            for thread in threads:
                thread.join()
            catcher.close()


@pytest.mark.parametrize("kit_name", KITS)
def test_with_eight_writers_at_once_nothing_is_missed(database: str, ledger: Ledger, kit_name: str) -> None:
    assert faults_with_threads(KITS[kit_name], database, ledger, 3.0) == []


# -- what is broken is caught ------------------------------------------------------------------------------------


class Hasty:
    """Acknowledges what it reads before the ledger has it: moves on, empties the outbox, confirms the slot."""

    def read(self, now: Instant) -> Page:
        page: Page = super().read(now)  # type: ignore[misc]
        super().acknowledge(page, now)  # type: ignore[misc]
        return page

    def acknowledge(self, page: Page, now: Instant) -> None:
        """Too late."""


class HastyPoll(Hasty, PollSource): ...


class HastyListen(Hasty, ListenSource): ...


class HastySlot(Hasty, SlotSource): ...


class Strict(PollSource):
    """Goes on behind the last watermark, and not behind the last row."""

    def _query(self) -> sql.Composed:
        query = super()._query()
        if self._cursor is None:
            return query
        return sql.Composed([sql.SQL(query.as_string().replace(" >= ", " > "))])


class ByText(PollSource):
    """Sorts by what a bare name in ORDER BY means: the text in the SELECT list."""

    def _qualified(self, column: str) -> sql.Identifier:
        return sql.Identifier(column)


class Forgetful(PollSource):
    """Does not look behind the watermark."""

    def _floor(self, *, whole: bool = True) -> sql.Composable | None:
        return self._now_or_watermark()


class ById(ListenSource):
    """Takes rows of the outbox whose number is larger than the last, as if they became visible in that order."""

    last = 0

    def read(self, now: Instant) -> Page:
        page = super().read(now)
        numbers = [int(change.version.partition(".")[2]) for change in page.changes]
        kept = [change for change, number in zip(page.changes, numbers, strict=True) if number > self.last]
        self.last = max((self.last, *numbers))
        return replace(page, changes=kept)


class FromNow(SlotSource):
    """Begins anew at the end of the WAL."""

    def resume(self, position: Position) -> Resumed:
        end = self.mark()
        resumed = super().resume(replace(position, watermark=end or position.watermark))
        return replace(resumed, watermark=end or resumed.watermark)


def without_a_sweep(source: type[Source]) -> type[Source]:
    """A source whose scan, when it comes to the sweep, finds nothing."""
    return type(f"Unswept{source.__name__}", (source,), {"scan": lambda self, after, limit: []})


def broken(kit: Kit, source: type[Any]) -> Kit:
    """A kit that makes such a source."""

    def make(*given: Any) -> Source:
        made: Any = kit.make(*given)
        made.__class__ = type(source.__name__, (source, type(made)), {}) if type(made) not in source.__mro__ else source
        return made  # type: ignore[no-any-return]

    return replace(kit, make=make)


BROKEN = {
    "poll: acknowledges first": (POLL, HastyPoll),
    "poll: > for >=": (POLL, Strict),
    "poll: sorts by text": (POLL, ByText),
    "poll: no look-back": (POLL, Forgetful),
    "listen: deletes first": (LISTEN, HastyListen),
    "listen: by id": (LISTEN, ById),
    "listen: no sweep": (LISTEN, without_a_sweep(ListenSource)),
    "slot: confirms first": (SLOT, HastySlot),
    "slot: from now": (SLOT, FromNow),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_histories_catch_a_broken_capture(
    database: str, writers: list[Writer], ledger: Ledger, pages_of_seven: None, what: str
) -> None:
    kit, source = BROKEN[what]
    for seed in range(40):
        history = begin(broken(kit, source), database, ledger, writers, seed, lookback_secs=300.0)
        try:
            faults = faults_of(history)
        except AssertionError:
            continue
        if any("missed" in fault or "missing" in fault or "gap" in fault for fault in faults):
            return
    pytest.fail(f"{source.__name__} went through")


def test_without_a_look_back_and_a_sweep_the_histories_find_a_gap(
    database: str, writers: list[Writer], ledger: Ledger, pages_of_seven: None
) -> None:
    for seed in range(0, 90, 3):
        history = begin(broken(POLL, Forgetful), database, ledger, writers, seed, lookback_secs=0.0)
        history.play(STEPS)
        history.settle()
        missed = set(history.catcher.leads.visible(writers[0].connection)) - history.catcher.keys
        writers[0].connection.commit()
        history.catcher.close()
        if missed:
            return
    pytest.fail("there was no gap to find")
