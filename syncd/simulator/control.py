"""The simulator's own pages, under /_simulator/: no token, no quota, counted nowhere."""

from collections.abc import Callable

import orjson

from syncd.simulator.campaigns import Campaigns
from syncd.simulator.faults import Fault, Script
from syncd.simulator.gate import Gate
from syncd.simulator.replies import Reply
from syncd.simulator.state import State
from syncd.simulator.waits import Waits
from syncd.simulator.wire import Head

PREFIX = "/_simulator/"


class Control:
    """Answers the pages, and is what a test calls for the same."""

    def __init__(self, gate: Gate, campaigns: Campaigns, script: Script, state: State, waits: Waits) -> None:
        self._gate = gate
        self._campaigns = campaigns
        self._script = script
        self._state = state
        self._waits = waits
        self._pages: dict[tuple[str, str], Callable[[Head, bytes], object]] = {
            ("GET", "state"): lambda _head, _body: self._state.to_json(),
            ("GET", "leads"): lambda head, _body: self._leads(head),
            ("GET", "faults"): lambda _head, _body: [fault.to_json() for fault in self._script.waiting()],
            ("POST", "faults"): lambda _head, body: self._add_faults(body),
            ("DELETE", "faults"): lambda _head, _body: self.clear_faults(),
            ("POST", "reset"): lambda _head, _body: self.reset(),
            ("POST", "quota"): lambda _head, body: self._set_quota(body),
        }

    def answer(self, head: Head, body: bytes) -> Reply:
        """The reply of a page."""
        page = self._pages.get((head.method, head.path.removeprefix(PREFIX)))
        if page is None:
            known = ", ".join(f"{method} {PREFIX}{name}" for method, name in self._pages)
            return _reply(404, {"error": f"no such page; there are {known}"})
        try:
            return _reply(200, page(head, body))
        except ValueError as error:  # JSONDecodeError is one, too
            return _reply(400, {"error": str(error)})

    def clear_faults(self) -> dict[str, int]:
        """Forget the faults to come, and let hanging calls go on."""
        self._script.clear()
        self._waits.release()
        return {"faults_waiting": 0}

    def reset(self) -> dict[str, bool]:
        """As freshly started: no record, no count, no fault, no unit spent."""
        self.clear_faults()
        self._gate.reset()
        self._campaigns.reset()
        self._state.reset()
        return {"reset": True}

    def set_quota_used(self, units: int) -> dict[str, int]:
        """Pretend that so many units were spent today."""
        self._gate.set_used(units)
        return {"used": self._gate.used()}

    def _leads(self, head: Head) -> dict[str, int]:
        campaign_id = head.query.get("campaign_id", "")
        if self._campaigns.kind(campaign_id) is None:
            raise ValueError(f"campaign_id {campaign_id!r}: no such campaign")
        floor = head.query.get("more_than", "0")
        if not floor.isdigit():
            raise ValueError(f"more_than {floor!r}: want a number")
        return {lead: times for lead, times in self._state.accepted(campaign_id).items() if times > int(floor)}

    def _add_faults(self, body: bytes) -> dict[str, int]:
        listed = orjson.loads(body)
        if not isinstance(listed, list):
            raise ValueError("want a JSON list of faults")  # noqa: TRY004 - answered as a bad request
        self._script.add([Fault.from_json(each) for each in listed])
        return {"faults_waiting": len(self._script.waiting())}

    def _set_quota(self, body: bytes) -> dict[str, int]:
        wish = orjson.loads(body)
        used = wish.get("used") if isinstance(wish, dict) else None
        if not isinstance(used, int) or isinstance(used, bool) or used < 0:
            raise ValueError('want {"used": a number of 0 or more}')
        return self.set_quota_used(used)


def _reply(status: int, answer: object) -> Reply:
    return Reply(status, orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE))
