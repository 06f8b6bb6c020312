"""No token, no password and no field of a lead shows while the real process meets every fault of the matrix.

`test_matrix` listens to what the client says and looks into the ledger after each fault; here it is the process: its
log at the most talkative level, its pages, its arguments and environment, its files and the ledger, while calls and the
questions of verification go wrong; and what it leaves behind when it crashes.
"""

from __future__ import annotations

import base64
import signal
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import select

from syncd.ledger.schema import metadata
from tests.docs.pages import ROOT
from tests.faults.front import MARK, TROUBLES, Front, Meet, Trouble, fronted
from tests.faults.test_kills import IMPATIENT
from tests.support.ledgers import opened
from tests.support.process import Process
from tests.support.site import Site, simulated
from tests.support.waiting import eventually

DIGITS = "3017654"
"""The beginning of every telephone."""
SECRETS = {
    "token": f"{MARK}-token",
    "crm-password": f"{MARK}-password",
    "ledger-password": f"{MARK}-password-of-the-ledger",
    "hash-key": f"{MARK}-key-of-the-hashes-0123456789",
}
"""Files that hold them, which is the one place where they may be."""
PROGRAM = (
    "import syncd.wolkvox\n"
    "whole = syncd.wolkvox.Wolkvox.__init__\n"
    "syncd.wolkvox.Wolkvox.__init__ = lambda self, *given: whole(self, *given[:3], 0.4)\n"
    + IMPATIENT.replace("(0.5,) * 5", "(0.05,) * 5").replace("SERVER_SECS = 0.3", "SERVER_SECS = 0.05")
)
"""Still more impatient, for wolkvox takes none of the calls: one may last 0.4 s, and nobody waits for its end."""
BURST = 15
"""So many faults are met between two looks."""
MET = [trouble for trouble in TROUBLES if trouble.meet is not None]
"""Those of which nothing can be met on a line (refused, never answered) are the matrix's alone."""
CANARIES = (
    MARK,
    DIGITS,
    MARK.encode().hex(),  # as Postgres writes bytes
    DIGITS.encode().hex(),
    base64.b64encode(f"{MARK}-".encode()).decode()[:8].lower(),
)


def is_clean(words: str, where: str) -> None:
    """No canary sings."""
    low = words.lower()
    for canary in CANARIES:
        place = low.find(canary)
        assert place < 0, f"{where}: ...{low[max(0, place - 200) : place + 100]}..."


def look_at_files(site: Site) -> None:
    """Whatever lies in the site's folder (the ledger, its WAL, the witness, a log), but for the secrets' own files."""
    for file in site.folder.rglob("*"):
        if file.is_file() and file.name not in SECRETS:
            with suppress(FileNotFoundError):
                is_clean(file.read_bytes().decode("latin-1"), file.name)


def look_at_ledger(home_url: str) -> None:
    """Every row as text; of Postgres, with every other table that is there, and what the sessions ran last."""
    with opened(home_url, prepare=False) as ledger, ledger.home.read() as connection:
        for table in metadata.tables.values():
            is_clean(str(connection.execute(select(table)).all()), table.name)
    if home_url.startswith("sqlite:"):
        return
    with psycopg.connect(home_url, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND tablename <> 'leads'"
        ).fetchall()
        assert len(tables) > len(metadata.tables)  # with Alembic's
        for schema, name in tables:
            dump = sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(schema, name))
            is_clean(str(connection.execute(dump).fetchall()), name)
        ran = connection.execute("SELECT query, application_name FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        is_clean(str(ran.fetchall()), "pg_stat_activity")


def look_everywhere(daemon: Process, site: Site, home_url: str) -> None:
    """Whatever of the process others can see."""
    is_clean(daemon.output, "log")
    for path in ("/", "/status", "/metrics", "/readyz", "/livez", "/no-such-page"):
        is_clean(daemon.get(path)[1], path)
    for name in ("cmdline", "environ", "comm"):
        is_clean(Path(f"/proc/{daemon.pid}/{name}").read_bytes().decode(errors="replace"), name)
    for thread in Path(f"/proc/{daemon.pid}/task").glob("*/comm"):
        with suppress(OSError):
            is_clean(thread.read_text(), "name of a thread")
    look_at_files(site)
    look_at_ledger(home_url)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("home", ["sqlite", "postgres"])
def test_no_canary_sings_in_the_process(
    home: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a core would be written here
    with simulated(tokens=(SECRETS["token"],)) as simulator, fronted() as front:
        front.target = simulator.base_url
        site = Site(tmp_path, database, simulator, "sqlite" if home == "sqlite" else database)
        site.make_table()
        for name, secret in SECRETS.items():
            (site.folder / name).write_text(f"{secret}\n")
        site.write(
            crm__password_file="crm-password",
            wolkvox__base_url=front.server.url,
            delivery__max_wait_secs=1,
            delivery__batch_size=2,
            **({"ledger__password_file": "ledger-password"} if home == "postgres" else {}),
        )
        home_url = f"sqlite:///{site.ledger_file}" if home == "sqlite" else database
        environ = {"PYTHONFAULTHANDLER": "1", "PYTHONPATH": str(ROOT)}
        daemon = Process(site.config, tmp_path / "log", program=PROGRAM, environ=environ)
        try:
            daemon.wait_until_sending()
            meet_them_all(daemon, site, front, home_url)
            assert "Traceback" not in daemon.output
            assert {event["level"] for event in daemon.events()} >= {"debug", "info", "warning"}
            # faulthandler reads what the other threads do while they do it, and may stumble over it
            assert daemon.end(signal.SIGABRT) in (-signal.SIGABRT, -signal.SIGSEGV)
        finally:
            daemon.kill()
        assert "Fatal Python error: Aborted" in daemon.output
        is_clean(daemon.output, "log of a crash")
        look_at_files(site)
        look_at_ledger(home_url)
        assert not list(tmp_path.glob("core*"))
        assert set(site.accepted().values()) <= {1}


def meet_them_all(daemon: Process, site: Site, front: Front, home_url: str) -> None:
    """Calls, and the questions that follow them, meet one fault after the other; wolkvox takes none of those calls."""
    met: list[str] = []

    def noted(trouble: Trouble) -> Meet:
        assert trouble.meet is not None
        meet = trouble.meet

        def note(*given: object) -> None:
            met.append(str(trouble))
            meet(*given)  # type: ignore[arg-type]

        return note

    for first in range(0, len(MET), BURST):
        burst = MET[first : first + BURST]
        for trouble in burst:
            front.arm(noted(trouble), stored=False)
        with psycopg.connect(site.crm, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO leads (document, name, mobile, email) SELECT %s || i, %s, %s || i, %s"
                " FROM generate_series(%s::int, %s::int) AS i",
                (
                    f"{MARK}-",
                    f"{MARK} Apellido",
                    DIGITS,
                    f"{MARK}@example.com",
                    100 + 2 * first,
                    99 + 2 * (first + len(burst)),
                ),
            )
        count = first + len(burst)
        eventually(lambda count=count: len(met) >= count, f"{count} faults; met: {met[-3:]}", secs=60)  # type: ignore[misc]
        look_everywhere(daemon, site, home_url)
    assert sorted(met) == sorted(map(str, MET))  # two may be met at once, where one is left at its deadline
