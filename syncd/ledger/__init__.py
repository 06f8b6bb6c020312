"""The ledger: the only code that touches its tables.

`Ledger` is what the loops hold: each of its methods is one transaction. Behind it, `captures` is what intake writes,
`calls` and `outcomes` what delivery writes before and after a call, `views` what operators read, `lease` who may send;
`home` is the database, `schema` its tables, `migration` their history.
"""

from __future__ import annotations

from syncd.ledger.calls import Claim, Intent, new_call_id
from syncd.ledger.captures import Captured, SyncPosition
from syncd.ledger.lease import LEASE_SECS, RENEW_SECS, Lease
from syncd.ledger.ledger import Ledger, open_ledger
from syncd.ledger.outcomes import Ending
from syncd.ledger.resolving import Findings, HeldLead, OpenCall, pack_prints

__all__ = [
    "LEASE_SECS",
    "RENEW_SECS",
    "Captured",
    "Claim",
    "Ending",
    "Findings",
    "HeldLead",
    "Intent",
    "Lease",
    "Ledger",
    "OpenCall",
    "SyncPosition",
    "new_call_id",
    "open_ledger",
    "pack_prints",
]
