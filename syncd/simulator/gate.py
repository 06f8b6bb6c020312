"""What a call's headers alone decide: its token, its server, how many are in flight, the day's quota."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from syncd.simulator.replies import Replies, Reply
from syncd.simulator.settings import Settings


@dataclass(slots=True)
class Pass:
    """Leave for one call to go on. Give it back with Gate.leave, once."""

    token: str
    day: date
    left: bool = False


class Gate:
    """Counts calls in flight and calls of the day. Safe from any thread."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._zone = ZoneInfo(settings.timezone)
        self._replies = Replies(settings)
        self._lock = threading.Lock()
        # Behind the lock: the units spent by day and token, those in flight by token, and the most ever.
        self._used: dict[date, Counter[str]] = {}
        self._in_flight: Counter[str] = Counter()
        self._peak = 0

    def enter(self, headers: Mapping[str, str]) -> Pass | Reply:
        """Admit a call, spending a unit of the day; or say why not. Header names are in lower case."""
        token = headers.get("wolkvox-token", "")
        if not token:
            return self._replies.no_token()
        if token not in self._settings.tokens:
            return self._replies.bad_token()
        with self._lock:
            today = self.today()
            used = self._used.setdefault(today, Counter())
            self._peak = max(self._peak, self._in_flight[token] + 1)
            if self._spent(used, token) >= self._settings.quota:
                return self._replies.spent()
            refusal = self._refuse(headers, token)
            if refusal is None or self._settings.count_refused:
                used[token] += 1
            if refusal is not None:
                return refusal
            self._in_flight[token] += 1
            return Pass(token, today)

    def leave(self, admitted: Pass, *, refused: bool) -> None:
        """The call is over, just before its last byte leaves; a second time does nothing."""
        with self._lock:
            if admitted.left:
                return
            admitted.left = True
            self._in_flight[admitted.token] -= 1
            if refused and not self._settings.count_refused:
                self._used.setdefault(admitted.day, Counter())[admitted.token] -= 1

    def today(self) -> date:
        """The quota day, by the clock and the zone of reset."""
        return datetime.fromtimestamp(self._clock(), self._zone).date()

    def used(self, token: str | None = None, day: date | None = None) -> int:
        """Units spent on ``day`` (today): by one token, or by all."""
        with self._lock:
            used = self._used.get(day or self.today(), Counter())
            return used.total() if token is None else used[token]

    def set_used(self, units: int) -> None:
        """Pretend that so many units were spent today (other integrations eat the same quota)."""
        with self._lock:
            shares = self._settings.tokens[:1] if self._settings.shared_quota else self._settings.tokens
            self._used[self.today()] = Counter(dict.fromkeys(shares, units))

    def in_flight(self) -> int:
        """Calls admitted and not yet answered."""
        with self._lock:
            return self._in_flight.total()

    def peak(self) -> int:
        """The most calls that one token ever had at once, the refused ones among them."""
        with self._lock:
            return self._peak

    def reset(self) -> None:
        """Forget what was spent and the peak; calls in flight stay."""
        with self._lock:
            self._used.clear()
            self._peak = 0

    def _spent(self, used: Counter[str], token: str) -> int:
        return used.total() if self._settings.shared_quota else used[token]

    def _refuse(self, headers: Mapping[str, str], token: str) -> Reply | None:
        server = headers.get("wolkvox_server", "")
        if not server:
            return self._replies.missing()
        if server != self._settings.server:
            return self._replies.bad_token("bad-server")
        if self._in_flight[token] >= self._settings.simultaneous:
            return self._replies.too_many_at_once()
        return None
