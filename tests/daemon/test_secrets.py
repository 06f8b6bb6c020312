"""No token, no password and no field of a lead shows anywhere, at the most talkative level and whatever goes wrong."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from syncd.cli import main
from syncd.simulator import Fault
from tests.daemon.conftest import Start
from tests.support.process import Process
from tests.support.site import Site, simulated
from tests.support.waiting import eventually

MARK = "c4n4ry"
"""In every field and every secret; telephones, which are digits, have one of their own."""
DIGITS = ("3017654321", "7654321")


def is_clean(text: str, where: str) -> None:
    """No canary sings."""
    low = text.lower()
    for canary in (MARK, *DIGITS):
        at = low.find(canary)
        assert at < 0, f"{where}: ...{text[max(0, at - 200) : at + 100]}..."


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """A reader of the CRM, with a password."""
    name = f"reader_{uuid.uuid4().hex}"
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(f"{MARK}-password"))
        )
        yield name
        admin.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def talkative(tmp_path: Path, database: str, role: str) -> Iterator[Site]:
    """A site whose every secret and field is a canary, whose one sync works and whose others do not."""
    with simulated(tokens=(f"{MARK}-token",)) as simulator:
        site = Site(tmp_path, database, simulator)
        site.make_table()
        site.execute(f'GRANT SELECT ON leads TO "{role}"')
        (site.folder / "token").write_text(f"{MARK}-token\n")
        (site.folder / "crm-password").write_text(f"{MARK}-password\n")
        first = site.document["sync"][0]
        site.write(
            crm__url=database.replace("postgres@", f"{role}@"),
            crm__password_file="crm-password",
            delivery__batch_size=2,
            sync=[
                {**first, "dedupe": {"by": "tel1", "within_hours": 1}, "resend": "when-changed"},
                {**first, "name": "cast", "where": "document::int > 0"},
                {**first, "name": "divide", "where": "1 / (length(name) - length(name)) > 0"},
                {**first, "name": "right", "where": "pg_read_file(name) IS NOT NULL"},
            ],
        )
        yield site


def rows(site: Site, first: int, count: int, mobile: str = DIGITS[0]) -> None:
    """Leads whose every field is a canary."""
    site.execute(
        f"INSERT INTO leads (document, name, mobile, email) SELECT '{MARK}-' || i, '{MARK} Apellido {MARK}' || i,"
        f" %s, '{MARK}' || i || '@example.com' FROM generate_series(%s::int, %s::int) AS i",
        (mobile, first, first + count - 1),
    )


def look_everywhere(daemon: Process, site: Site) -> None:
    """The log, the pages, the process's own words and the ledger's bytes."""
    is_clean(daemon.output, "log")
    for path in ("/", "/status", "/metrics", "/readyz", "/livez", f"/{MARK}"):
        is_clean(daemon.get(path)[1], path)
    for name in ("cmdline", "environ"):
        is_clean(Path(f"/proc/{daemon.pid}/{name}").read_bytes().decode(errors="replace"), name)
    for file in site.folder.glob("ledger.db*"):
        is_clean(file.read_bytes().decode("latin-1"), file.name)


def test_nothing_of_a_lead_and_no_secret_shows(
    talkative: Site, start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    site, simulator = talkative, talkative.simulator
    quoting = f'{{"code":"%s","error":"{MARK}","msg":"{MARK} {DIGITS[0]}","data":[]}}'
    refused = '{"code":"404","error":[{"customer_id":"%s","error":"%s %s"}],"msg":"0 records has been added","data":[]}'
    simulator.script(
        Fault("reply", api="add_record", status=500, body=quoting % 500),
        Fault("reply", api="add_record", status=201, body=f"<html>{MARK}</html>"),
        Fault("reply", api="add_record", status=404, body=refused % (f"{MARK}-1", MARK, DIGITS[0])),
        Fault("cut-after", api="add_record"),
        Fault("redirect", api="add_record", location=f"http://127.0.0.1:9/{MARK}"),
        Fault("broken-json", api="add_record"),
    )
    rows(site, 1, 1)
    rows(site, 20, 2, mobile=f"{DIGITS[1]}x{MARK}")  # these are rejected
    daemon = start(site, hasty=True)
    for sync in ("cast", "divide", "right"):
        daemon.wait_for("intake.trouble", sync=sync)
    for number in range(2, 9):
        finished = len(daemon.events("call.finished"))
        rows(site, number, 1, mobile=f"30176543{number:02}")
        rows(site, number + 100, 1)
        eventually(
            lambda finished=finished: len(daemon.events("call.finished")) > finished,  # type: ignore[misc]
            f"call {number}",
        )
        look_everywhere(daemon, site)
        daemon.send(signal.SIGHUP)  # a new life has forgotten what the last reply made it wait for
        daemon.wait_for("sender.began", count=number)
    assert {event["level"] for event in daemon.events()} >= {"debug", "info", "warning", "error"}
    assert len(simulator.state.struck()) >= 4
    assert daemon.end() == 0
    for file in site.folder.glob("ledger.db*"):
        is_clean(file.read_bytes().decode("latin-1"), file.name)
    is_clean(daemon.output, "log")

    (site.folder / "crm-password").write_text(f"{MARK}-wrong\n")
    (site.folder / "token").write_text(f"{MARK}-other\n")
    for command in (
        ("status",),
        ("leads", "web"),
        ("leads", "web", "--state", "rejected"),
        ("leads", "web", "--json"),
        ("trace", "web", "1"),
        ("trace", "web", "2", "--json"),
        ("calls", "--json"),
        ("check",),
        ("preview", "web"),
    ):
        main([*command, "--config", str(site.config)])
        said = capfd.readouterr()
        is_clean(said.out + said.err, " ".join(command))
