"""What a seed decides before a run begins: how syncd is configured, and what goes wrong how often."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from syncd.capture import Existing

Policy = Literal["hold", "assume-delivered", "resend"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One seed's configuration and misfortune."""

    batch_size: int
    daily_limit: int
    verify_calls: int
    concurrent_calls: int
    max_wait_secs: float
    resend_changed: bool
    dedupe_secs: float | None
    marker: str | None
    hours: tuple[str, ...]
    max_age_secs: float | None
    max_per_hour: int | None
    on_unresolved: Policy
    existing: Existing
    existing_rows: int
    arrivals: int
    """New leads a day, about."""
    stock_limit: int
    trouble: float
    """The rate of faults of wolkvox in a bad hour."""
    crash_rate: float
    crm_rate: float
    ledger_rate: float
    freeze_rate: float
    clock_jumps: bool
    operators: bool


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    dice = random.Random(f"scenario {seed}")
    return Scenario(
        batch_size=dice.choice((1, 2, 5, 50)),
        daily_limit=dice.choice((25, 40, 60, 200)),
        verify_calls=dice.choice((5, 8)),
        concurrent_calls=dice.choice((1, 1, 2)),
        max_wait_secs=dice.choice((300.0, 900.0, 3600.0)),
        resend_changed=dice.random() < 0.35,
        dedupe_secs=dice.choice((None, None, 3600.0, 86_400.0)),
        marker=dice.choice((None, "opt12")),
        hours=dice.choice(((), (), ("07:00-19:00",), ("Mon-Fri 08:00-12:00", "Mon-Sun 14:00-20:00"))),
        max_age_secs=dice.choice((None, None, None, 20 * 3600.0)),
        max_per_hour=dice.choice((None, None, 12)),
        on_unresolved=dice.choice(("hold", "hold", "hold", "assume-delivered", "resend")),
        existing=dice.choice((Existing.TAKE, Existing.NOTE)),
        existing_rows=dice.choice((0, 0, 6)),
        arrivals=dice.choice((2, 5, 9, 14)),
        stock_limit=dice.choice((10_000, 10_000, 10_000, 40)),
        trouble=dice.choice((0.0, 0.1, 0.3, 0.6)),
        crash_rate=dice.choice((0.0, 0.002, 0.008)),
        crm_rate=dice.choice((0.0, 0.03, 0.15)),
        ledger_rate=dice.choice((0.0, 0.01, 0.05)),
        freeze_rate=dice.choice((0.0, 0.0, 0.003, 0.01)),
        clock_jumps=dice.random() < 0.25,
        operators=dice.random() < 0.4,
    )
