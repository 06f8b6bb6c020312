"""docs/wolkvox.md says what each reply means just as syncd/replies.py does."""

from __future__ import annotations

import re

import orjson

from syncd.config.models import CALLS_PER_LICENSE
from syncd.model import Exchange
from syncd.replies import TABLE, judge
from tests.docs.pages import page, rows, ticked
from tests.docs.reply_table import rendered

WOLKVOX = page("wolkvox.md")


def test_the_table_is_the_one_that_is_made_from_the_code() -> None:
    shown = WOLKVOX.partition("-->\n")[2].partition("<!-- end -->")[0]
    assert shown == rendered(), "print it anew with: python -m tests.docs.reply_table"


def verdict(sent: bool, status: int | None, body: object) -> str:  # noqa: FBT001  # as an exchange has it
    return judge(Exchange(sent=sent, status=status, body=orjson.dumps(body), seconds=1.0, error=""), 2).name


def test_the_verdicts_beyond_the_table_are_those_that_the_code_gives() -> None:
    taken = {"code": "201", "msg": "All records has been added successfully"}
    given = {
        verdict(False, None, {}),
        verdict(True, None, {}),
        verdict(True, 500, {}),
        verdict(True, 201, {**taken, "data": [{"total_errors": "2"}]}),
        verdict(
            True, 201, {**taken, "data": [{"array_errors": [{"error": "CUSTOMER_ID is empty, object position 0"}]}]}
        ),
    }
    listed = {ticked(row[0])[0] for row in rows(WOLKVOX, "Verdict")}
    assert listed == given | {meaning.name for meaning in TABLE}


def test_the_page_gives_the_calls_of_a_licence() -> None:
    assert re.search(rf"{CALLS_PER_LICENSE:,} calls a day", WOLKVOX)
