"""One embedded server: its data directory, its start, its end."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

from syncd.embedded.account import OURSELVES, account_for, copy_programs, environment, wheel_bindir
from syncd.embedded.settings import DEFAULT_SETTINGS, configure
from syncd.embedded.watcher import Watcher
from syncd.errors import EnvironmentFault

START_TIMEOUT_SECS = 60.0
STOP_TIMEOUT_SECS = 30.0
SOCKET_PATH_LIMIT = 107 - len("/.s.PGSQL.65535.lock")
"""The longest directory for a Unix socket, in bytes: sockaddr_un holds 107."""

STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class EmbeddedPostgres:
    """One server, as a context manager or by `start()` and `stop()`. Not for several threads at once.

    Args:
        directory: where the data and the log live. It is kept, and a later start finds its data again.
            None: a temporary one, removed by `stop()`.
        settings: server settings beside DEFAULT_SETTINGS, by their Postgres names, e.g. `{"fsync": "off"}`.
        bindir: the directory of `postgres` and `initdb`, version 14 or later. None: that of the wheel.
        template: a data directory from `make_template()` of a server with the same password, copied instead
            of running initdb (some 0.1 s instead of 0.5 s).
        password: of the superuser `postgres`, set when the data directory is made. None: it needs none.

    Raises:
        EnvironmentFault: the wheel is not installed, or `bindir` holds no Postgres.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        bindir: Path | None = None,
        template: Path | None = None,
        password: str | None = None,
    ) -> None:
        self.bindir: Path = bindir if bindir is not None else wheel_bindir()
        """Where psql, pg_dump and the other programs are."""
        if not (self.bindir / "postgres").is_file():
            raise EnvironmentFault(f"There is no PostgreSQL server in {self.bindir}.")
        self._given = directory
        self._settings = {**DEFAULT_SETTINGS, **(settings or {})}
        self._template = template
        self._password = password
        # All that changes between start and stop:
        self._directory: Path | None = None
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: Watcher | None = None
        self._account = OURSELVES
        self._programs = self.bindir
        self._sockets: Path | None = None
        self._temporary: list[Path] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def directory(self) -> Path:
        """Where the data (`data/`) and the log (`postgres.log`) are.

        Raises:
            EnvironmentFault: the server was not started.
        """
        if self._directory is None:
            raise EnvironmentFault("The embedded PostgreSQL is not running.")
        return self._directory

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1. It stays the same from one start to the next where it can.

        Raises:
            EnvironmentFault: the server was not started.
        """
        if self._process is None or self._port is None:
            raise EnvironmentFault("The embedded PostgreSQL is not running.")
        return self._port

    @property
    def pid(self) -> int:
        """The process id of the postmaster.

        Raises:
            EnvironmentFault: the server was not started.
        """
        if self._process is None:
            raise EnvironmentFault("The embedded PostgreSQL is not running.")
        return self._process.pid

    def url(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        """A libpq URL over TCP; for `postgres` it carries the server's password, if there is one.

        Raises:
            EnvironmentFault: the server was not started.
        """
        if password is None and user == "postgres":
            password = self._password
        secret = "" if password is None else ":" + quote(password, safe="")
        return f"postgresql://{quote(user, safe='')}{secret}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def start(self) -> None:
        """Starts the server, and returns once it accepts connections. Nothing is left behind if it cannot.

        Raises:
            EnvironmentFault: the server does not start; the message has its own last word.
        """
        if self._process is not None:
            raise EnvironmentFault("The embedded PostgreSQL is already running.")
        try:
            self._prepare()
            if not (self._data / "PG_VERSION").exists():
                self._make_data()
            self._watcher = Watcher(self._data, self._temporary)
            self._launch()
        except OSError as error:
            self.stop("immediate")
            raise EnvironmentFault(f"The embedded PostgreSQL does not start: {error}.") from error
        except BaseException:
            self.stop("immediate")
            raise

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stops the server and removes what was temporary. Harmless if it is not running.

        Args:
            mode: smart waits for clients to leave, fast ends their sessions, immediate is a crash. After
                STOP_TIMEOUT_SECS any of them becomes a kill.
        """
        if self._process is not None:
            self._process.send_signal(STOP_SIGNALS[mode])
            try:
                self._process.wait(STOP_TIMEOUT_SECS)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None
        self._dismiss()
        self._release_memory()
        for path in self._temporary:
            _remove(path)
        self._temporary.clear()
        self._sockets = None
        self._directory = None

    def kill(self) -> None:
        """Kills the postmaster with SIGKILL. The data stay: `start()` recovers them, `stop()` tidies up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._dismiss()

    def create_database(self, name: str) -> None:
        """Creates an empty database.

        Raises:
            EnvironmentFault: it exists already, or the server is not running.
        """
        self._administer("CREATE DATABASE {name}", name)

    def drop_database(self, name: str) -> None:
        """Drops a database, its sessions and its replication slots; harmless if there is none.

        Raises:
            EnvironmentFault: the server is not running.
        """
        self._administer(
            "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots"
            " WHERE database = {text} AND active",
            name,
        )
        self._administer(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = {text}",
            name,
        )
        self._administer("DROP DATABASE IF EXISTS {name} WITH (FORCE)", name)

    def make_template(self, target: Path) -> None:
        """Makes a data directory for the `template` argument of other servers; does not start this one.

        Args:
            target: must not exist; its parent must.

        Raises:
            EnvironmentFault: initdb failed.
        """
        try:
            self._prepare()
            self._make_data()
            shutil.copytree(self._data, target)
        finally:
            self.stop()

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _prepare(self) -> None:
        """Decides as whom and from where to run, and makes the directories for it."""
        if self._directory is None:
            if self._given is None:
                self._directory = self._temporary_directory("syncd-pg-")
            else:
                self._given.mkdir(parents=True, exist_ok=True, mode=0o711)
                self._directory = self._given.resolve()
        self._account = account_for(self._directory)
        self._programs = self.bindir
        if not self._account.can([self._programs / "postgres", "--version"]):
            self._programs = copy_programs(self.bindir, self._temporary_directory("syncd-pg-bin-"))
        if self._sockets is None:
            inside = self._directory / "socket"
            if len(os.fsencode(inside)) > SOCKET_PATH_LIMIT:
                inside = self._temporary_directory("syncd-pg-", Path("/tmp")) / "socket"  # noqa: S108  made by mkdtemp
            inside.mkdir(exist_ok=True, mode=0o700)
            self._account.own(inside)
            self._sockets = inside

    def _temporary_directory(self, prefix: str, parent: Path | None = None) -> Path:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        self._temporary.append(path)
        if os.geteuid() == 0:
            path.chmod(0o711)  # `nobody` passes through to what is its own
        return path

    def _make_data(self) -> None:
        try:
            if self._template is None:
                self._data.mkdir(mode=0o700)
                self._account.own(self._data)
                self._initdb()
            else:
                shutil.copytree(self._template, self._data)
                self._data.chmod(0o700)
                self._account.own(self._data)
        except BaseException:
            _remove(self._data)  # half a data directory would pass for a whole one at the next start
            raise

    def _initdb(self) -> None:
        command: list[str | Path] = [self._programs / "initdb", "--pgdata", self._data, "--username=postgres"]
        command += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--auth=trust"]
        with tempfile.NamedTemporaryFile("w", dir=self._sockets, prefix="secret-") as secret:
            if self._password is not None:
                secret.write(self._password + "\n")
                secret.flush()
                self._account.own(Path(secret.name))
                command.append(f"--pwfile={secret.name}")
            result = self._account.run(command, self.directory)
        if result.returncode != 0:
            raise EnvironmentFault(f"initdb failed: {_last_word(result.stderr)}")

    def _launch(self) -> None:
        """Runs the server until it is ready; again if its port is taken or a killed one's children linger."""
        deadline = time.monotonic() + START_TIMEOUT_SECS
        log = self.directory / "postgres.log"
        while True:
            port = self._port or _free_port()
            places = {"port": str(port), "unix_socket_directories": str(self._sockets)}
            configure(self._data, {**self._settings, **places}, trust=self._password is None)
            with log.open("ab") as sink:
                begin = sink.tell()
                self._process = subprocess.Popen(
                    [*self._account.prefix, self._programs / "postgres", "-D", self._data],
                    cwd=self.directory,
                    env=environment(),
                    user=self._account.uid,
                    group=self._account.gid,
                    extra_groups=None if self._account.uid is None else [],
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=sink,
                    start_new_session=True,  # a Ctrl-C is for the demo, not for its database
                )
            if self._is_ready(self._process, deadline):
                self._port = port
                return
            self._process = None
            words = log.read_bytes()[begin:].decode("utf-8", "replace")
            collided = "could not bind" in words
            if time.monotonic() > deadline or not (collided or "is still in use" in words):
                raise EnvironmentFault(f"The embedded PostgreSQL does not start: {_last_word(words)}")
            if collided:
                self._port = None
            time.sleep(0.05)

    def _is_ready(self, process: subprocess.Popen[bytes], deadline: float) -> bool:
        """Waits for the eighth line of postmaster.pid, the state, to be `ready`; False if the server died."""
        while process.poll() is None:
            with contextlib.suppress(FileNotFoundError):
                lines = (self._data / "postmaster.pid").read_text("utf-8", "replace").splitlines()
                if len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                    return True
            if time.monotonic() > deadline:
                process.kill()
                process.wait()
            time.sleep(0.01)
        return False

    def _release_memory(self) -> None:
        """Removes the shared memory of a killed server, named in the seventh line of its postmaster.pid."""
        if self._directory is None:
            return
        with contextlib.suppress(OSError, IndexError):
            segment = (self._data / "postmaster.pid").read_text("utf-8").splitlines()[6].split()[1]
            self._account.run(["ipcrm", "--shmem-id", segment], Path("/"))

    def _dismiss(self) -> None:
        if self._watcher is not None:
            self._watcher.dismiss()
            self._watcher = None

    def _administer(self, statement: str, name: str) -> None:
        import psycopg
        from psycopg import sql

        query = sql.SQL(statement).format(name=sql.Identifier(name), text=sql.Literal(name))
        try:
            with psycopg.connect(self.url(), autocommit=True, application_name="syncd embedded") as connection:
                connection.execute(query)
        except psycopg.Error as error:
            raise EnvironmentFault(f"The embedded PostgreSQL refused: {_last_word(str(error))}") from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _remove(tree: Path) -> None:
    """Removes a directory, in several goes if a dying process still writes there."""
    deadline = time.monotonic() + 5
    while tree.exists() and time.monotonic() < deadline:
        shutil.rmtree(tree, ignore_errors=True)
        if tree.exists():
            time.sleep(0.02)


def _last_word(text: str) -> str:
    """The lines of a program's complaint that say most: those of errors, else the last of all."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"FATAL:|PANIC:|ERROR:|error:|parameter", line)]
    said = [re.sub(r"^.*?\b(LOG|FATAL|PANIC|ERROR|error): +", "", line) for line in telling[-3:] or lines[-1:]]
    return "; ".join(said) or "it said nothing"
