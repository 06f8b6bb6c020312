"""What a section of the bench gives: a table for people, figures held against bars, and everything for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure beside the most that it may be."""

    what: str
    figure: float
    bar: float

    @property
    def met(self) -> bool:
        """Whether it is at most the bar."""
        return self.figure <= self.bar

    def words(self) -> str:
        """A line for the report."""
        return f"  {'met' if self.met else 'NOT MET'}: {self.what}: {self.figure:.4g}, at most {self.bar:.4g}"


@dataclass(slots=True)
class Section:
    """One section's figures."""

    name: str
    about: str
    """What was done, in a sentence or two."""
    head: tuple[str, ...]
    lines: list[tuple[str, ...]] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)
    """Every single figure."""
    loads: list[str] = field(default_factory=list)
    """The machine's load before and after."""

    def as_text(self, *, judged: bool) -> list[str]:
        """The report of this section.

        Args:
            judged: whether figures are held against their bars.
        """
        loads = f"  load of the machine, before and after: {'; '.join(self.loads)}"
        bars = [bar.words() for bar in self.bars] if judged else []
        return [f"{self.name}: {self.about}", *layout([self.head, *self.lines]), *bars, loads]

    def as_json(self, *, judged: bool) -> dict[str, Any]:
        """The same for programs."""
        return {
            "about": self.about,
            "lines": [dict(zip(self.head, line, strict=True)) for line in self.lines],
            "bars": [asdict(bar) | {"met": bar.met if judged else None} for bar in self.bars],
            "raw": self.raw,
            "loads": self.loads,
        }


def layout(table: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, its columns aligned."""
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]


def share(values: Iterable[float], part: float) -> float:
    """The least value that so large a part of all values does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(part * 1000) * len(ordered) // 1000) - 1)]


def spread(values: Sequence[float], digits: int) -> str:
    """The least and the greatest."""
    return f"{min(values):.{digits}f} - {max(values):.{digits}f}"
