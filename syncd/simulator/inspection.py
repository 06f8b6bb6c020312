"""Which records of a body break a rule, and how the refusal of each reads.

A good body, by far the commonest, is recognised as a whole, in C and with no loop in Python; only a body that
fails is walked record by record. The texts for an empty customer_id are wolkvox's (SEEN); the other rules are
documented, their texts are made up in its manner.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

_BOTH = (
    "customer_name",
    "customer_last_name",
    "id_type",
    "customer_id",
    "age",
    "gender",
    "country",
    "state",
    "city",
    "zone",
    "address",
    *(f"opt{n}" for n in range(1, 13)),
    *(f"tel{n}" for n in range(1, 11)),
)

FIELDS: Mapping[str, frozenset[str]] = {
    "predictive": frozenset((*_BOTH, "tel_extra", "email", "recall_date", "recall_telephone")),
    "preview": frozenset((*_BOTH, "agent_id")),
}
"""The fields of a record, by campaign type (WOLKVOX "Fields")."""

LENGTHS: Mapping[str, int] = {f"opt{n}": 100 if n <= 6 else 200 for n in range(1, 13)}
"""Characters that a field holds (WOLKVOX "Fields"); other lengths are unknown, so not judged."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a record may get away with: see the settings of the same names."""

    unknown_fields: bool = False
    non_strings: bool = False
    nulls: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one record was refused; ``position`` counts from 0 within the body."""

    position: int
    error: str
    msg: str

    def to_json(self) -> dict[str, str]:
        """An entry of array_errors."""
        return {"error": f"{self.error}, object position {self.position}", "msg": self.msg}


@dataclass(frozen=True, slots=True)
class Inspected:
    """A body parted in two: what may be stored, in order, and what was refused."""

    good: Sequence[dict[str, str]]
    refused: Sequence[Refusal]


def inspect(records: list[Any], kind: str, policy: Policy) -> Inspected:
    """Part a body by wolkvox's rules for campaigns of type ``kind``. The records are not changed."""
    if _all_good(records, FIELDS[kind]):
        return Inspected(records, ())
    good: list[dict[str, str]] = []
    refused: list[Refusal] = []
    for position, record in enumerate(records):
        mended, broken = _judge(record, FIELDS[kind], policy)
        if broken is None:
            good.append(mended)
        else:
            refused.append(Refusal(position, *broken))
    return Inspected(good, refused)


def _all_good(records: list[Any], allowed: frozenset[str]) -> bool:
    if set(map(type, records)) != {dict}:
        return False
    names: set[str] = set().union(*records)
    if not names <= allowed or set(map(type, chain.from_iterable(map(dict.values, records)))) != {str}:
        return False
    if not all(map(dict.get, records, repeat("customer_id"))):
        return False
    return all(
        max(map(len, map(dict.get, records, repeat(name), repeat("")))) <= LENGTHS[name]
        for name in LENGTHS
        if name in names
    )


def _judge(record: Any, allowed: frozenset[str], policy: Policy) -> tuple[dict[str, str], tuple[str, str] | None]:
    if not isinstance(record, dict):
        return {}, ("RECORD is not an object", "Every element of the array is an object of fields")
    mended: dict[str, str] = {}
    for name, value in record.items():
        if name not in allowed:
            if not policy.unknown_fields:
                return {}, (
                    f"{name.upper()} is unknown",
                    f"{name.upper()} is not a field of this type of campaign",
                )
            continue
        if value is None and not policy.nulls:
            return {}, (
                f"{name.upper()} is null",
                f"{name.upper()} must be a string, empty where there is none",
            )
        if value is not None and not isinstance(value, str) and not policy.non_strings:
            return {}, (f"{name.upper()} is not a string", f"{name.upper()} must be a string")
        text = "" if value is None else str(value)
        if len(text) > LENGTHS.get(name, len(text)):
            return {}, (
                f"{name.upper()} is too long",
                f"{name.upper()} holds {LENGTHS[name]} characters at most",
            )
        mended[name] = text
    if not mended.get("customer_id"):
        return {}, ("CUSTOMER_ID is empty", "CUSTOMER_ID is a required field, please validate the data")
    return mended, None
