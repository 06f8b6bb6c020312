"""A deliberate bug of the protocol: what it is, why it is deadly, and which tests must notice it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Edit:
    """One place of the code, and what stands there instead."""

    file: str
    """Relative to the root of the repository."""
    old: str
    """Stands in the file exactly once."""
    new: str


@dataclass(frozen=True, slots=True)
class Bug:
    """One sabotage."""

    name: str
    why: str
    """What it would do to people who are called, in one line."""
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    """Arguments of pytest: the tests that must fail."""

    def apply(self, root: Path) -> None:
        """Put the bug into a tree.

        Raises:
            ValueError: a text does not stand in its file exactly once.
        """
        for edit in self.edits:
            path = root / edit.file
            text = path.read_text(encoding="utf-8")
            if (times := text.count(edit.old)) != 1:
                raise ValueError(f"{self.name}: {times} places in {edit.file} read {edit.old!r}; it must be one.")
            path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def bug(name: str, why: str, file: str, old: str, new: str, *tests: str) -> Bug:
    """A sabotage of one place."""
    return Bug(name, why, (Edit(file, old, new),), tests)
