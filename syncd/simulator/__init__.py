"""A wolkvox to rehearse on: an HTTP server on loopback that answers as wolkvox does, and counts.

wolkvox has no sandbox, so this is where a configuration is tried before a real person is dialled, and what
the tests, the demo and the bench send to. It keeps nothing on disk and calls nobody.

The path of a call, which is also a reading order::

    wire.py        bytes <-> one HTTP/1.1 request
    gate.py        token, server, two at once, the day's quota: what headers alone decide
    faults.py      what was scripted to go wrong with this call
    inspection.py  which records of a body break a rule
    campaigns.py   what was accepted, and how often each lead
    calls.py       the five calls: a request in, a reply out
    replies.py     wolkvox's envelopes and texts
    exchange.py    one call from its headers to its last byte, faults included
    waits.py       where a delayed or hanging call waits
    control.py     the simulator's own pages under /_simulator/
    server.py      Simulator: threads and sockets
    state.py       what a test asks afterwards
    settings.py    every switch

Three sorts of behaviour live here, and docs/simulator.md keeps them apart: what wolkvox documents or was seen
to do (the default), what nobody knows (a switch), and what can go wrong on the way (a fault).
"""

from syncd.simulator.faults import Fault
from syncd.simulator.server import Simulator, run
from syncd.simulator.settings import Settings
from syncd.simulator.state import Seen, State

__all__ = ["Fault", "Seen", "Settings", "Simulator", "State", "run"]
