"""One thing that `syncd check` looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from syncd.errors import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, SyncdError


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Literal["ok", "warning", "error"]
    subject: str
    sentence: str
    status: int = EXIT_OK
    """What the command's exit status becomes."""


def failure(subject: str, error: SyncdError) -> Finding:
    return Finding(
        "error", subject, str(error).removeprefix(f"{subject}: "), EXIT_CONFIG if not error.retry else EXIT_FAILED
    )
