"""Waiting for a condition, with a deadline; never for luck."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], what: str, secs: float = 30.0, look_secs: float = 0.02) -> T:
    """What `condition` returns once that is true; fails, saying `what` was waited for, where it never is."""
    deadline = time.monotonic() + secs
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {secs} s in vain: {what}"
        time.sleep(look_secs)
    return found
