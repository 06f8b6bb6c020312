"""One sender per ledger, whatever dies, freezes or starts at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from syncd.errors import SenderDeposed
from syncd.ledger import LEASE_SECS, Lease, Ledger, calls
from syncd.ledger.lease import this_process
from tests.support.ledgers import NOON, Scene, opened

ROOT = Path(__file__).parents[2]
ELSEWHERE = "another-host 00000000-0000-0000-0000-000000000000 7 7"

HOLD = """
import sys, time
from syncd.ledger.home import Home
from syncd.ledger.lease import Lease, this_process

home = Home(sys.argv[1])
lease = Lease(home, time.time, this_process())
for line in sys.stdin:
    word = line.strip()
    if word == "acquire":
        print(lease.acquire(), lease.term, flush=True)
    elif word == "renew":
        print(lease.renew(), lease.term, flush=True)
    elif word == "release":
        lease.release()
        print("released", flush=True)
"""


class Holder:
    """Another process that may hold the lease."""

    def __init__(self, url: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, url],
            cwd=ROOT,
            env=dict(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def say(self, word: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def holder(url: str) -> Iterator[Holder]:
    """A process that holds nothing yet, and is gone afterwards."""
    other = Holder(url)
    try:
        yield other
    finally:
        other.process.send_signal(signal.SIGCONT)
        other.kill()
        for pipe in (other.process.stdin, other.process.stdout):
            assert pipe is not None
            pipe.close()


def expire(ledger: Ledger) -> None:
    """Let the time of the lease pass, by the database's clock."""
    with ledger.home.write() as connection:
        connection.execute(text("UPDATE syncd.lease SET expires_at = expires_at - 3600"))


def mine(ledger: Ledger, name: str = "") -> Lease:
    return Lease(ledger.home, lambda: NOON, name or this_process())


def test_a_living_process_keeps_every_other_from_sending(home_url: str) -> None:
    with opened(home_url) as ledger, holder(home_url) as other:
        assert other.say("acquire") == "True 1"
        lease = mine(ledger)
        assert not lease.acquire()
        assert lease.term is None
        assert str(other.process.pid) in lease.other()
        assert other.say("renew") == "True 1"
        assert not lease.acquire()


def test_the_lease_of_a_process_that_died_is_taken_at_once(home_url: str) -> None:
    with opened(home_url) as ledger, holder(home_url) as other:
        assert other.say("acquire") == "True 1"
        other.kill()
        lease = mine(ledger)
        assert lease.acquire()
        assert lease.term == 2
        lease.close()


def test_a_process_that_died_and_was_not_buried_is_dead(home_url: str) -> None:
    with opened(home_url) as ledger, holder(home_url) as other:
        assert other.say("acquire") == "True 1"
        os.kill(other.process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, other.process.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
        lease = mine(ledger)
        assert lease.acquire()
        lease.close()


def test_a_lease_given_back_is_free_at_once(home_url: str) -> None:
    with opened(home_url) as ledger, holder(home_url) as other:
        assert other.say("acquire") == "True 1"
        assert other.say("release") == "released"
        lease = mine(ledger)
        assert lease.acquire()
        assert other.say("acquire") == "False None"
        lease.release()
        assert other.say("acquire") == "True 3"


def test_of_many_that_start_at_once_on_a_new_ledger_one_sends(home_url: str) -> None:
    with opened(home_url):
        count, gate = 4, threading.Barrier(4)
        won: list[bool] = []
        failed: list[BaseException] = []
        leases: list[Lease] = []

        def start() -> None:
            with opened(home_url, prepare=False) as own:
                lease = mine(own)
                leases.append(lease)
                gate.wait()
                try:
                    won.append(lease.acquire())
                except BaseException as error:  # noqa: BLE001  # shown below, whatever it is
                    failed.append(error)

        threads = [threading.Thread(target=start) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for lease in leases:
            lease.close()
        assert failed == []
        assert sorted(won) == [False, False, False, True]


def test_each_takeover_raises_the_term(home_url: str) -> None:
    with opened(home_url) as ledger:
        terms = []
        for _ in range(3):
            lease = mine(ledger)
            assert lease.acquire()
            terms.append(lease.term)
            lease.release()
            assert lease.term is None
        assert terms == [1, 2, 3]


def test_a_sender_on_another_host_is_believed_until_its_lease_expires(shared_database: str) -> None:
    with opened(shared_database) as ledger:
        far, near = mine(ledger, ELSEWHERE), mine(ledger)
        assert far.acquire()
        assert not near.acquire()
        assert far.renew()
        expire(ledger)
        assert near.acquire()
        assert near.term == 2
        assert not far.renew()
        assert far.term is None


def test_a_lease_lives_by_the_databases_clock(shared_database: str) -> None:
    """Its own process has a clock of 2026; whatever that says, the lease lasts as long as Postgres says."""
    with opened(shared_database) as ledger:
        lease = mine(ledger, ELSEWHERE)
        assert lease.acquire()
        for moment in ("acquired", "renewed"):
            with ledger.home.read() as connection:
                left = connection.scalar(
                    text("SELECT expires_at - extract(epoch FROM clock_timestamp()) FROM syncd.lease")
                )
            assert LEASE_SECS - 5 < float(left or 0) <= LEASE_SECS, moment
            with ledger.home.write() as connection:
                connection.execute(text("UPDATE syncd.lease SET expires_at = expires_at - 10"))
            assert lease.renew()


@pytest.mark.parametrize(
    ("what", "place"), [("another boot", 1), ("another host", 0), ("another process id of ours", 2)]
)
def test_only_a_process_of_this_host_can_be_seen_to_be_dead(shared_database: str, what: str, place: int) -> None:
    words = this_process().split(" ")
    words[place] = str(2**22 + 1) if place == 2 else "elsewhere"  # beyond the highest process id there can be
    with opened(shared_database) as ledger:
        assert mine(ledger, " ".join(words)).acquire()
        assert mine(ledger).acquire() is (place == 2)


def test_a_process_id_that_was_used_again_is_another_process(shared_database: str) -> None:
    words = this_process().split(" ")
    with opened(shared_database) as ledger:
        assert mine(ledger, " ".join([*words[:-1], "1"])).acquire()
        assert mine(ledger).acquire()


def test_the_same_process_is_not_dead(shared_database: str) -> None:
    with opened(shared_database) as ledger:
        assert mine(ledger).acquire()
        assert not mine(ledger).acquire()


def test_a_process_that_may_not_be_looked_at_is_alive(shared_database: str) -> None:
    """Process 1 is another's; whoever may not see when it began must not take it for dead."""
    words = this_process().split(" ")
    with opened(shared_database) as ledger:
        assert mine(ledger, " ".join([*words[:2], "1", "?"])).acquire()
        assert not mine(ledger).acquire()


def test_a_deposed_sender_writes_no_intent_and_gives_up_no_call(shared_database: str) -> None:
    with opened(shared_database) as ledger:
        scene = Scene(ledger)
        scene.capture("a", "b")
        number = scene.intend("a")
        expire(ledger)
        heir = mine(ledger)
        assert heir.acquire()
        with pytest.raises(SenderDeposed):
            scene.intend("b", term=1)
        with pytest.raises(SenderDeposed):
            ledger.give_up_intended(1, NOON)
        assert heir.term is not None
        assert ledger.give_up_intended(heir.term, NOON) != []
        assert scene.states() == {"a": "held", "b": "pending"}
        scene.accept(number)  # what the deposed one learnt of its last call is the truth all the same
        assert scene.states() == {"a": "delivered", "b": "pending"}


def test_a_sender_that_was_frozen_and_thawed_finds_that_it_was_deposed(shared_database: str) -> None:
    with opened(shared_database) as ledger, holder(shared_database) as other:
        assert other.say("acquire") == "True 1"
        other.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, other.process.pid, os.WSTOPPED | os.WNOWAIT)
        lease = mine(ledger)
        assert not lease.acquire(), "frozen is not dead"
        expire(ledger)
        assert lease.acquire()
        other.process.send_signal(signal.SIGCONT)
        assert other.say("renew") == "False None"
        assert lease.renew()


def test_a_frozen_sender_keeps_a_sqlite_ledger(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with opened(url) as ledger, holder(url) as other:
        assert other.say("acquire") == "True 1"
        other.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, other.process.pid, os.WSTOPPED | os.WNOWAIT)
        assert not mine(ledger).acquire()
        other.process.send_signal(signal.SIGCONT)
        assert other.say("renew") == "True 1"


def test_nobody_takes_over_between_the_check_of_the_term_and_the_commit(shared_database: str) -> None:
    with opened(shared_database) as ledger, opened(shared_database, prepare=False) as second:
        scene = Scene(ledger)
        scene.capture("a")
        expire(ledger)  # the lease is free, and its holder does not know it yet
        waited = threading.Event()
        heir = mine(second)

        def take_over() -> None:
            heir.acquire()
            waited.set()

        thread = threading.Thread(target=take_over)
        with ledger.home.write() as connection:
            calls.check_term(connection, ledger.home, scene.term)
            thread.start()
            assert not waited.wait(0.3), "the takeover waits for the transaction that checked"
            calls.intend(connection, ledger.home, scene.term, scene.intent("a"), 1, scene.sync_id)
        thread.join()
        assert heir.term == 2
        assert ledger.give_up_intended(2, NOON) != [], "and then sees the intent"
