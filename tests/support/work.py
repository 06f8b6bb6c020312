"""Letting leads flow without a process: the very parts of the daemon, turned by hand."""

from __future__ import annotations

import time
from collections.abc import Callable

from syncd import assembly
from syncd.config import load
from syncd.ledger import Lease, open_ledger
from tests.support.site import Site


class Clock:
    """The time of day, some way ahead."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def work(site: Site, turns: int = 3, between: Callable[[], None] = lambda: None) -> None:
    """Capture and deliver what there is, `turns` times, an hour apart."""
    config = load(site.config)
    clock = Clock()
    ledger = open_ledger(config, site.config, purpose="work")
    connections = assembly.CrmConnections(config, site.config)
    lease = Lease(ledger.home, clock, "a test")
    try:
        assert lease.acquire()
        assert lease.term is not None
        term = lease.term
        intakes = assembly.intakes(config, ledger, connections, clock)
        delivery, _ = assembly.sending(
            config, ledger, connections.delivery, assembly.client(config, site.config), lambda: term, clock
        )
        delivery._clock_gate = None  # this clock leaves the CRM's behind
        for _ in range(turns):
            for intake in intakes:
                while intake.due_at(clock()) <= clock():
                    intake.run_once()
            while (result := delivery.run_once()).settled or result.call:
                pass
            between()
            clock.ahead += 3600
        lease.release()
    finally:
        lease.close()
        ledger.close()
        connections.close()
