"""What the demo shows while it works: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_EVENTS = 9
_LINE_EVERY_SECS = 5.0


@dataclass
class Scene:
    """What there is to see; the director keeps it up to date."""

    act: str = "Getting ready"
    rows: int = 0
    """Leads in the CRM's table."""
    status: dict[str, Any] = field(default_factory=dict)
    """What the daemon says on /status."""
    part: float = 0.0
    """How much of the demo is over, from 0 to 1."""

    @property
    def states(self) -> dict[str, int]:
        """Leads by state."""
        syncs = self.status.get("syncs") or [{}]
        return dict(syncs[0].get("states", {}))

    @property
    def waiting(self) -> int:
        """Leads that wait, or are on their way."""
        return self.states.get("pending", 0) + self.states.get("sending", 0)

    @property
    def watermark(self) -> str | None:
        """How far the daemon has read."""
        syncs = self.status.get("syncs") or [{}]
        found: str | None = syncs[0].get("watermark")
        return found

    @property
    def words(self) -> str:
        """The daemon's state in words."""
        if not self.status:
            return "not started yet"
        return f"{self.status['state']}: {self.status['reason']}"


class View:
    """Shows a scene and tells events, as a context.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.scene = Scene()
        self._events: deque[tuple[str, str]] = deque(maxlen=_EVENTS)
        self._began = time.monotonic()
        self._lined = 0.0
        self._live = Live(self._render(), console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.update(self._render(), refresh=True)
            self._live.stop()

    def act(self, text: str) -> None:
        """What is being done now."""
        self.scene.act = text
        if self._live is None:
            self._line(text)
        self.refresh()

    def say(self, text: str, *, detail: bool = False) -> None:
        """Tell an event.

        Args:
            detail: one of many, which plain lines leave out.
        """
        self._events.append((f"{time.monotonic() - self._began:5.1f} s", text))
        if self._live is None and not detail:
            self._line("  " + text)
        self.refresh()

    def refresh(self) -> None:
        """Show the scene as it is now."""
        if self._live is not None:
            self._live.update(self._render(), refresh=True)
        elif self.scene.status and time.monotonic() - self._lined >= _LINE_EVERY_SECS:
            self._lined = time.monotonic()
            states = self.scene.states
            self._line(
                f"    {sum(states.values()):,} captured: {states.get('delivered', 0):,} delivered, "
                f"{states.get('rejected', 0):,} rejected, {self.scene.waiting:,} waiting; "
                f"{self._used():,} calls; syncd says {self.scene.words}"
            )

    def _line(self, text: str) -> None:
        self.console.print(f"{time.monotonic() - self._began:5.1f} s  {text}", markup=False, soft_wrap=True)

    def _used(self) -> int:
        return int(self.scene.status.get("quota", {}).get("used", 0))

    def _render(self) -> RenderableType:
        scene, states = self.scene, self.scene.states
        quota = scene.status.get("quota", {})
        numbers = Table.grid(padding=(0, 2))
        numbers.add_column(justify="right", min_width=9)
        numbers.add_column()
        rows: list[tuple[str, str]] = [(f"{scene.rows:,}", "leads in the CRM's table")]
        rows.append((f"{sum(states.values()):,}", "captured by syncd: the others gave no consent, or are not new"))
        rows += [(f"{states.get(name, 0):,}", meaning) for name, meaning in _MEANINGS]
        rows.append((f"{scene.waiting:,}", "waiting for the next call, or on their way"))
        of = f" of {quota['limit']:,} a day" if quota else ""
        rows.append((f"{self._used():,}", f"calls to wolkvox used{of}"))
        for number, meaning in rows:
            numbers.add_row(Text(number, style="bold"), meaning)
        events = Table.grid(padding=(0, 2))
        for at, text in self._events:
            events.add_row(Text(at, style="dim"), Text(text, no_wrap=True, overflow="ellipsis"))
        quiet = scene.status.get("state") in ("sending", "idle", None)
        state = Text.assemble(("syncd says  ", "dim"), (scene.words, "" if quiet else "yellow"))
        bar = ProgressBar(total=1.0, completed=scene.part, width=min(60, self.console.width - 6))
        body = Group(Text(scene.act, style="bold"), bar, "", numbers, "", state, "", events)
        return Panel(body, title="syncd demo: a CRM, a wolkvox to rehearse on, and the daemon", title_align="left")


_MEANINGS = (
    ("delivered", "delivered: wolkvox accepted them"),
    ("rejected", "rejected: no call could be made of them"),
    ("duplicate", "duplicates: the person has been reached already"),
    ("withdrawn", "withdrawn while they waited: deleted, or consent taken back"),
)


class DaemonLog:
    """Reads the daemon's log as it grows, and puts its events into words.

    Args:
        path: of lines of JSON.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0

    def news(self) -> list[tuple[str, bool]]:
        """What has come since: sentences, each with whether it is a detail."""
        with self._path.open("rb") as file:
            file.seek(self._place)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._place += len(whole)
        return [said for line in whole.splitlines() if (said := _in_words(line)) is not None]


def _in_words(line: bytes) -> tuple[str, bool] | None:
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return f"syncd: {line.decode('utf-8', 'replace')}", False
    match entry.get("event"):
        case "call.finished" if entry["outcome"] == "accepted":
            return f"syncd: a call carried {_leads(entry['leads'])}, accepted after {entry['seconds']:.2f} s", True
        case "call.finished":
            return (
                f"syncd: a call was refused ({entry['http_status']}): its {_leads(entry['leads'])} will go again",
                False,
            )
        case "delivery.standing" if entry["state"] == "held":
            return f"syncd: pauses. {entry['reason']}", False
        case "intake.captured":
            again = f", and {_leads(entry['again'])} again" if entry["again"] else ""
            return f"syncd: captured {_leads(entry['new'])}{again}", True
        case _ if entry.get("level") in ("error", "critical"):
            return f"syncd: {entry['event']}: {entry.get('reason', '')}", False
        case _:
            return None


def _leads(number: int) -> str:
    return "1 lead" if number == 1 else f"{number:,} leads"
