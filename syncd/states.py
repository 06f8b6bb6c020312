"""The states of a lead and of a call, and how one follows from another. Pure.

    pending -> sending -> delivered | rejected | held
    pending -> withdrawn | expired | duplicate | unchanged | rejected
    sending -> pending                 refused for certain, for reasons that are not the lead's
    held    -> delivered | pending | rejected
    delivered, unchanged -> pending    the row changed and ``resend = "when-changed"``
    rejected, withdrawn, expired, duplicate -> pending      the row changed

A change that arrives while its lead is ``sending`` or ``held`` is remembered (`Recapture.remember`) and
considered by `after_settling`, once the outcome is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class LeadState(StrEnum):
    """Where a lead is; each captured key is in exactly one."""

    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    REJECTED = "rejected"
    HELD = "held"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    DUPLICATE = "duplicate"
    UNCHANGED = "unchanged"


_P, _S, _D, _R, _H = (
    LeadState.PENDING,
    LeadState.SENDING,
    LeadState.DELIVERED,
    LeadState.REJECTED,
    LeadState.HELD,
)
_W, _E, _DU, _U = LeadState.WITHDRAWN, LeadState.EXPIRED, LeadState.DUPLICATE, LeadState.UNCHANGED

TRANSITIONS: Final[dict[LeadState, frozenset[LeadState]]] = {
    _P: frozenset({_S, _R, _W, _E, _DU, _U}),
    _S: frozenset({_D, _R, _H, _P}),
    _H: frozenset({_D, _R, _P}),
    _D: frozenset({_P}),
    _U: frozenset({_P}),
    _R: frozenset({_P}),
    _W: frozenset({_P}),
    _E: frozenset({_P}),
    _DU: frozenset({_P}),
}
"""Every step that the ledger may take. The ledger's tests walk it."""


class CallState(StrEnum):
    """Where a call to wolkvox is."""

    INTENDED = "intended"
    """Committed, and perhaps on its way: what became of it is not yet written."""
    ACCEPTED = "accepted"
    ACCEPTED_IN_PART = "accepted_in_part"
    REFUSED = "refused"
    """wolkvox answered, and took nothing of it."""
    NOT_SENT = "not_sent"
    """No byte left: the connection never stood."""
    UNKNOWN = "unknown"
    """It may have been accepted; its leads are held."""


OPEN_CALLS: Final = frozenset({CallState.INTENDED, CallState.UNKNOWN})
"""The states in which a call is unresolved."""


@dataclass(frozen=True, slots=True)
class Recapture:
    """What a change does to a lead that the ledger knows already."""

    state: LeadState
    remember: bool
    """Whether the change must be considered again when the outcome is known."""


def recapture(state: LeadState, *, resend_changed: bool) -> Recapture:
    """Decide what becomes of a known lead when its row has changed.

    Args:
        state: where the lead is now.
        resend_changed: whether the sync says ``resend = "when-changed"``.
    """
    if state in (LeadState.SENDING, LeadState.HELD):
        return Recapture(state, remember=True)
    if state in (LeadState.DELIVERED, LeadState.UNCHANGED) and not resend_changed:
        return Recapture(state, remember=False)
    return Recapture(LeadState.PENDING, remember=False)


def after_settling(state: LeadState, *, changed: bool, resend_changed: bool) -> LeadState:
    """Where a lead goes when its call is settled with `state`, given what was remembered of it."""
    if not changed or state == LeadState.HELD:
        return state
    return recapture(state, resend_changed=resend_changed).state


def add_counts(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    """Two counts of leads by state as one."""
    return {state: first.get(state, 0) + second.get(state, 0) for state in {*first, *second}}
