"""What must hold after each step of a run, and at its end."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from syncd.capture import Existing
from syncd.states import LeadState
from tests.simulation.crm import Crm
from tests.simulation.scenario import Scenario
from tests.simulation.vendor import Vendor
from tests.simulation.world import SimulatedHome, Violation

_STATES = frozenset(state.value for state in LeadState)
_NOT_TAKEN = ("pending", "rejected", "withdrawn", "expired", "duplicate")
_DONE = ("delivered", "unchanged", "duplicate")


class Invariants:
    """Holds the ledger against what really happened.

    Mutable state: which leads the ledger ever called delivered, and which an operator or a setting has decided.
    """

    def __init__(self, home: SimulatedHome, plan: Scenario, crm: Crm, vendor: Vendor) -> None:
        self._home = home
        self._plan = plan
        self._crm = crm
        self._vendor = vendor
        self._noted: frozenset[str] = frozenset()
        self._known: set[str] = set()
        self._delivered: set[str] = set()
        self._resent: Counter[str] = Counter()
        self._decided: set[str] = set()
        self.checks = 0

    def begin(self) -> None:
        """The rows that are there now were there at the start."""
        if self._plan.existing is Existing.NOTE:
            self._noted = frozenset(self._crm.rows)
            self._crm.touched -= self._noted

    def excuse(self, number: int, word: LeadState | None) -> None:
        """Somebody decides about the leads of a call: the truth is theirs from here on."""
        query = "SELECT key FROM lead WHERE call_n = ? AND state = 'held'"
        keys = [key for (key,) in self._home.raw.execute(query, [number])]
        if word is LeadState.PENDING:
            self._resent.update(keys)
        if word is not None:
            self._decided.update(keys)

    def check(self) -> None:
        """After each step.

        Raises:
            Violation: naming what does not hold.
        """
        self.checks += 1
        raw = self._home.raw
        if raw.in_transaction:
            raise Violation("a step has left a transaction open")
        leads = raw.execute("SELECT key, state FROM lead").fetchall()
        self._check_conservation(leads)
        self._check_truth(leads)
        self._check_twice()
        days = dict(raw.execute("SELECT quota_day, count(*) FROM call GROUP BY 1").fetchall())
        for day, calls in days.items():
            if calls > self._plan.daily_limit:
                raise Violation(f"{calls} calls are intended for {day}, and {self._plan.daily_limit} are allowed")
        if sum(days.values()) < self._vendor.counted.total():
            raise Violation("wolkvox has counted more calls than the ledger")
        if not self._plan.clock_jumps and not self._plan.freeze_rate:
            for day, calls in self._vendor.counted.items():
                # A call that is intended before midnight may arrive after it.
                if calls > days.get(day, 0) + 1:
                    raise Violation(f"wolkvox has counted {calls} calls on {day}, and the ledger {days.get(day, 0)}")

    def _check_conservation(self, leads: list[tuple[str, str]]) -> None:
        keys = {key for key, _ in leads}
        counts = Counter(state for _, state in leads)
        if len(keys) != len(leads) or not counts.keys() <= _STATES:
            raise Violation("a lead is in the ledger twice, or in no state")
        if self._known - keys:
            raise Violation(f"the ledger has forgotten {sorted(self._known - keys)}")
        self._known = keys
        tally = dict(self._home.raw.execute("SELECT state, leads FROM tally WHERE leads <> 0").fetchall())
        if tally != dict(counts):
            raise Violation(f"the tally says {tally}, and there are {dict(counts)}")

    def _check_truth(self, leads: list[tuple[str, str]]) -> None:
        policy = self._plan.on_unresolved
        for key, state in leads:
            taken = key in self._vendor.by_key
            if state == "delivered":
                self._delivered.add(key)
                if not taken and key not in self._decided and policy != "assume-delivered":
                    raise Violation(f"lead {key} is delivered, and wolkvox has never had it")
            elif state in _NOT_TAKEN and taken and policy != "resend":
                before = self._plan.resend_changed and (key in self._delivered or self._was_delivered(key))
                if not before and key not in self._decided:
                    raise Violation(f"lead {key} is {state}, and wolkvox has it")

    def _was_delivered(self, key: str) -> bool:
        """Whether the lead was delivered and left that state within a step."""
        query = (
            "SELECT 1 FROM history JOIN lead ON lead.id = lead_id WHERE key = ?"
            " AND (left_state = 'delivered' OR cause LIKE 'delivered%') LIMIT 1"
        )
        return self._home.raw.execute(query, [key]).fetchone() is not None

    def _check_twice(self) -> None:
        if self._plan.on_unresolved == "resend":
            return
        marker = self._plan.marker
        for key, stored in self._vendor.by_key.items():
            if len(stored) < 2:
                continue
            if not self._plan.resend_changed:
                if len(stored) > 1 + self._resent[key]:
                    raise Violation(f"lead {key} was taken {len(stored)} times")
                continue
            bare = [{name: value for name, value in each.record.items() if name != marker} for each in stored]
            same = sum(one == other for one, other in pairwise(bare))
            if same > self._resent[key]:
                raise Violation(f"lead {key} was taken {len(stored)} times, and twice with the same values")

    # -- the end ---------------------------------------------------------------------------------------------

    def is_drained(self) -> bool:
        """Whether nothing waits that can be settled."""
        raw = self._home.raw
        if raw.execute("SELECT 1 FROM lead WHERE state IN ('pending', 'sending') LIMIT 1").fetchone():
            return False
        held = raw.execute("SELECT key, call_n FROM lead WHERE state = 'held'").fetchall()
        return not self._crm.open and all(self._may_stay_held(key, number) for key, number in held)

    def _may_stay_held(self, key: str, number: int) -> bool:
        """Whether nobody can know what became of a lead but an operator."""
        if self._plan.on_unresolved != "hold":
            return False
        keys = self._vendor.posted.get(number)
        if keys is None:  # the process died before the first byte left; what was sent is known by the rows alone
            return self._is_unlike(key, number)
        took = sum(each.call == number for one in set(keys) for each in self._vendor.by_key.get(one, ()))
        if self._plan.marker is not None:
            return 0 < took < len(keys) and self._is_unlike(key, number)
        return self._is_unlike(key, number)

    def _is_unlike(self, key: str, number: int) -> bool:
        """Whether the row is not as it was sent, or wolkvox has its customer from another."""
        row = self._crm.rows.get(key)
        if row is None or not row.consent or row.version != self._vendor.versions.get((number, key)):
            return True
        return any(each.record["customer_id"] == row.document for each in self._vendor.stored if each.call != number)

    def check_drained(self) -> None:
        """At the end, with all faults off for long.

        Raises:
            Violation: naming what is left.
        """
        if not self.is_drained():
            left = self._home.raw.execute(
                "SELECT key, state, call_n FROM lead WHERE state IN ('pending', 'sending', 'held')"
            ).fetchall()
            raise Violation(f"not drained: {left}")
        states = dict(self._home.raw.execute("SELECT key, state FROM lead").fetchall())
        for key, row in self._crm.rows.items():
            if not row.consent or (key in self._noted and key not in self._crm.touched):
                continue
            state = states.get(key)
            if state is None:
                raise Violation(f"row {key} matches, and the ledger does not know it")
            self._check_end(key, state, good=row.good)
        for key in self._noted - self._crm.touched:
            if key in self._vendor.by_key:
                raise Violation(f"row {key} was there before the start, and was sent")

    def _check_end(self, key: str, state: str, *, good: bool) -> None:
        plan, row = self._plan, self._crm.rows[key]
        allowed = (
            {*_DONE, "held"}
            | ({"expired"} if plan.max_age_secs else set())
            | (set() if good and key not in self._vendor.named else {"rejected"})
        )
        if state not in allowed:
            raise Violation(f"row {key} matches ({row}), and at the end it is {state}")
        exact = plan.resend_changed and good and state in ("delivered", "unchanged") and key not in self._decided
        if exact and plan.on_unresolved == "hold":
            last = self._vendor.by_key[key][-1].record
            if (last["customer_name"], last["tel1"]) != (row.name, row.mobile):
                raise Violation(f"row {key} has changed ({row}), and wolkvox has its old values")
