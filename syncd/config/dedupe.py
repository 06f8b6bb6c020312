"""Which leads are the same person: `dedupe` of a sync."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from syncd.record import DIALLED

ANY_TELEPHONE: Final = "tel"
"""What `Dedupe.by` calls all telephones that are dialled."""


def _text_or_list(value: Any) -> Any:
    if not isinstance(value, str | list):
        raise ValueError('must be a field, such as "tel1", or a list of them')  # noqa: TRY004  # pydantic takes no TypeError
    return [value] if isinstance(value, str) else value


class Dedupe(BaseModel):
    """Leads that are the same person."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    by: Annotated[list[str], BeforeValidator(_text_or_list)] = Field(min_length=1)
    """The mapped wolkvox field that tells people apart, such as "tel1"; or several: who has any of them in common is
    the same person. "tel" is every telephone that is mapped of tel1 to tel10. Empty values tell nothing."""
    within_hours: int = Field(ge=1, le=8760)
    """How long a delivered lead blocks another with the same value."""
    across: bool = False
    """Whether leads of the other syncs that say so block them, too."""

    def fields(self, mapped: Collection[str]) -> tuple[str, ...]:
        """The fields that `by` names, of those that are mapped."""
        named = [field for name in self.by for field in (DIALLED if name == ANY_TELEPHONE else (name,))]
        return tuple(field for field in dict.fromkeys(named) if field in mapped)

    def fault(self, mapped: Collection[str]) -> str | None:
        """What is wrong with `by`, given the mapped fields; None where nothing is."""
        for name in self.by:
            if name == ANY_TELEPHONE and not self.fields(mapped):
                return 'dedupe.by = "tel" needs one of tel1 to tel10 among the mapped fields'
            if name not in (ANY_TELEPHONE, *mapped):
                return f'dedupe.by = "{name}" is not among the mapped fields'
        return None
