"""The CRM's database: connecting to it, looking at a table, reading rows. Never a write to what is the CRM's."""

from syncd.crm.connection import CrmConnection, explain
from syncd.crm.joining import Joined
from syncd.crm.reading import Matched, Matcher, RowReader
from syncd.crm.shape import Shape, condition, crm_clock, look_at

__all__ = [
    "CrmConnection",
    "Joined",
    "Matched",
    "Matcher",
    "RowReader",
    "Shape",
    "condition",
    "crm_clock",
    "explain",
    "look_at",
]
