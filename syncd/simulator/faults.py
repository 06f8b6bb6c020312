"""What can go wrong with a call, and the script that says with which one.

A fault strikes a call that got past the gate (token, server, two at once, quota). Each kind says whether the
records of the struck call end up stored: that is what a sender must find out, and what a test must know.
"""

import shlex
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Rule:
    """What a kind of fault does.

    stored: "never" and "always" are the kind's nature; "no" and "yes" are defaults that a fault may overrule.
    takes: the parameters that mean something to it, beside api, nth, times and seconds.
    status: the HTTP status it answers with unless told; 0 where it leaves the reply's own.
    """

    stored: str
    takes: tuple[str, ...] = ()
    status: int = 0


KINDS: Mapping[str, Rule] = {
    "latency": Rule("always", ("record_secs",)),
    "reply": Rule("no", ("stored", "status", "body"), status=500),
    "maintenance": Rule("never", ("status", "body"), status=403),
    "redirect": Rule("never", ("status", "location"), status=302),
    "cut-headers": Rule("never", ("reset",)),
    "cut-body": Rule("never", ("reset", "size")),
    "cut-before": Rule("never", ("reset",)),
    "cut-after": Rule("always", ("reset",)),
    "cut-reply": Rule("yes", ("stored", "reset", "size")),
    "cut-then-store": Rule("always", ("reset",)),
    "cut-idle": Rule("yes", ("stored",)),
    "hang": Rule("no", ("stored",)),
    "drip": Rule("yes", ("stored", "bytes_per_sec")),
    "broken-json": Rule("yes", ("stored",)),
    "huge-body": Rule("yes", ("stored", "size")),
    "wrong-length": Rule("yes", ("stored", "excess")),
    "no-continue": Rule("always", ()),
}

APIS = ("add_record", "token_info", "campaigns", "campaign_15", "find_record")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong with one call, or with several.

    Raises ValueError, in one sentence, for an unknown kind or a parameter that the kind does not take.
    """

    kind: str
    """One of KINDS; docs/simulator.md says what each does."""
    api: str = "*"
    """The call it waits for (add_record, token_info, campaigns, campaign_15, find_record); "*" is any."""
    nth: int = 1
    """It lets the first nth - 1 such calls pass, counted from when it was scripted."""
    times: int = 1
    """How many calls it strikes; 0 is every one until the faults are cleared."""
    stored: bool | None = None
    """Whether the records are stored; None is the kind's own way (see ``stores``)."""
    seconds: float = 0.0
    """Wait this long, in real seconds, before the reply or the cut; hang, cut-then-store: 0 is until told."""
    record_secs: float = 0.0
    """latency: and this long for each record of the body, in seconds."""
    status: int = 0
    """reply, maintenance, redirect: the HTTP status; 0 is the kind's own (500, 403, 302)."""
    body: str = ""
    """reply: the body, verbatim; maintenance: the text in ``msg``."""
    bytes_per_sec: float = 20.0
    """drip: how fast the reply comes."""
    reset: bool = True
    """Cuts: an RST (the peer vanished); false is an ordinary close."""
    location: str = "/"
    """redirect: where to."""
    size: int = 0
    """cut-body, cut-reply: cut after so many bytes, 0 is half; huge-body: bytes of padding, 0 is 8 MiB."""
    excess: int = 10
    """wrong-length: Content-Length says this much more than is sent; negative: less."""

    def __post_init__(self) -> None:
        rule = KINDS.get(self.kind)
        if rule is None:
            raise ValueError(f"unknown fault {self.kind!r}; the kinds are {', '.join(KINDS)}")
        if self.api != "*" and self.api not in APIS:
            raise ValueError(f"fault {self.kind}: unknown api {self.api!r}; the calls are *, {', '.join(APIS)}")
        for field in fields(self):
            common = field.name in ("kind", "api", "nth", "times", "seconds")
            if not common and field.name not in rule.takes and getattr(self, field.name) != field.default:
                raise ValueError(f"fault {self.kind} takes no {field.name}; it takes {_listed(rule)}")
        self._check_numbers()

    def _check_numbers(self) -> None:
        if self.nth < 1 or self.times < 0:
            raise ValueError(f"fault {self.kind}: nth counts from 1, times from 0 (for ever)")
        if min(self.seconds, self.record_secs, self.size) < 0 or self.bytes_per_sec <= 0:
            raise ValueError(
                f"fault {self.kind}: seconds, record_secs and size are never negative, and bytes_per_sec is more than 0"
            )
        if self.status and not 200 <= self.status <= 599:
            raise ValueError(f"fault {self.kind}: status must be 200..599, not {self.status}")
        if any(mark in self.location for mark in "\r\n"):
            raise ValueError(f"fault {self.kind}: location is one line")

    @property
    def stores(self) -> bool:
        """Whether the valid records of a struck add_record are stored."""
        natural = KINDS[self.kind].stored in ("always", "yes")
        return natural if self.stored is None else self.stored

    @property
    def http_status(self) -> int:
        """The status to answer with; 0 where the fault leaves the reply's own."""
        return self.status or KINDS[self.kind].status

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """A fault from a command line: the kind, then ``name=value`` words, quoted as in a shell.

        ``cut-after api=add_record nth=3``. ``times=forever`` is ``times=0``. Raises ValueError.
        """
        kind, *words = shlex.split(text) or [""]
        values: dict[str, Any] = {"kind": kind}
        for word in words:
            name, equals, value = word.partition("=")
            if not equals or name == "kind":
                raise ValueError(f"fault {text!r}: {word!r} is not name=value")
            values[name] = value
        return cls.from_json(values)

    @classmethod
    def from_json(cls, values: object) -> "Fault":
        """A fault from the names and values above, as a JSON object or as words. Raises ValueError."""
        if not isinstance(values, Mapping) or "kind" not in values:
            raise ValueError("a fault is an object with a kind")
        known = {field.name: field.type for field in fields(cls)}
        typed: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                raise ValueError(
                    f"fault {values['kind']}: unknown parameter {name!r}; it takes "
                    f"{_listed(KINDS.get(str(values['kind']), Rule('no')))}"
                )
            typed[str(name)] = _typed(str(name), value, known[name])
        return cls(**typed)

    def to_json(self) -> dict[str, object]:
        """Its kind, whether it stores, and what differs from the defaults."""
        told = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }
        return {**told, "stored": self.stores}


def _listed(rule: Rule) -> str:
    return ", ".join(("api", "nth", "times", "seconds", *rule.takes))


def _typed(name: str, value: object, kind: object) -> object:
    try:
        if kind is bool or name == "stored":
            return {"true": True, "yes": True, "false": False, "no": False}[str(value).lower()]
        if name == "times" and value == "forever":
            return 0
        if kind in (int, float) and not isinstance(value, bool):
            return kind(str(value))
    except (KeyError, ValueError):
        pass
    else:
        if kind is str:
            return str(value)
    raise ValueError(f"fault: {name} cannot be {value!r}")


@dataclass(slots=True)
class _Waiting:
    fault: Fault
    seen: int = 0
    struck: int = 0

    @property
    def spent(self) -> bool:
        return 0 < self.fault.times <= self.struck


class Script:
    """The faults still to come. The first in line that waits for a call strikes it; the others count it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []

    def add(self, faults: Iterable[Fault]) -> None:
        """Put faults at the end of the line."""
        with self._lock:
            self._waiting.extend(_Waiting(fault) for fault in faults)

    def clear(self) -> None:
        """Forget every fault that has not struck."""
        with self._lock:
            self._waiting.clear()

    def take(self, api: str) -> Fault | None:
        """The fault that strikes this call of ``api``, if any."""
        chosen: _Waiting | None = None
        with self._lock:
            for waiting in self._waiting:
                if waiting.fault.api not in ("*", api):
                    continue
                waiting.seen += 1
                if chosen is None and waiting.seen >= waiting.fault.nth:
                    chosen = waiting
            if chosen is None:
                return None
            chosen.struck += 1
            self._waiting = [waiting for waiting in self._waiting if not waiting.spent]
        return chosen.fault

    def waiting(self) -> tuple[Fault, ...]:
        """The faults that may still strike, in line."""
        with self._lock:
            return tuple(waiting.fault for waiting in self._waiting)
