"""What syncd is called inside the CRM: the objects that `syncd setup` makes, and that `listen` and `slot` use."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

OUTBOX_SCHEMA = "syncd_outbox"
"""Not ``syncd``: that may hold the ledger's tables."""
_LONGEST = 63
"""Bytes of a name in Postgres (NAMEDATALEN - 1)."""


@dataclass(frozen=True, slots=True)
class Objects:
    """The names of one sync's objects.

    Args:
        name: of the sync, or its `crm_name`: lower-case letters, digits, - and _.
    """

    name: str

    @property
    def outbox(self) -> tuple[str, str]:
        """listen: the table of changes that syncd has not taken yet."""
        return OUTBOX_SCHEMA, self.name

    @property
    def function(self) -> tuple[str, str]:
        """listen: the function of the triggers."""
        return OUTBOX_SCHEMA, self.name

    @property
    def triggers(self) -> tuple[str, str]:
        """listen: the triggers of the table, after INSERT and after UPDATE."""
        return _fit(f"syncd_{self.name}", "_insert"), _fit(f"syncd_{self.name}", "_update")

    @property
    def channel(self) -> str:
        """listen: the channel of NOTIFY."""
        return _fit(f"syncd_{self.name}")

    @property
    def publication(self) -> str:
        """slot: the publication."""
        return self.slot

    @property
    def slot(self) -> str:
        """slot: the replication slot, whose name has no hyphen."""
        return _fit(f"syncd_{self.name}".replace("-", "_"))


def _fit(name: str, suffix: str = "") -> str:
    """A name that Postgres does not cut; a long one ends in a part of its hash instead."""
    if len(name + suffix) <= _LONGEST:
        return name + suffix
    mark = "_" + hashlib.sha256(name.encode()).hexdigest()[:8]
    return name[: _LONGEST - len(mark + suffix)] + mark + suffix
