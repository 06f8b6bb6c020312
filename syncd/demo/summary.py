"""The end of the demo: what came of it, for a person and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from syncd.demo.measure import Timing, Told, Waits
from syncd.demo.proof import Proof
from syncd.demo.traffic import Book

_DIFFERENCES = 20
_REASONS = 15


@dataclass(frozen=True, slots=True)
class Summary:
    """All of it."""

    rows: int
    """Leads in the CRM's table in the end."""
    told: Told
    timing: Timing
    proof: Proof
    book: Book
    daemon_status: int
    """The daemon's exit status upon SIGTERM."""
    seconds: float

    @property
    def good(self) -> bool:
        """Whether the proof holds and the daemon ended well."""
        return self.proof.holds and self.daemon_status == 0

    def as_json(self) -> dict[str, Any]:
        """For a machine."""
        proof = self.proof
        return {
            "good": self.good,
            "seconds": round(self.seconds, 1),
            "rows": self.rows,
            "captured": len(self.told.leads),
            "states": self.told.states,
            "rejected": [
                {"field": field, "rule": rule, "reason": reason, "leads": leads}
                for field, rule, reason, leads in self.told.rejected
            ],
            "calls": self._calls(),
            "timing": asdict(self.timing),
            "book": {
                "inserted": len(self.book.committed),
                "changed": self.book.changes,
                "corrected": len(self.book.corrected),
                "withdrawn": len(self.book.withdrawn),
                "refusals": self.book.refusals,
            },
            "proof": {
                "holds": proof.holds,
                "must_arrive": proof.must,
                "arrived": proof.arrived,
                **{kind: proof.count(kind) for kind in ("missing", "twice", "unwanted", "number", "ledger", "calls")},
                "differences": [asdict(difference) for difference in proof.differences],
            },
            "daemon_exit_status": self.daemon_status,
        }

    def _calls(self) -> dict[str, int]:
        states = [call.state for call in self.told.calls]
        return {"used": len(states)} | {state: states.count(state) for state in sorted(set(states))}

    def show(self, console: Console) -> None:
        """For a person."""
        states = self.told.states
        console.print()
        table = Table("leads", "", box=box.SIMPLE_HEAD, pad_edge=False, title="What came of it", title_justify="left")
        table.columns[0].justify = "right"
        for number, what in (
            (self.rows, f"in the CRM's table, {len(self.book.committed):,} of them inserted while syncd ran"),
            (len(self.told.leads), "captured: consent given and status new"),
            (states.get("delivered", 0), "delivered"),
            (states.get("rejected", 0), "rejected, for the reasons below"),
            (states.get("duplicate", 0), "duplicates of a person who was delivered already"),
            (states.get("withdrawn", 0), "withdrawn or deleted while they waited"),
        ):
            table.add_row(f"{number:,}", what)
        for state in sorted(states.keys() - {"delivered", "rejected", "duplicate", "withdrawn"}):
            table.add_row(f"{states[state]:,}", state)
        console.print(table)
        self._show_reasons(console)
        for line in (*self._about_calls(), *self._about_time()):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._show_proof(console)

    def _show_reasons(self, console: Console) -> None:
        table = Table("leads", "why they were rejected", box=box.SIMPLE_HEAD, pad_edge=False)
        table.columns[0].justify = "right"
        for _, _, reason, leads in self.told.rejected[:_REASONS]:
            table.add_row(f"{leads:,}", reason)
        if len(self.told.rejected) > _REASONS:
            table.add_row("", f"... and {len(self.told.rejected) - _REASONS} more reasons")
        if self.told.rejected:
            console.print(table)

    def _about_calls(self) -> list[str]:
        calls = self._calls()
        kinds = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in calls.items() if state != "used")
        return [f"Calls used: {calls['used']} ({kinds})."]

    def _about_time(self) -> list[str]:
        timing = self.timing
        before = f"The {timing.backfill_leads:,} leads that were there before had been delivered"
        lines = [f"{before} {timing.backfill_secs:.1f} s after the daemon was started."]
        if timing.live.leads:
            lines.append(
                f"From commit in the CRM to accepted by wolkvox, leads inserted meanwhile: {_say(timing.live)}."
            )
        if 0 < timing.undisturbed.leads < timing.live.leads:
            waited = timing.live.leads - timing.undisturbed.leads
            lines.append(
                f"Without the {waited:,} that had to wait while wolkvox refused a call: {_say(timing.undisturbed)}."
            )
        if timing.corrected.longest is not None:
            lines.append(f"A rejected lead that was put right was accepted {timing.corrected.longest:.1f} s later.")
        return lines

    def _show_proof(self, console: Console) -> None:
        proof, say = self.proof, _Say(console)
        console.print()
        console.print("Proof, counted by the simulator and compared with the CRM's table, lead by lead", style="bold")
        say.line(proof.count("missing") == 0, f"{proof.must:,} people must have been reached: {_missing(proof)}")
        say.line(proof.count("twice") == 0, f"{proof.arrived:,} leads arrived: {_twice(proof)}")
        say.line(
            proof.count("unwanted") == 0,
            f"{proof.kept_away:,} leads were to be kept away (no consent, no dialable number, ...): {_unwanted(proof)}",
        )
        say.line(proof.count("number") == 0, "the telephone number in each record is the one that the CRM has")
        say.line(proof.count("ledger") == 0, "what syncd's ledger says of each lead is what the simulator counted")
        say.line(proof.count("calls") == 0, "syncd counted its calls as wolkvox counted them")
        say.line(self.daemon_status == 0, f"the daemon, asked to end (SIGTERM), ended with status {self.daemon_status}")
        for difference in proof.differences[:_DIFFERENCES]:
            say.line(False, difference.sentence)
        if len(proof.differences) > _DIFFERENCES:
            say.line(False, f"... and {len(proof.differences) - _DIFFERENCES:,} more differences")
        verdict = "Every lead arrived exactly once." if self.good else "The proof does NOT hold."
        console.print(f"{verdict} The demo took {self.seconds:.0f} s.", style="bold green" if self.good else "bold red")


class _Say:
    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, good: bool, text: str) -> None:  # noqa: FBT001
        mark, style = ("  ok     ", "green") if good else ("  WRONG  ", "red")
        self._console.print(mark, style=style, end="")
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _say(waits: Waits) -> str:
    return f"p50 {waits.p50:.2f} s, p95 {waits.p95:.2f} s, longest {waits.longest:.2f} s ({waits.leads:,} leads)"


def _missing(proof: Proof) -> str:
    return f"{proof.count('missing'):,} were not" if proof.count("missing") else "none is missing"


def _twice(proof: Proof) -> str:
    twice = f"{proof.count('twice'):,} too often" if proof.count("twice") else "nobody twice"
    besides = f"; {proof.duplicates:,} more are the same people again, and were left out" if proof.duplicates else ""
    gone = f"; {proof.gone:,} of them withdrew after they had been delivered" if proof.gone else ""
    return twice + besides + gone


def _unwanted(proof: Proof) -> str:
    return f"{proof.count('unwanted'):,} others arrived all the same" if proof.count("unwanted") else "all of them were"
