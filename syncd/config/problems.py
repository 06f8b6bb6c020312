"""Faults of a configuration that only show between its tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from syncd.config.models import Sync
from syncd.fieldmap import FieldMapError, compile_map, route_problems


def problems_of(syncs: Sequence[Sync], marker: str | None) -> list[tuple[str, str, Any, str]]:
    """Faults that only show between tables: (sync's name, key, value, rule), empty where all is well.

    Args:
        marker: delivery.batch_marker.
    """
    found: list[tuple[str, str, Any, str]] = []
    names = Counter(sync.name for sync in syncs)
    for sync in syncs:
        if names[sync.name] > 1:
            found.append((sync.name, "name", sync.name, "must be used by one [[sync]] only"))
            names[sync.name] = 0
        taken = [
            other.name
            for other in syncs
            if other is not sync and other.capture != "poll" and other.objects.slot == sync.objects.slot
        ]
        if taken and names[sync.name] and sync.capture != "poll":
            found.append(
                (
                    sync.name,
                    "crm_name",
                    sync.crm_name or sync.name,
                    f"is like that of {taken[0]} in the CRM; set crm_name",
                )
            )
        if marker is not None and marker in sync.fields:
            found.append((sync.name, f"fields.{marker}", "", "is taken by delivery.batch_marker; map another"))
        try:
            compile_map(
                {field: spec.to_rule() for field, spec in sync.fields.items()},
                campaign_type=sync.campaign.type,
                require=sync.require,
                zone=ZoneInfo("UTC"),  # any serves to look for faults
            )
        except FieldMapError as error:
            for problem in error.problems:
                key = f"fields.{problem.field}" + (f".{problem.key}" if problem.key else "")
                found.append((sync.name, key, problem.value, problem.rule))
        if sync.campaign.rule is not None:
            for problem in route_problems(sync.campaign.rule):
                key = "campaign.id" + (f".{problem.key}" if problem.key else "")
                found.append((sync.name, key, problem.value, problem.rule))
    return found
