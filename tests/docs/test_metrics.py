"""docs/metrics.md has every metric that syncd exposes, with its labels, and no other."""

from __future__ import annotations

import re

from syncd.delivery import CallReport, DeliveryResult, Standing
from syncd.intake import IntakeResult
from syncd.metrics import Metrics
from syncd.model import Quota
from syncd.status import Status, SyncStatus
from tests.docs.pages import page, rows, ticked

DOCUMENTED = {ticked(row[0])[0]: set(ticked(row[1])) for row in rows(page("metrics.md"), "Metric")}


def exposed() -> dict[str, set[str]]:
    """Metrics and their labels, after every kind of event: `le` and the library's own series left out."""
    sync = SyncStatus("web", "poll", "1", {"pending": 1}, 3.0, None, None)
    status = Status(True, "sending", "Leads leave.", Quota(5000, 1, 500, 0.0), (sync,), 0)
    metrics = Metrics(["web"], lambda: status, lambda: True, lambda: 10.0)
    metrics.intake(IntakeResult("web", 1, 1, 0, 0, False, 0.1, current=True, slot_lag_bytes=1))
    call = CallReport("c", "web", "12345", 1, "accepted", "accepted", 201, 0.5, "Accepted.", "", {2.0: 1})
    metrics.delivery(DeliveryResult(Standing("sending", ""), 0.0, "web", {"delivered": 1}, call))
    found: dict[str, set[str]] = {}
    kind: dict[str, str] = {}
    for line in metrics.exposition().decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, what = line.split()
            kind[name] = what
        elif not line.startswith("#"):
            match = re.match(r"([a-z_]+)(?:\{(.*)\})? ", line)
            assert match is not None, line
            family = match[1] if match[1] in kind else re.sub(r"_(bucket|sum|count)$", "", match[1])
            found.setdefault(family, set()).update(set(re.findall(r'([a-z_]+)="', match[2] or "")) - {"le"})
    return {name: labels for name, labels in found.items() if not name.endswith("_created")}


def test_the_page_lists_every_metric_and_no_other() -> None:
    assert set(DOCUMENTED) == set(exposed())


def test_the_page_gives_each_metrics_labels() -> None:
    for name, labels in exposed().items():
        if name != "python_info":
            assert DOCUMENTED[name] == labels, name


def test_the_page_lists_the_outcomes_of_a_call() -> None:
    from syncd.replies import Outcome

    row = next(row for row in rows(page("metrics.md"), "Metric") if "syncd_calls_total" in row[0])
    assert set(re.findall(r"[a-z_]+", row[2].partition(":")[2])) == set(Outcome)
