"""What was seen of a table, as values."""

from __future__ import annotations

from dataclasses import dataclass

TIMESTAMPS = ("timestamp with time zone", "timestamp without time zone")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table."""

    name: str
    type: str
    """As Postgres names it, without a length."""
    is_key: bool = False
    """The primary key, by itself."""
    is_unique: bool = False
    """Unique by itself, by a valid index without a condition, and never null."""
    is_indexed: bool = False
    """First in an index."""
    has_default: bool = False
    sample: tuple[str, ...] = ()
    """Some of its values that are not empty, as text; only of columns that may hold a number or an address."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One table or view."""

    schema: str
    table: str
    columns: tuple[Column, ...]
    is_table: bool
    """False for a view or foreign table."""
    triggers: tuple[str, ...] = ()
    """Names of the triggers that run before an update of a row."""

    @property
    def name(self) -> str:
        """As the configuration has it."""
        return f"{self.schema}.{self.table}"
