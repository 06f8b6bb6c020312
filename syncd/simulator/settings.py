"""Every switch of the simulator. docs/simulator.md explains them all; a test keeps the two equal."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin
from zoneinfo import ZoneInfo

from syncd.simulator.faults import Fault
from syncd.simulator.inspection import FIELDS

CALLS_PER_LICENSE = 1000  # a day; WOLKVOX "Limits"
MAX_RECORDS = 10_000  # up, per call; WOLKVOX "Limits"
MAX_EXPORT = 60_000  # down, per call; WOLKVOX "Limits"
MAX_BODY = 256 * 1024 * 1024  # bytes; WOLKVOX "Limits"

_CAMPAIGNS: Mapping[str, str] = MappingProxyType({"12345": "predictive", "12346": "preview"})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a simulated operation behaves. Raises ValueError, naming the switch, for a value out of its range.

    Where nobody knows what wolkvox does, the default is a guess, and both ways should be rehearsed.
    """

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 0
    """Port to listen on; 0 takes a free one."""
    server: str = "0042"
    """What the wolkvox_server header must say."""
    tokens: tuple[str, ...] = ("simulator-token",)
    """The tokens of the operation."""
    licenses: int = 5
    """Active licences: 1,000 calls a day each."""
    shared_quota: bool = True
    """Whether all tokens draw on one quota (UNKNOWN); if not, each has licenses x 1,000."""
    count_refused: bool = True
    """Whether a refused call costs a unit (UNKNOWN); for a spent quota or a bad token it never does."""
    simultaneous: int = 2
    """Calls that one token may have in flight."""
    timezone: str = "America/Bogota"
    """Zone at whose midnight the quota day starts, and of the dates in an export."""
    campaigns: Mapping[str, str] = field(default_factory=lambda: _CAMPAIGNS)
    """The campaigns that exist: id -> predictive | preview."""
    accept_any_campaign: bool = False
    """Whether an unknown campaign comes into being when first named, of the type in the URL."""
    stock: int = -1
    """Records the operation may hold; -1 is 50,000 up to 2 licences and 8,000 each beyond; 0 is no limit."""
    mixed: Literal["keep", "refuse", "keep-404"] = "keep"
    """A batch with some bad records (UNKNOWN): keep the good, refuse all, or keep the good yet answer 404."""
    poison: str = ""
    """A body that has this text in it is refused as a whole, and no record is named (UNKNOWN); empty: none is."""
    duplicates: Literal["append", "replace", "ignore"] = "append"
    """A customer_id that the campaign holds already (UNKNOWN)."""
    total_registers: Literal["blank", "int", "string"] = "blank"
    """How a 201 fills data[0].total_registers."""
    accepted_status: Literal[201, 200] = 201
    """HTTP status of an accepted call; its code is "201" either way."""
    code_type: Literal["string", "int"] = "string"
    """JSON type of ``code`` in the envelope."""
    unknown_fields: Literal["refuse", "ignore"] = "refuse"
    """A field that the campaign's type has not: refuse that record, or drop the field (UNKNOWN)."""
    non_strings: Literal["refuse", "accept"] = "refuse"
    """A value that is no string: refuse that record, or take its text (UNKNOWN)."""
    nulls: Literal["refuse", "accept"] = "refuse"
    """A null: refuse that record, or take it as "" (UNKNOWN)."""
    validate: bool = True
    """Whether records are inspected at all; a bench may spare that."""
    identity: str = "customer_id"
    """The field by which a lead is counted."""
    keep_records: bool = True
    """Whether records are kept for campaign_15 and find_record; counts are kept anyway."""
    visible_after_secs: float = 0.0
    """Reads show a record only so long after it was accepted, by the simulator's clock (UNKNOWN)."""
    no_rows_msg: str = "Campaign not found, please validate the parameters"
    """What a read with no rows says under its 404: misleading, as seen; the words are made up."""
    keep_bodies: int = 0
    """How many of the last request bodies of add_record to keep for a test."""
    latency_secs: float = 0.0
    """Every call waits this long, in real seconds, before its reply."""
    record_secs: float = 0.0
    """And this long for each record of the body."""
    faults: tuple[Fault, ...] = ()
    """Faults scripted from the start."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "campaigns", MappingProxyType(dict(self.campaigns)))
        for each in fields(self):
            allowed = get_args(each.type) if get_origin(each.type) is Literal else None
            if allowed is not None and getattr(self, each.name) not in allowed:
                raise ValueError(
                    f"{each.name} = {getattr(self, each.name)!r}: must be one of {', '.join(map(str, allowed))}"
                )
        for number, kind in self.campaigns.items():
            if kind not in FIELDS:
                raise ValueError(f"campaigns: {number} is {kind!r}; a campaign is predictive or preview")
        if not self.tokens or not all(self.tokens):
            raise ValueError("tokens: at least one, and none of them empty")
        self._check_numbers()
        ZoneInfo(self.timezone)

    def _check_numbers(self) -> None:
        for name, least in (
            ("licenses", 1),
            ("simultaneous", 1),
            ("stock", -1),
            ("keep_bodies", 0),
            ("visible_after_secs", 0),
            ("latency_secs", 0),
            ("record_secs", 0),
            ("port", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)}: must be {least} or more")

    @property
    def quota(self) -> int:
        """Calls a day (WOLKVOX: licences x 1,000)."""
        return self.licenses * CALLS_PER_LICENSE

    @property
    def stock_limit(self) -> int:
        """Records the operation may hold; 0 is no limit (WOLKVOX: 7,000 to 9,500 each; 50,000 for 1 or 2)."""
        if self.stock >= 0:
            return self.stock
        return 50_000 if self.licenses <= 2 else 8_000 * self.licenses

    def with_text(self, pairs: Iterable[str]) -> "Settings":
        """These settings with ``name=value`` words from a command line over them.

        Lists are split on commas: ``tokens=a,b``, ``campaigns=12345:predictive,777:preview``. Faults have a
        text of their own (Fault.parse). Raises ValueError, naming the switch.
        """
        known = {each.name: each.type for each in fields(self) if each.name != "faults"}
        changes: dict[str, Any] = {}
        for pair in pairs:
            name, equals, value = pair.partition("=")
            if not equals or name not in known:
                raise ValueError(f"{pair!r}: want NAME=VALUE, where NAME is one of {', '.join(known)}")
            changes[name] = _typed(name, value, known[name])
        return replace(self, **changes)


def _typed(name: str, value: str, kind: Any) -> object:
    try:
        if name == "tokens":
            return tuple(value.split(","))
        if name == "campaigns":
            return dict(each.split(":", 1) for each in value.split(",") if each)
        if kind is bool:
            return {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}[value.lower()]
        if kind in (int, float):
            return kind(value)
    except (KeyError, ValueError):
        raise ValueError(f"{name} = {value!r}: not a {getattr(kind, '__name__', 'list of id:type')}") from None
    if get_origin(kind) is Literal and isinstance(get_args(kind)[0], int):
        return int(value) if value.isdigit() else value
    return value
