"""A table whose columns come along with each lead."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_ALIAS = re.compile(r"[a-z_][a-z0-9_]{0,62}")


def _plain(value: str) -> str:
    if not _ALIAS.fullmatch(value):
        raise ValueError("must be lower-case letters, digits and _, such as account: it goes before the column's name")
    return value


class Join(BaseModel):
    """Another table, of which at most one row belongs to each lead."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    table: str = Field(min_length=1)
    """schema.table, or a view; without a schema, public."""
    on: str = Field(min_length=1)
    """The column of the leads' table that points to it; or one of a join above, such as account.owner_id."""
    key: str = Field(min_length=1)
    """The column of this table that `on` points to; must be unique there."""
    as_: Annotated[str, AfterValidator(_plain)] = Field(alias="as")
    """How its columns are called in the rules: with "account", account.name is its column name."""

    @property
    def relation(self) -> tuple[str, str]:
        """Schema and name of the table."""
        schema, dot, name = self.table.partition(".")
        return (schema, name) if dot else ("public", schema)


def faults_of(joins: Sequence[Join]) -> str | None:
    """What is wrong between the joins of a sync, as a sentence; None where nothing is."""
    names = Counter(join.as_ for join in joins)
    if repeated := [name for name, times in names.items() if times > 1]:
        return f'has as = "{repeated[0]}" twice; each join needs a name of its own'
    above: set[str] = set()
    for join in joins:
        name, dot, _ = join.on.partition(".")
        if dot and name in names and name not in above:
            return f'has on = "{join.on}" before the join "{name}", or in it; a join stands on one above it'
        above.add(join.as_)
    return None
