"""Replays one seed: `python -m tests.simulation SEED [--days N] [--verbose]`."""

from __future__ import annotations

import argparse
import sys

from tests.simulation.run import DAYS, Simulation
from tests.simulation.world import SimulatedHome, Violation


def main() -> int:
    """Run, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Replay one seed.")
    parser.add_argument("seed", type=int)
    parser.add_argument("--days", type=int, default=DAYS, help=f"with faults, before it drains (default {DAYS})")
    parser.add_argument("--verbose", action="store_true", help="print the story as it happens")
    given = parser.parse_args()

    def say(text: str) -> None:
        sys.stdout.write(text + "\n")

    simulation = Simulation(SimulatedHome(), given.seed, aloud=say if given.verbose else None)
    try:
        simulation.run(given.days)
    except Violation as violation:
        say(simulation.world.line(simulation.world.now, f"VIOLATION: {violation}"))
        return 1
    say(f"Seed {given.seed}: {simulation.days:.1f} days, {simulation.invariants.checks} checks, nothing amiss.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
