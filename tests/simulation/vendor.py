"""A wolkvox in memory, with the faults of a network and of a vendor, and a memory of all that reached it.

It is asked through the same methods as `syncd.wolkvox.Wolkvox`, in virtual time, and holds each call against what the
ledger has committed by then.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from syncd.model import Campaign, Exchange
from syncd.pacing import quota_day
from tests.simulation.world import ZONE, SimulatedHome, Violation, World

REFUSALS: Final = {
    "campaign-unknown": (404, "Campaign_id 12345 does not exist in your operation."),
    "stock-full": (
        404,
        "You are uploading (66401) records to the system. According to licenses, You can upload 50000 records.",
    ),
    "call-malformed": (400, "SOME PARAMETERS ARE REQUIRED"),
    "token-missing": (401, "PLEASE ENTER THE WOLKVOX-TOKEN"),
    "token-refused": (403, "PLEASE VALIDATE TOKEN"),
    "quota-spent": (403, "TOKEN LIMIT EXCEEDED"),
    "too-many-at-once": (403, "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN (2)"),
    "not-now": (403, "We are making backups."),
}
"""What wolkvox says for each row of `syncd.replies.TABLE` that refuses a call whatever its records are."""
_LONGEST_WORK: Final = 60.0
_FAULTS: Final = (
    "unreachable",
    "lost before",
    "lost after",
    "lost, and stored late",
    "timeout",
    "timeout, and stored",
    "garbage",
    "garbage, and stored",
    "5xx",
    "5xx, and stored",
    "new text",
    "new text, and stored",
    "named after all",
    "refused",
    "refused",
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A record that wolkvox took."""

    call: int
    key: str
    record: dict[str, str]
    at: float
    visible_at: float


@dataclass(slots=True)
class Vendor:
    """The operation: what it holds, what it counts, and what it does wrong.

    Mutable state: all of it.
    """

    world: World
    home: SimulatedHome
    body_hash: Callable[[bytes], bytes]
    daily_limit: int
    concurrent: int
    marker: str | None
    stock_limit: int
    fault_rate: float = 0.0
    timeout_secs: float = 75.0
    campaign_missing: bool = False
    faults_of: Callable[[str], str] = lambda _key: ""
    meanwhile: Callable[[], None] = lambda: None
    """Happens while a POST is under way."""
    stored: list[Stored] = field(default_factory=list)
    by_key: dict[str, list[Stored]] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)
    """Calls by quota day."""
    posted: dict[int, list[str]] = field(default_factory=dict)
    """The keys of each call that was posted, by its number in the ledger."""
    versions: dict[tuple[int, str], int] = field(default_factory=dict)
    """The version of the row that each lead of a call was sent with, or read with."""
    version_of: Callable[[str], int] = lambda _key: 0
    """The version of a row when it was last read."""
    named: set[str] = field(default_factory=set)
    """Keys that it ever refused by name."""
    asked: set[int] = field(default_factory=set)
    _late: list[tuple[float, int, Sequence[dict[str, str]], float]] = field(default_factory=list)
    _busy: list[float] = field(default_factory=list)

    # -- what syncd calls ------------------------------------------------------------------------------------

    def add_record(self, campaign: Campaign, body: bytes) -> Exchange:
        world = self.world
        number = self._check_intent(body)
        world.io("before the first byte")
        world.freeze("the connection", 70.0)
        records: list[dict[str, str]] = json.loads(body)
        fault = world.dice.choice(_FAULTS) if world.chance(self.fault_rate) else ""
        if fault == "unreachable":
            world.tell(f"call {number} is not sent: unreachable")
            world.advance(10.0)
            return Exchange(sent=False, status=None, body=b"", error="no connection", seconds=10.0)
        world.tell(f"call {number} POSTs {[record['opt1'] for record in records]}{fault and ', ' + fault}")
        self.posted[number] = [record["opt1"] for record in records]
        self.versions |= {(number, record["opt1"]): self.version_of(record["opt1"]) for record in records}
        refusal = self._arrives()
        self.meanwhile()
        if refusal is None and fault == "refused":
            refusal = world.dice.choice(list(REFUSALS))
        if refusal is None and self.campaign_missing:
            refusal = "campaign-unknown"
        if refusal is None and len(self.stored) + len(records) > self.stock_limit:
            refusal = "stock-full"
        if refusal is not None:
            exchange = self._refuse(refusal)
        else:
            exchange = self._take(number, records, fault)
        world.io("after the reply")
        world.tell(f"call {number}: {exchange.status} {exchange.error}")
        return exchange

    def token_info(self) -> Exchange:
        return self._read("token_info", list)

    def campaigns(self, campaign_id: str) -> Exchange:
        def rows() -> list[dict[str, str]]:
            return [{"campaign_id": campaign_id, "records": str(len(self._visible()))}]

        return self._read("campaigns", rows)

    def export(self, campaign_id: str) -> Exchange:
        def rows() -> list[dict[str, str]]:
            return [{"id_cliente": each.record["customer_id"], **each.record} for each in self._visible()]

        return self._read("campaign_15", rows, name="records")

    def find_record(self, campaign_id: str, customer_id: str) -> Exchange:
        def rows() -> list[dict[str, str]]:
            return [each.record for each in self._visible() if each.record["customer_id"] == customer_id]

        return self._read("find_record", rows)

    # -- what it does ----------------------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Store what is stored late."""
        due = [each for each in self._late if each[0] <= self.world.now]
        if due:
            self._late = [each for each in self._late if each[0] > self.world.now]
            for _, number, records, lag in due:
                self._store(number, records, lag)

    def _take(self, number: int, records: Sequence[dict[str, str]], fault: str) -> Exchange:
        dice, world = self.world.dice, self.world
        flaws = [self.faults_of(record["opt1"]) for record in records]
        bad = [place for place, flaw in enumerate(flaws) if flaw == "named"]
        if fault == "named after all" and not bad:
            bad = sorted(dice.sample(range(len(records)), dice.randint(1, len(records))))
        self.named.update(records[place]["opt1"] for place in bad)
        good = [record for place, record in enumerate(records) if place not in bad]
        if "unnamed" in flaws:
            good, bad = [], []
        stores = fault in ("lost after", "lost, and stored late") or fault.endswith("and stored")
        keep = not fault or stores or fault == "named after all"
        lag = dice.choice((0.0, 0.0, 5.0, 100.0))
        if fault == "lost, and stored late":
            self._late.append((world.now + dice.uniform(0, _LONGEST_WORK - 1), number, good, lag))
        elif keep:
            self._store(number, good, lag)
        if "lost" in fault or "timeout" in fault:
            # The caller is gone; wolkvox may be at work until its own limit.
            self._busy.append(world.now + dice.uniform(0, _LONGEST_WORK - 1))
            secs = self.timeout_secs if "timeout" in fault else dice.uniform(0.2, 50)
            return self._end(secs, None, b"", "no whole reply within the time")
        if fault.startswith("garbage"):
            body = dice.choice((b"", b"<html>", b"[]", b'{"code": "200"}', b'{"code": "201", "msg": 7', b"\xff"))
            return self._end(1.0, dice.choice((200, 201, 404)), body)
        if fault.startswith("5xx"):
            return self._end(1.0, dice.choice((500, 502, 503, 504)), _envelope(500, "Internal error"))
        if fault.startswith("new text"):
            return self._end(1.0, 404, _envelope(404, "Something else is the matter."))
        if len(good) == len(records):
            totals = dice.choice(({"total_registers": " "}, {"total_registers": len(records)}))
            return self._end(1.0, 201, _envelope(201, "All records has been added successfully", [totals]))
        errors = [{"error": f"CUSTOMER_ID is strange, object position {place}", "msg": "It is."} for place in bad]
        totals = {"total_registers": str(len(records)), "total_success": str(len(good)), "total_errors": str(len(bad))}
        data = [totals | {"array_errors": errors}] if bad else []
        status = 201 if good else 404
        return self._end(1.0, status, _envelope(status, f"{len(good)} records has been added, please validate", data))

    def _store(self, number: int, records: Sequence[dict[str, str]], lag: float) -> None:
        for record in records:
            key = record["opt1"]
            one = Stored(number, key, record, self.world.now, self.world.now + lag)
            self.stored.append(one)
            self.by_key.setdefault(key, []).append(one)

    def _visible(self) -> list[Stored]:
        return [each for each in self.stored if each.visible_at <= self.world.now]

    def _read(self, kind: str, rows: Callable[[], list[dict[str, str]]], *, name: str = "data") -> Exchange:
        world = self.world
        self._check_question(kind)
        world.io(f"a question: {kind}")
        fault = world.dice.choice(("unreachable", "lost", "timeout", "garbage", "refused", "5xx"))
        if not world.chance(self.fault_rate):
            fault = ""
        world.tell(f"asked: {kind}{fault and ', ' + fault}")
        if fault == "unreachable":
            world.advance(10.0)
            return Exchange(sent=False, status=None, body=b"", error="no connection", seconds=10.0)
        refusal = self._arrives()
        if refusal is None and fault == "refused":
            refusal = world.dice.choice(list(REFUSALS))
        if refusal is not None:
            return self._refuse(refusal)
        if fault in ("lost", "timeout"):
            return self._end(self.timeout_secs if fault == "timeout" else 3.0, None, b"", "the connection broke")
        if fault == "garbage":
            return self._end(1.0, 200, world.dice.choice((b"", b"<html>", b"{}", b'{"code": "200", "records": [{}]}')))
        if fault == "5xx":
            return self._end(1.0, 502, b"Bad gateway")
        found = rows()
        world.io("after the answer")
        if not found:
            return self._end(1.0, 404, _envelope(404, "The campaign has nothing to show."))
        return self._end(1.0, 200, json.dumps({"code": "200", name: found}).encode())

    def _refuse(self, name: str) -> Exchange:
        status, text = REFUSALS[name]
        body = b"<html>Maintenance</html>" if name == "not-now" else _envelope(status, text)
        return self._end(0.5, status, body)

    def _end(self, secs: float, status: int | None, body: bytes, error: str = "") -> Exchange:
        self.world.advance(secs)
        # The request has left at once: the freeze before it was the connection's.
        return Exchange(sent=True, status=status, body=body, error=error, seconds=secs, sent_secs=0.0)

    # -- what must hold --------------------------------------------------------------------------------------

    def _arrives(self) -> str | None:
        """Count a call; why it is refused, if its day's calls are used."""
        now = self.world.now
        self._busy = [until for until in self._busy if until > now]
        if len(self._busy) >= self.concurrent:
            raise Violation(f"a call arrives while {len(self._busy)} are at work, and {self.concurrent} may be")
        day = quota_day(now, ZONE).isoformat()
        self.counted[day] += 1
        if self.counted[day] > self.daily_limit:
            raise Violation(f"{self.counted[day]} calls on {day}, and {self.daily_limit} are allowed")
        return None

    def _check_intent(self, body: bytes) -> int:
        raw = self.home.raw
        if raw.in_transaction:
            raise Violation("a POST within a transaction of the ledger")
        rows = raw.execute(
            "SELECT n, term FROM call WHERE kind = 'add_record' AND state = 'intended' AND body_hash = ? ORDER BY n",
            [self.body_hash(body)],
        ).fetchall()
        fresh = [(number, term) for number, term in rows if number not in self.posted]
        if not fresh:
            raise Violation("a POST without an intent of its own")
        self._check_sender(*fresh[-1])
        return int(fresh[-1][0])

    def _check_question(self, kind: str) -> None:
        query = "SELECT n, term FROM call WHERE kind = ? AND state = 'intended' ORDER BY n"
        fresh = [(number, term) for number, term in self.home.raw.execute(query, [kind]) if number not in self.asked]
        if not fresh:
            raise Violation(f"a question ({kind}) without an intent of its own")
        self._check_sender(*fresh[-1])
        self.asked.add(fresh[-1][0])

    def _check_sender(self, number: int, term: int) -> None:
        """A deposed sender writes no intent; and nobody is deposed in the time that a call may need to leave."""
        (holds,) = self.home.raw.execute("SELECT term FROM lease").fetchone()
        if term != holds:
            raise Violation(f"call {number} is made by the sender of term {term}, and that of term {holds} is the one")


def _envelope(code: int, msg: str, data: Sequence[object] = ()) -> bytes:
    return json.dumps({"code": str(code), "error": "", "msg": msg, "data": list(data)}).encode()
