"""What ends a server whose owner died: a shell that waits at a pipe which only the owner holds."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

# $1 is the data directory, the rest what to remove. A line on the pipe says that all is well; its end says
# that the owner died. postmaster.pid is believed only if that process still runs on this data directory.
SCRIPT = r"""
read -r word && exit 0
data=$1; shift
read -r pid < "$data/postmaster.pid"
ours() { tr '\0' ' ' < "/proc/$pid/cmdline" | grep -qF -e "$data"; }
if ours; then
    kill -QUIT "$pid"
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do ours || break; sleep 0.1; done
    ours && kill -KILL "$pid"
fi
[ $# = 0 ] || rm -rf -- "$@"
"""


class Watcher:
    """Watches over one server from now on.

    Args:
        data: the server's data directory.
        temporary: directories to remove once the server has been stopped.
    """

    def __init__(self, data: Path, temporary: Sequence[Path]) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", SCRIPT, "syncd-pg-watcher", data, *temporary],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """Says that the server has been stopped properly: nothing is left to do."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate(b"done\n")
