"""`python -m tests.sabotage [NAME...] [--all]`: are deliberate bugs caught?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.sabotage.bug import Bug
from tests.sabotage.catalogue import BUGS
from tests.sabotage.playing import Played, play, play_nothing


def main(arguments: Sequence[str]) -> int:
    """Play what was asked for; 0 where every bug was caught, 1 where one was not, 2 where a name is unknown."""
    parser = argparse.ArgumentParser(prog="python -m tests.sabotage", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="bugs to put in; without any, they are listed")
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.add_argument("--jobs", type=int, default=1, help="so many at once (default: 1)")
    parser.add_argument("--trust", action="store_true", help="do not first run the tests without any bug")
    given = parser.parse_args(arguments)
    by_name = {bug.name: bug for bug in BUGS}
    if unknown := [name for name in given.names if name not in by_name]:
        parser.error(f"there is no sabotage {', '.join(unknown)}; without arguments, all are listed")
    chosen = list(BUGS) if given.all else [by_name[name] for name in given.names]
    if not chosen:
        for bug in BUGS:
            _say(f"{bug.name:<28} {bug.why}")
        return 0
    if not given.trust:
        tests = sorted({test for bug in chosen for test in bug.tests})
        _say(f"{len(tests)} tests without any bug ...")
        if (played := play_nothing(tests)).verdict != "SURVIVED":
            _say(f"They fail as it is, and so prove nothing:\n{played.words}")
            return 1
    with ThreadPoolExecutor(given.jobs) as pool:
        results = list(pool.map(_play, chosen))
    caught = sum(played.verdict == "caught" for played in results)
    _say(f"{caught} of {len(chosen)} caught")
    for bug, played in zip(chosen, results, strict=True):
        if played.verdict != "caught":
            _say(f"\n{bug.name}: {played.verdict}. {bug.why}\n{played.words}")
    return 0 if caught == len(chosen) else 1


def _play(bug: Bug) -> Played:
    played = play(bug)
    words = played.words if played.verdict == "caught" else ""
    _say(f"{played.verdict:<9} {bug.name:<28} {played.seconds:5.1f} s  {words}")
    return played


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
