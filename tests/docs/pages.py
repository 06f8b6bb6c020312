"""The documentation as the tests see it: its pages, the shell commands in them, and their tables."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def page(name: str) -> str:
    """The text of a page under docs/."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def shell_lines(text: str) -> list[str]:
    """Every line of every shell block."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def rows(text: str, head: str) -> list[list[str]]:
    """The cells of every table whose first column is called `head`; a bar in a cell is not supported."""
    found = []
    for table in re.findall(rf"^\| {re.escape(head)} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", text, re.MULTILINE):
        found += [[cell.strip() for cell in row.strip().strip("|").split("|")] for row in table.splitlines()]
    return found


def ticked(text: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", text)
