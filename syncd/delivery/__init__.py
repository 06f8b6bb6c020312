"""The delivery loop: from the ledger to wolkvox.

`sending` is the loop, `gates` what keeps a sync from being sent, `results` what a turn gives,
`isolating` how leads are found for which a whole call is refused.
"""

from __future__ import annotations

from syncd.delivery.gates import ClockGate
from syncd.delivery.results import LOOK_SECS, CallReport, DeliveryResult, Rules, Standing
from syncd.delivery.sending import Delivery

__all__ = ["LOOK_SECS", "CallReport", "ClockGate", "Delivery", "DeliveryResult", "Rules", "Standing"]
