"""Has it all happen, in order, and has it all end: `run`."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import psycopg
from rich.console import Console

from syncd.demo import stage
from syncd.demo.crm import Crm
from syncd.demo.measure import listen_to, time_it
from syncd.demo.people import People, Row
from syncd.demo.proof import prove
from syncd.demo.stage import Command, Pacing, Pages, Process
from syncd.demo.summary import Summary
from syncd.demo.traffic import SHORTEST_WITH_REFUSAL_SECS, Ids, Traffic
from syncd.demo.view import DaemonLog, View
from syncd.embedded import EmbeddedPostgres, wheel_bindir
from syncd.errors import EXIT_FAILED, EXIT_OK, EnvironmentFault
from syncd.model import Instant

_TICK_SECS = 0.1
_LOOK_SECS = 0.3
_PATIENCE_SECS = 60.0
"""So long the leads that are left may take; what has not arrived by then is missing."""
_KNOWN_LEADS = 40


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user may choose."""

    leads: int
    """Leads in the CRM before syncd comes."""
    seconds: float
    """How long leads keep coming."""
    keep: Path | None
    """Where to leave the files, or None."""
    as_json: bool
    """Print the summary as JSON, on standard output alone; all else goes to standard error."""


class Interrupted(Exception):
    """The user wants it to end.

    Args:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Interrupts:
    """SIGINT, SIGTERM and SIGHUP as a flag, looked at wherever the demo waits; what was before comes back."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._flag = threading.Event()

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catch them; only the main thread may."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        for number in before:
            signal.signal(number, lambda caught, _frame: self._set(caught))
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _set(self, number: int) -> None:
        self._number = number
        self._flag.set()

    def wait(self, secs: float) -> None:
        """Sleep.

        Raises:
            Interrupted: a signal came.
        """
        if self._flag.wait(secs):
            assert self._number is not None
            raise Interrupted(self._number)


def run(wishes: Wishes) -> int:
    """The demo; the exit status: 0 where the proof holds, 1 where it does not, 128 + N after signal N.

    Raises:
        EnvironmentFault: something on this machine keeps it from running.
    """
    wheel_bindir()  # or say at once what is missing
    console = Console(stderr=wishes.as_json, highlight=False)
    interrupts = Interrupts()
    began = time.monotonic()
    with interrupts.caught():
        try:
            with _folder(wishes.keep) as folder:
                summary = _Demo(wishes, folder, interrupts, console, began).play()
        except Interrupted as interrupted:
            console.print(f"Interrupted: everything was stopped{'' if wishes.keep else ', and removed'}.")
            return 128 + interrupted.number
        except psycopg.Error as error:
            words = error.diag.message_primary or " ".join(str(error).split())
            raise EnvironmentFault(f"The demo's own CRM failed: {words}.") from error
    if wishes.as_json:
        sys.stdout.write(orjson.dumps(summary.as_json(), option=orjson.OPT_INDENT_2).decode() + "\n")
    if wishes.keep is not None:
        console.print(f"The files are in {wishes.keep}: configuration, ledger, logs.", soft_wrap=True)
    return EXIT_OK if summary.good else EXIT_FAILED


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """A folder for this user alone; removed afterwards, unless it is to be kept."""
    if keep is not None:
        try:
            keep.mkdir(mode=0o700, parents=True, exist_ok=True)
            crowded = any(keep.iterdir())
        except OSError as error:
            raise EnvironmentFault(f"{keep} cannot be used: {error.strerror}.") from None
        if crowded:
            raise EnvironmentFault(f"{keep} is not empty.", "Name a folder that is, or that is not there yet.")
        yield keep.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="syncd-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Opened:
    """The CRM, open for business."""

    crm: Crm
    url: str
    """For syncd, whose role only reads."""
    password: str
    ids: Ids


class _Demo:
    def __init__(self, wishes: Wishes, folder: Path, interrupts: Interrupts, console: Console, began: float) -> None:
        self._wishes = wishes
        self._folder = folder
        self._wait = interrupts.wait
        self._console = console
        self._began = began
        self._view = View(console)
        self._people = People()
        self._pacing = Pacing(time.time())
        self._port = stage.free_port()
        self._looked = 0.0
        self._token = stage.new_secret()
        self._processes: tuple[Process, ...] = ()
        self._log: DaemonLog | None = None

    def play(self) -> Summary:
        """All acts."""
        with ExitStack() as cleanup:
            with self._view:
                opened = self._open_crm(cleanup)
                crm = opened.crm
                simulator, simulator_port = self._open_simulator(cleanup)
                config_file = self._configure(opened, simulator_port)
                daemon, daemon_began = self._open_daemon(cleanup, config_file)
                self._processes = (simulator, daemon)
                self._until_backfilled(crm)
                traffic = self._let_happen(cleanup, opened, Pages(simulator_port))
                self._settle(crm)
                self._view.act("Ending the daemon, and comparing what everybody counted")
                status = daemon.end()
            told = listen_to(Command(config_file))
            counted = stage.count(Pages(simulator_port), self._token)
            withdrawn, calls = traffic.book.withdrawn, (len(told.calls), counted.calls)
            proof = prove(crm.reckon(), counted.arrived, counted.dialled, told.leads, withdrawn, calls)
            timing = time_it(told, traffic.book, daemon_began)
            rows = crm.rows()
        taken = time.monotonic() - self._began
        summary = Summary(rows, told, timing, proof, traffic.book, status, taken)
        summary.show(self._console)
        return summary

    # -- acts ------------------------------------------------------------------------------------------------

    def _open_crm(self, cleanup: ExitStack) -> _Opened:
        self._view.act("Starting a Postgres to be the CRM")
        server = cleanup.enter_context(EmbeddedPostgres(password=stage.new_secret()))
        self._wait(0)
        server.create_database("crm")
        password = stage.new_secret()
        crm = Crm(server.url("crm") + "?sslmode=disable")
        cleanup.callback(crm.close)
        crm.prepare(stage.READER, password)
        self._view.act(f"Filling the CRM with {self._wishes.leads:,} leads, nasty ones among them")
        rows: list[Row] = [self._people.well() for _ in range(_KNOWN_LEADS)]
        rows.append(self._people.well() | {"mobile": "no contesta"})
        rows += self._people.many(max(0, self._wishes.leads - len(rows)))
        crm.fill(rows)
        self._view.scene.rows = crm.rows()
        self._wait(0)
        keys = [str(place + 1) for place in range(len(rows))]
        url = f"postgresql://{stage.READER}@127.0.0.1:{server.port}/crm?sslmode=disable"
        return _Opened(crm, url, password, Ids(keys[:_KNOWN_LEADS], keys[_KNOWN_LEADS]))

    def _open_simulator(self, cleanup: ExitStack) -> tuple[Process, int]:
        pacing = self._pacing
        self._view.act("Starting a wolkvox to rehearse on (`syncd simulator`): it counts, and dials nobody")
        process, port = stage.start_simulator(self._folder, self._token, pacing, self._wait)
        cleanup.callback(process.end)
        self._view.say(
            f"{pacing.licenses} licences are made up, so that nobody has to wait: their {pacing.calls:,} calls, spread "
            f"over what is left of the day, give one about every {pacing.spacing_secs:.1f} s"
        )
        return process, port

    def _configure(self, opened: _Opened, simulator_port: int) -> Path:
        values: dict[str, str | int] = {
            "CRM_URL": opened.url,
            "LEDGER_URL": f"sqlite:///{self._folder / 'ledger.db'}",
            "LICENSES": self._pacing.licenses,
            "TIMEZONE": self._pacing.timezone,
            "WOLKVOX_URL": f"http://127.0.0.1:{simulator_port}",
            "BATCH_SIZE": min(2000, max(50, self._wishes.leads // 10)),
            "LISTEN": f"127.0.0.1:{self._port}",
        }
        named = {"crm-password": opened.password, "wolkvox-token": self._token}
        return stage.write_configuration(self._folder, values, named)

    def _open_daemon(self, cleanup: ExitStack, config_file: Path) -> tuple[Process, Instant]:
        self._view.act("Starting the daemon (`syncd run`): first it delivers the leads that are there already")
        began = time.time()
        process = stage.start_daemon(self._folder, config_file, self._port, self._wait)
        cleanup.callback(process.end)
        self._log = DaemonLog(process.log)
        return process, began

    def _let_happen(self, cleanup: ExitStack, opened: _Opened, simulator: Pages) -> Traffic:
        secs = self._wishes.seconds
        burst = max(5, self._wishes.leads // 100)
        traffic = Traffic(opened.crm, self._people, simulator, opened.ids, secs, burst, self._view.say)
        cleanup.callback(traffic.close)
        self._view.act(f"For {secs:.0f} seconds leads come and change in the CRM, and syncd keeps up")
        if secs < SHORTEST_WITH_REFUSAL_SECS:
            self._view.say("too short for a refused call: syncd pauses for 15 s after one")
        started = time.monotonic()
        while not traffic.over:
            elapsed = time.monotonic() - started
            traffic.tick(elapsed)
            self._look(opened.crm, 0.2 + 0.7 * min(1.0, elapsed / secs))
        return traffic

    def _until_backfilled(self, crm: Crm) -> None:
        deadline = time.monotonic() + _PATIENCE_SECS
        wanted = crm.wanted()
        while time.monotonic() < deadline:
            states = self._view.scene.states
            captured, waiting = sum(states.values()), self._view.scene.waiting
            if captured >= wanted and waiting == 0:
                return
            self._look(crm, 0.05 + 0.15 * (1 - waiting / wanted if captured else 0))

    def _settle(self, crm: Crm) -> None:
        """Wait until syncd has read up to the last change, and nothing waits; twice in a row."""
        self._view.act("No more leads come: waiting until those that wait have been sent")
        deadline = time.monotonic() + _PATIENCE_SECS
        calm_since = None
        while time.monotonic() < deadline:
            self._look(crm, 0.95)
            scene = self._view.scene
            if scene.waiting or scene.watermark is None or not crm.covered(scene.watermark):
                calm_since = None
            elif calm_since is None:
                calm_since = time.monotonic()
            elif time.monotonic() - calm_since > 3 * _LOOK_SECS:
                return

    def _look(self, crm: Crm, part: float) -> None:
        """A moment's wait; now and then, a look at the daemon, its log and the table."""
        self._wait(_TICK_SECS)
        if time.monotonic() - self._looked < _LOOK_SECS:
            return
        self._looked = time.monotonic()
        for process in self._processes:
            process.check()
        scene = self._view.scene
        scene.part = part
        scene.rows = crm.rows()
        scene.status = Pages(self._port).get("/status") or scene.status
        for text, detail in self._log.news() if self._log is not None else ():
            self._view.say(text, detail=detail)
        self._view.refresh()
