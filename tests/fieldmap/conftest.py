"""A map of one rule, and what it makes of one value."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from syncd.fieldmap import FieldMap, FieldRule, compile_map
from syncd.model import Rejection

NOW = datetime(2030, 5, 6, 12, 0, tzinfo=UTC).timestamp()
Mapped = str | Rejection
One = Callable[..., Mapped]


def _compile(rules: dict[str, FieldRule], *, require: tuple[str, ...] = (), zone: str = "America/Bogota") -> FieldMap:
    fitting = {"customer_id": FieldRule(value="1"), "tel1": FieldRule(value="3000000001")}
    return compile_map(fitting | rules, campaign_type="predictive", require=require, zone=ZoneInfo(zone))


@pytest.fixture
def compiled() -> Callable[..., FieldMap]:
    """Compiles some rules into a map that is whole: id and telephone are constants unless given."""
    return _compile


@pytest.fixture
def one() -> One:
    """Maps a row by a single rule: ``one(rule, value, ..., field="city")``."""

    def run(rule: FieldRule, *values: object, field: str = "city", zone: str = "America/Bogota") -> Mapped:
        result = _compile({field: rule}, zone=zone).map(values, NOW)
        return result if isinstance(result, Rejection) else result[field]

    return run
