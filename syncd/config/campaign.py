"""Where the leads of a sync go."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Tag

from syncd.config import rules
from syncd.config.fields import FieldTable
from syncd.fieldmap import FieldRule

CampaignId = Annotated[
    Annotated[str, AfterValidator(rules.campaign_id), Tag("~number")] | Annotated[FieldTable, Tag("~rule")],
    Discriminator(lambda value: "~rule" if isinstance(value, dict | FieldTable) else "~number"),
]
"""A text is a constant; errors leave out the tags."""


class CampaignTable(BaseModel):
    """The campaign that a sync feeds, or the campaigns, all of one type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    id: CampaignId
    """wolkvox's number of the campaign; or a rule, as of a field, that gives each lead's."""
    type: Literal["predictive", "preview"]
    """Which kind it is; decides the fields that a record has."""
    status: Literal["start", "stop"]
    """A command to the dialler that goes with every call: "start" sets the campaign dialling. No default."""

    @property
    def number(self) -> str:
        """The campaign that every lead goes to; "" where a rule says it of each."""
        return self.id if isinstance(self.id, str) else ""

    @property
    def rule(self) -> FieldRule | None:
        """What gives each lead's campaign; None where all go to the same."""
        return self.id.to_rule() if isinstance(self.id, FieldTable) else None
