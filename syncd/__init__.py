"""syncd hands the leads of a CRM on Postgres to wolkvox: soon, once, and within the day's quota of calls.

The flow, two loops joined by a ledger:

    CRM table --capture--> LEDGER --pace--> read the rows --map--> POST --classify--> LEDGER
                (intake)                        (delivery)

The promises, and the room that keeps each:

- A key is acknowledged only once it is in the ledger (`intake`), and a lead is in exactly one state there
  (`states`, `ledger`).
- What reading the changes misses, a scan of the keys finds (`capture`, `scanning`).
- No call leaves without a committed intent, and an intent is posted at most once (`delivery`, `ledger`).
- ``delivered`` means that wolkvox said so; what is not known is ``held`` (`replies`).
- The calls of a quota day never exceed the budget, counted from intents (`ledger`, `pacing`).
- No name, telephone number, token or password in a log, an error, a metric or the ledger (`errors`, `logs`).

To read it, begin at the nouns (`model`, `states`, `errors`), then the two loops (`intake`, `delivery`), then what
they stand on: `capture` and `crm` on the one side, `fieldmap`, `record`, `replies` and `wolkvox` on the other,
`ledger` in the middle. `daemon` wires them; `cli`, `web`, `metrics`, `logs` and `systemd` are the edges.
"""

from __future__ import annotations

__version__ = "0.1.0"
