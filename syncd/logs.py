"""Structured logs: an event with fields, one line each, on standard error.

Events are dotted names; docs/logs.md lists them. Nothing of a lead is ever a field: keys, counts, ids and our own
sentences are.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from typing import Any, TextIO

import structlog

from syncd.delivery import DeliveryResult, Standing
from syncd.intake import IntakeResult
from syncd.scanning import Progress
from syncd.verify import VerifyResult

_PROGRESS_SECS = 10.0
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(form: str | None, level: str, stream: TextIO | None = None) -> None:
    """Set up logging for the process.

    Args:
        form: ``"json"``, ``"console"``, or None for the console on a terminal and JSON elsewhere.
        level: the least that is logged.
    """
    stream = stream or sys.stderr
    console = form == "console" or (form is None and stream.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )


class LogListener:
    """Logs what the loops return, a line where something happened.

    Mutable state: what was said last, so that a lasting trouble is said once and not at every turn; each entry is
    touched by one loop alone.
    """

    def __init__(self) -> None:
        self._log = structlog.get_logger()
        self._troubles: dict[str, str] = {}
        self._notices: dict[str, str | None] = {}
        self._backfills: dict[str, float] = {}
        self._standing: Standing | None = None

    def intake(self, result: IntakeResult) -> None:
        """One turn of a sync's intake."""
        self._trouble("intake", result.sync, result.trouble)
        self._notice(result)
        if result.gap is not None:
            self._log.error("intake.gap", sync=result.sync, reason=result.gap)
        fields = {"sync": result.sync, "rows": result.rows, "new": result.new, "again": result.again}
        fields |= {"seconds": round(result.seconds, 4), "more": result.more}
        if result.progress is not None:
            self._backfill(result.sync, result.progress)
        elif result.swept:
            self._log.warning("intake.swept", **fields, found=result.swept)
        elif result.new or result.again:
            self._log.info("intake.captured", **fields)
        else:
            self._log.debug("intake.looked", **fields)

    def delivery(self, result: DeliveryResult) -> None:
        """One turn of delivery."""
        if result.sync is not None:
            self._trouble("delivery", result.sync, result.trouble)
        if result.call is not None:
            call = result.call
            fields = {
                "call": call.call_id,
                "sync": call.sync,
                "campaign": call.campaign_id,
                "leads": call.leads,
                "outcome": call.outcome,
                "verdict": call.verdict,
                "http_status": call.http_status,
                "seconds": round(call.seconds, 3),
                "settled": dict(result.settled),
            }
            if call.waited:
                fields["longest_wait_secs"] = round(max(call.waited), 3)
            if call.outcome == "accepted":
                self._log.info("call.finished", **fields)
            else:
                why = {"error": call.error} if call.error else {}
                self._log.warning("call.finished", **fields, **why, sentence=call.sentence)
        for sync, reason in result.surges:
            self._log.warning("delivery.paused", sync=sync, reason=reason)
        if result.call is None and result.settled:
            self._log.info("delivery.settled", sync=result.sync, settled=dict(result.settled))
        if self._standing is None or result.standing.state != self._standing.state:
            level = "warning" if result.standing.state == "held" else "info"
            getattr(self._log, level)("delivery.standing", state=result.standing.state, reason=result.standing.reason)
        self._standing = result.standing

    def verify(self, result: VerifyResult) -> None:
        """One turn of verification."""
        report = result.report
        if report is None:
            return
        kinds = Counter(question.kind for question in report.questions)
        fields: dict[str, Any] = {"call": report.call_id, "sync": report.sync, "questions": dict(kinds)}
        fields |= {"there": report.there, "absent": report.absent, "unsure": report.unsure}
        fields |= {"settled": dict(report.settled)}
        if report.sentence:
            self._log.warning("call.checked", **fields, reason=report.sentence)
        else:
            self._log.info("call.checked", **fields)

    def _notice(self, result: IntakeResult) -> None:
        if result.trouble is None and result.notice != self._notices.get(result.sync):
            if result.notice is not None:
                self._log.warning("intake.notice", sync=result.sync, reason=result.notice)
            self._notices[result.sync] = result.notice

    def _backfill(self, sync: str, progress: Progress) -> None:
        """A line now and then, and one at the end."""
        now = time.monotonic()
        if progress.done or now - self._backfills.get(sync, now - 2 * _PROGRESS_SECS) >= _PROGRESS_SECS:
            self._backfills[sync] = now
            self._log.info(
                "intake.backfill", sync=sync, rows=progress.rows, of_about=progress.of_about, done=progress.done
            )

    def _trouble(self, loop: str, sync: str, trouble: Exception | None) -> None:
        key, text = f"{loop} {sync}", "" if trouble is None else str(trouble)
        before = self._troubles.get(key, "")
        if text and text != before:
            self._log.error(f"{loop}.trouble", sync=sync, reason=text)
        elif before and not text:
            self._log.info(f"{loop}.recovered", sync=sync)
        self._troubles[key] = text
