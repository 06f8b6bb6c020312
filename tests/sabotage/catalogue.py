"""All sabotages, by the part of the protocol that they break."""

from __future__ import annotations

from typing import Final

from tests.sabotage.bug import Bug
from tests.sabotage.bugs_capture import CAPTURE
from tests.sabotage.bugs_doubt import DOUBT
from tests.sabotage.bugs_ledger import LEDGER
from tests.sabotage.bugs_life import LIFE
from tests.sabotage.bugs_routing import ROUTING
from tests.sabotage.bugs_sending import SENDING
from tests.sabotage.bugs_verify import VERIFY
from tests.sabotage.bugs_wire import WIRE

PARTS: Final[dict[str, tuple[Bug, ...]]] = {
    "sending": SENDING,
    "wire": WIRE,
    "ledger": LEDGER,
    "verification": VERIFY,
    "capture": CAPTURE,
    "doubt": DOUBT,
    "life": LIFE,
    "routing": ROUTING,
}
BUGS: Final[tuple[Bug, ...]] = tuple(bug for bugs in PARTS.values() for bug in bugs)
