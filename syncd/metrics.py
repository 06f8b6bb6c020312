"""Prometheus metrics. Counters listen to what the loops return; gauges ask the ledger when they are scraped.

docs/metrics.md says which question of an operator each one answers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from syncd import __version__
from syncd.delivery import DeliveryResult
from syncd.errors import LedgerError
from syncd.intake import IntakeResult
from syncd.model import Clock
from syncd.status import Status
from syncd.verify import VerifyResult

_DELIVERY_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400)
_CALL_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 60, 75)
_OUTCOMES = ("accepted", "accepted_in_part", "refused", "not_sent", "unknown")


class Metrics:
    """All metrics of one daemon, in a registry of its own.

    Args:
        syncs: the names of the configured syncs.
        status: asks for the status; may raise LedgerError.
        is_sender: whether this process has the lease.
    """

    def __init__(
        self,
        syncs: Sequence[str],
        status: Callable[[], Status],
        is_sender: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._clock = clock
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nobody asks for
        self.registry = CollectorRegistry()
        self._captured = Counter(
            "syncd_leads_captured", "Leads captured from the CRM.", ["sync"], registry=self.registry
        )
        self._settled = Counter(
            "syncd_leads_settled", "Leads that went to a state.", ["sync", "state"], registry=self.registry
        )
        self._waited = {sync: _Waits() for sync in syncs}
        self._calls = Counter(
            "syncd_calls", "Calls to wolkvox by outcome.", ["kind", "outcome"], registry=self.registry
        )
        self._call_seconds = Histogram(
            "syncd_call_seconds",
            "How long a call took.",
            ["kind"],
            registry=self.registry,
            buckets=_CALL_BUCKETS,
        )
        self._lag = Gauge(
            "syncd_capture_lag_seconds",
            "Since capture last read everything that there was.",
            ["sync"],
            registry=self.registry,
        )
        self._swept = Counter("syncd_sweep_found", "Leads that capture had missed.", ["sync"], registry=self.registry)
        self._current = Gauge(
            "syncd_up_to_date",
            "1 where the last look read everything that there was.",
            ["sync"],
            registry=self.registry,
        )
        self._slot_lag = Gauge(
            "syncd_slot_lag_bytes", "WAL that the CRM's server keeps for a slot.", ["sync"], registry=self.registry
        )
        self._sender = Gauge("syncd_sender", "1 on the process that sends.", registry=self.registry)
        self._sender.set_function(lambda: float(is_sender()))
        build = Gauge("syncd_build_info", "The version that runs.", ["version"], registry=self.registry)
        build.labels(__version__).set(1)
        for sync in syncs:  # a counter that begins at 0 can be told from one that is missing
            self._captured.labels(sync)
            self._swept.labels(sync)
            self._current.labels(sync).set(0)
        for outcome in _OUTCOMES:
            self._calls.labels("add_record", outcome)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(_LedgerCollector(status))
        self.registry.register(_WaitsCollector(self._waited))

    def intake(self, result: IntakeResult) -> None:
        """One turn of a sync's intake."""
        self._captured.labels(result.sync).inc(result.new + result.again)
        self._swept.labels(result.sync).inc(result.swept)
        if result.slot_lag_bytes is not None:
            self._slot_lag.labels(result.sync).set(result.slot_lag_bytes)
        if result.current is not None:
            self._current.labels(result.sync).set(float(result.current))
        if result.current:
            looked = self._clock() - result.seconds
            self._lag.labels(result.sync).set_function(lambda: max(0.0, self._clock() - looked))

    def delivery(self, result: DeliveryResult) -> None:
        """One turn of delivery."""
        for state, leads in result.settled.items():
            self._settled.labels(result.sync, state).inc(leads)
        if result.call is not None:
            self._calls.labels("add_record", result.call.outcome).inc()
            self._call_seconds.labels("add_record").observe(result.call.seconds)
            self._waited[result.call.sync].add(result.call.waited)

    def verify(self, result: VerifyResult) -> None:
        """One turn of verification."""
        if result.report is None:
            return
        for question in result.report.questions:
            self._calls.labels(question.kind, "answered" if question.answered else "unanswered").inc()
            self._call_seconds.labels(question.kind).observe(question.seconds)
        for state, leads in result.report.settled.items():
            self._settled.labels(result.report.sync, state).inc(leads)

    def exposition(self) -> bytes:
        """The metrics as text, in Prometheus' format."""
        return generate_latest(self.registry)


class _Waits:
    """A histogram that takes ten thousand leads of one call at once.

    Mutable state: the counts; one thread adds, any may read a moment's.
    """

    def __init__(self) -> None:
        self._counts = [0] * (len(_DELIVERY_BUCKETS) + 1)
        self._sum = 0.0

    def add(self, waited: Mapping[float, int]) -> None:
        """Count leads by the seconds that they waited."""
        for seconds, leads in waited.items():
            self._counts[bisect_left(_DELIVERY_BUCKETS, seconds)] += leads
            self._sum += seconds * leads

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Cumulative counts by upper bound, and the sum."""
        bounds = [*(format(bound, "g") for bound in _DELIVERY_BUCKETS), "+Inf"]
        return list(zip(bounds, map(float, accumulate(self._counts)), strict=True)), self._sum


class _WaitsCollector(Collector):
    def __init__(self, waits: Mapping[str, _Waits]) -> None:
        self._waits = waits

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(
            "syncd_delivery_seconds", "From captured to accepted by wolkvox.", labels=["sync"]
        )
        for sync, waits in self._waits.items():
            buckets, total = waits.buckets()
            family.add_metric([sync], buckets, sum_value=total)
        yield family


class _LedgerCollector(Collector):
    """Gauges that come from the ledger; absent while it does not answer."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        try:
            status = self._status()
        except LedgerError:
            return
        leads = GaugeMetricFamily("syncd_leads", "Leads by state.", labels=["sync", "state"])
        oldest = GaugeMetricFamily(
            "syncd_oldest_pending_seconds", "How long the oldest pending lead has waited.", labels=["sync"]
        )
        for sync in status.syncs:
            for state, count in sync.states.items():
                leads.add_metric([sync.name, state], count)
            oldest.add_metric([sync.name], sync.oldest_pending_secs or 0.0)
        yield leads
        yield oldest
        quota = GaugeMetricFamily("syncd_quota_calls", "The day's calls.", labels=["kind"])
        quota.add_metric(["limit"], status.quota.limit)
        quota.add_metric(["used"], status.quota.used)
        quota.add_metric(["reserved"], status.quota.reserved)
        yield quota
        yield GaugeMetricFamily(
            "syncd_unresolved_calls", "Calls whose outcome is not known.", value=status.unresolved_calls
        )
