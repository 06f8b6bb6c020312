"""What processes have used, from /proc: processor time and memory."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_secs(pid: int) -> float:
    """Processor time of one process, its threads included; those that have ended are not."""
    tasks = Path(f"/proc/{pid}/task").iterdir()  # in nanoseconds; the whole process's own are in hundredths of a second
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def rss_mb(pid: int) -> float:
    """Memory that a process holds, in megabytes of 1,048,576 bytes; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0) / 1024


def tree_cpu_secs(pid: int) -> float:
    """Processor time of a process and all below it: those that have ended and were waited for, too."""
    total, waiting = 0, [pid]
    while waiting:
        process = waiting.pop()
        try:
            total += sum(_ticks(process))
            for task in Path(f"/proc/{process}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except OSError:
            continue  # it has just ended, and its parent counts it
    return total / _TICKS


def load() -> str:
    """The machine's load, as `uptime` gives it."""
    return ", ".join(f"{figure:.2f}" for figure in os.getloadavg())


def _ticks(pid: int) -> tuple[int, int]:
    """Its own, and those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
