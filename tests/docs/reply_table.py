"""The table of docs/wolkvox.md, made from the one in syncd/replies.py: `python -m tests.docs.reply_table` prints it."""

from __future__ import annotations

import math
import re
import sys

from syncd.replies import TABLE, Meaning, Outcome, Scope

LEADS = {Outcome.ACCEPTED: "delivered", Outcome.REFUSED: "pending again"}
"""What becomes of the leads of a call, by its outcome; only rows of the table need one here."""
WAITS = {Scope.NOTHING: "", Scope.CAMPAIGN: "the campaign", Scope.SENDER: "everything"}


def rendered() -> str:
    """The table as Markdown."""
    lines = [
        "| Verdict | HTTP | The text contains | Leads | What waits | What syncd says |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(meaning) for meaning in TABLE]
    return "\n".join(lines) + "\n"


def _row(meaning: Meaning) -> str:
    statuses = " or ".join(str(status) for status in sorted(meaning.statuses, reverse=True))
    plain = re.sub(r"\(\?<?[=!].*?\)", "", meaning.pattern).replace(".*", "…")  # without looking around
    words = " or ".join(f"`{words}`" for words in plain.split("|") if words)
    leads = "rejected, one by one" if meaning.name == "records-refused" else LEADS[meaning.outcome]
    cells = (f"`{meaning.name}`", statuses, words or "anything", leads, _waits(meaning), meaning.sentence)
    return "| " + " | ".join(cells) + " |"


def _waits(meaning: Meaning) -> str:
    if meaning.parks is Scope.NOTHING:
        return "nothing"
    if math.isinf(meaning.park_secs):
        return f"{WAITS[meaning.parks]}, to the next quota day"
    secs = int(meaning.park_secs)
    return f"{WAITS[meaning.parks]}, {secs // 60} min" if secs % 60 == 0 else f"{WAITS[meaning.parks]}, {secs} s"


if __name__ == "__main__":
    sys.stdout.write(rendered())
