"""Where both sides send: `syncd simulator` as a process of its own, which counts and keeps nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from bench.errors import BenchFailed
from bench.stage import CAMPAIGN, LICENSES, TOKEN, environment

_START_SECS = 30.0
_SWITCHES: Final = ("validate=no", "keep_records=no", "stock=0")
_LISTENS: Final = re.compile(r"listens on (http://\S+)")
_CALL: Final = re.compile(r"^add_record .*\brecords=(\d+) accepted=(\d+) answered=(\d+)")


@dataclass(frozen=True, slots=True)
class Accepted:
    """One call that the simulator accepted, and when it did."""

    records: int
    monotonic: float
    epoch: float


class Sink:
    """The simulator.

    It says a line on its standard output for each call, at the moment when the records are counted and before the
    reply's last byte leaves. Reading those lines costs it nothing, where asking for its state would make it count all
    leads anew, in the middle of the work that is timed.

    Mutable state, behind the condition: the lines of the run that is going on, and whether the process has ended.
    """

    def __init__(self) -> None:
        switches = [word for switch in _SWITCHES for word in ("--set", switch)]
        command = ["simulator", "--port", "0", "--token", TOKEN, "--licenses", str(LICENSES), *switches]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "syncd", *command],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._changed = threading.Condition()
        self._url = ""
        self._calls: list[Accepted] = []
        self._refused: list[str] = []
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        with self._changed:
            if not self._changed.wait_for(lambda: self._url or self._ended, _START_SECS) or not self._url:
                self._process.kill()
                raise BenchFailed("The simulator does not start.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def url(self) -> str:
        """Its base address."""
        return self._url

    @property
    def add_record(self) -> str:
        """The address of the call that both sides make."""
        query = f"api=add_record&type_campaign=predictive&campaign_id={CAMPAIGN}&campaign_status=start"
        return f"{self._url}/api/v2/campaign.php?{query}"

    def reset(self) -> None:
        """Forget the run before."""
        self._ask("POST", "reset")
        with self._changed:
            self._calls, self._refused = [], []

    def wait_for(self, leads: int, secs: float, check: Callable[[], None]) -> list[Accepted]:
        """The calls that brought so many leads, the first first.

        Args:
            secs: how long to wait at the most.
            check: called now and then; raises where waiting is in vain.

        Raises:
            BenchFailed: a call was refused, or the leads did not come in time.
        """
        deadline = time.monotonic() + secs
        with self._changed:
            while (come := sum(call.records for call in self._calls)) < leads:
                if self._refused:
                    raise BenchFailed(f"The simulator refused a call: {self._refused[0]}")
                if self._ended or time.monotonic() > deadline:
                    raise BenchFailed(f"{come} of {leads} leads came within {secs:.0f} s.")
                self._changed.wait(0.5)
                check()
            return list(self._calls)

    def verify(self, leads: int, calls: int) -> None:
        """See that every lead was accepted exactly once, in so many calls.

        Raises:
            BenchFailed: that is not so.
        """
        state = self._ask("GET", "state")
        judge(state, leads, calls)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            monotonic, epoch = time.monotonic(), time.time()
            with self._changed:
                if found := _CALL.match(line):
                    if found[3] in ("200", "201"):
                        self._calls.append(Accepted(int(found[2]), monotonic, epoch))
                    else:
                        self._refused.append(line.strip())
                elif found := _LISTENS.search(line):
                    self._url = found[1]
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _ask(self, method: str, page: str) -> Any:
        request = urllib.request.Request(f"{self._url}/_simulator/{page}", method=method)  # noqa: S310  # loopback
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310
            return json.load(reply)


def judge(state: dict[str, Any], leads: int, calls: int) -> None:
    """See that a simulator's state is that of so many leads, each accepted once, in so many calls.

    Raises:
        BenchFailed: it is not.
    """
    found = {
        "accepted": state["total_accepted"],
        "different leads": state["unique_leads"],
        "accepted more than once": state["leads_accepted_more_than_once"],
        "calls": state["calls"].get("add_record", 0),
        "refused": sum(state["refused"].values()),
    }
    wanted = {"accepted": leads, "different leads": leads, "accepted more than once": 0, "calls": calls, "refused": 0}
    wrong = [f"{name} {found[name]} instead of {wanted[name]}" for name in wanted if found[name] != wanted[name]]
    if wrong:
        raise BenchFailed(f"The simulator's counts do not verify: {', '.join(wrong)}.")
