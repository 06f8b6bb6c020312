"""No token, no password and no field of a lead shows while the real process meets the faults of the matrix.

`test_matrix` listens to what the client says and looks into the ledger after each fault; here it is the process: its
log at the most talkative level, its pages, its arguments and environment, and the ledger, while calls go wrong and are
verified.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select

from syncd.ledger.schema import metadata
from tests.faults.front import MARK, TROUBLES, Front, fronted
from tests.faults.test_kills import IMPATIENT
from tests.support.ledgers import opened
from tests.support.process import Process
from tests.support.site import Site, simulated
from tests.support.waiting import eventually

DIGITS = "3017654"
"""The beginning of every telephone."""
CHOSEN = (
    "connect: reset at the first byte",
    "head: reset after the headers",
    "wait: reset",
    "status: garbage",
    "headers: one without a colon",
    "headers: 302 Found",
    "reply: a page",
    "reply: a NUL",
    "reply: a lone surrogate, refused",
    "reply: chunks of garbage",
    "reply: 404 Not Found, new words",
    "reply: 500 Broken, a page",
)


def is_clean(words: str, where: str) -> None:
    """No canary sings."""
    low = words.lower()
    for canary in (MARK, DIGITS):
        place = low.find(canary)
        assert place < 0, f"{where}: ...{low[max(0, place - 200) : place + 100]}..."


def look_everywhere(daemon: Process, site: Site, home_url: str) -> None:
    """Whatever of the process others can see."""
    is_clean(daemon.output, "log")
    for path in ("/", "/status", "/metrics", "/readyz", "/livez"):
        is_clean(daemon.get(path)[1], path)
    for name in ("cmdline", "environ"):
        is_clean(Path(f"/proc/{daemon.pid}/{name}").read_bytes().decode(errors="replace"), name)
    for file in site.folder.glob("ledger.db*"):
        with suppress(FileNotFoundError):
            is_clean(file.read_bytes().decode("latin-1"), file.name)
    with opened(home_url, prepare=False) as ledger, ledger.home.read() as connection:
        for table in metadata.tables.values():
            is_clean(str(connection.execute(select(table)).all()), table.name)


def delivered(home_url: str, count: int) -> bool:
    """Whether so many leads are delivered, and no call is unresolved."""
    with opened(home_url, prepare=False) as ledger:
        return ledger.tally() == {(1, "delivered"): count} and ledger.unresolved_calls() == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("home", ["sqlite", "postgres"])
def test_no_canary_sings_in_the_process(home: str, database: str, tmp_path: Path) -> None:
    with simulated(tokens=(f"{MARK}-token",)) as simulator, fronted() as front:
        front.target = simulator.base_url
        site = Site(tmp_path, database, simulator, "sqlite" if home == "sqlite" else database)
        site.make_table()
        (site.folder / "token").write_text(f"{MARK}-token\n")
        site.write(wolkvox__base_url=front.server.url, delivery__max_wait_secs=1, delivery__batch_size=2)
        home_url = f"sqlite:///{site.ledger_file}" if home == "sqlite" else database
        daemon = Process(site.config, tmp_path / "log", program=IMPATIENT)
        try:
            daemon.wait_until_sending()
            meet_them_all(daemon, site, front, home_url)
            assert "Traceback" not in daemon.output
            assert daemon.end(signal.SIGTERM) == 0
        finally:
            daemon.kill()
        is_clean(daemon.output, "log")
        assert set(site.accepted().values()) == {1}
        assert len(site.accepted()) == len(CHOSEN)


def meet_them_all(daemon: Process, site: Site, front: Front, home_url: str) -> None:
    """One lead after the other meets its fault, and is brought to its end."""
    chosen = [trouble for trouble in TROUBLES if str(trouble) in CHOSEN]
    assert len(chosen) == len(CHOSEN)
    for number, trouble in enumerate(chosen):
        assert trouble.meet is not None
        front.arm(trouble.meet, stored=bool(trouble.stored[-1]))
        with psycopg.connect(site.crm, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO leads (document, name, mobile, email) VALUES (%s, %s, %s, %s)",
                (f"{MARK}-{number}", f"{MARK} Apellido", f"{DIGITS}{number:03}", f"{MARK}@example.com"),
            )
        eventually(lambda count=number + 1: delivered(home_url, count), f"the end of {trouble}", secs=60, look_secs=0.1)  # type: ignore[misc]
        look_everywhere(daemon, site, home_url)
