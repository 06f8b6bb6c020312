"""The field map: what becomes of a CRM's row on its way into wolkvox. Pure.

    `rules` --`problems`--> `columns`, compiled --rows, by `mapping`--> records and rejections
                            `reading` (sources) and `steps`, over `blocks` of rows
                            `sources` `text` `letters` `names` `numbers` `moments` `phones` `colombia` `telephones`

Total: a row of any values gives a record that obeys `syncd.record.Schema`, or a `Rejection` that names field,
rule and column and holds no value of the row. Begin at `rules.FieldRule`, which says what may be written and
in which order it is applied.
"""

from __future__ import annotations

from syncd.fieldmap.mapping import FieldMap, compile_map
from syncd.fieldmap.routing import Route, compile_route, route_problems
from syncd.fieldmap.rules import (
    BoolRule,
    DatetimeRule,
    FieldMapError,
    FieldRule,
    NumberRule,
    PhoneRule,
    Problem,
    ReplaceRule,
)

__all__ = [
    "BoolRule",
    "DatetimeRule",
    "FieldMap",
    "FieldMapError",
    "FieldRule",
    "NumberRule",
    "PhoneRule",
    "Problem",
    "ReplaceRule",
    "Route",
    "compile_map",
    "compile_route",
    "route_problems",
]
