"""How hard the property tests try: SYNCD_TEST_EFFORT=100 multiplies their examples by a hundred."""

from __future__ import annotations

import os


def examples(few: int) -> int:
    """So many examples in the suite, and a multiple where somebody asks for it."""
    return few * max(1, int(os.environ.get("SYNCD_TEST_EFFORT", "1")))
