"""The configuration as typed, frozen models: one class a table of the TOML file, one field a key.

The docstring under a field is its documentation; `config.example.toml` is checked against these models.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from syncd.config import rules
from syncd.config.campaign import CampaignTable
from syncd.config.dedupe import Dedupe
from syncd.config.fields import FieldSpec
from syncd.config.joins import Join, faults_of
from syncd.config.objects import Objects
from syncd.pacing import HoursError, OpenHours

CALLS_PER_LICENSE = 1000
"""Calls a day that one licence gives (vendor's documentation)."""
LARGEST_BATCH = 10_000
"""Records that one call may carry (vendor's documentation)."""


class Table(BaseModel):
    """What every table of the configuration shares: unknown keys are errors, nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, hide_input_in_errors=False
    )


SecretFile = Annotated[Path, Field(strict=False)]
"""A path, written as a string; looked up as `read_secret` says."""


class Crm(Table):
    """The CRM's database: read only, never written."""

    url: Annotated[str, AfterValidator(rules.database_url)]
    """Where it is: postgresql://user@host:port/database, and libpq's parameters such as ?sslmode=verify-full."""
    password_file: SecretFile | None = None
    """A file that holds the password and nothing else."""
    statement_timeout_secs: int = Field(default=30, ge=1, le=3600)
    """A query that takes longer is given up, so that syncd cannot weigh on the CRM."""


class Ledger(Table):
    """syncd's own memory of what it captured and sent."""

    url: Annotated[str, AfterValidator(rules.ledger_url)] = "sqlite:////var/lib/syncd/ledger.db"
    """A file of SQLite on a local disk, or a Postgres database."""
    password_file: SecretFile | None = None
    """A file that holds the password of a Postgres ledger."""
    hash_key_file: SecretFile | None = None
    """A file with 32 or more random characters that key the ledger's hashes; by default, with SQLite, a file beside
    the ledger that syncd makes itself. A Postgres ledger needs it, the same on every host."""
    witness_file: Annotated[Path, Field(strict=False), AfterValidator(rules.whole_path)] | None = None
    """A file of this host, best on another disk, by which a ledger is noticed that was restored from a copy; default:
    beside a SQLite ledger, and for a Postgres ledger in /var/lib/syncd. syncd makes it."""

    @model_validator(mode="after")
    def _postgres_needs_a_key(self) -> Self:
        if not self.is_sqlite and self.hash_key_file is None:
            raise ValueError(
                "hash_key_file is required with a Postgres ledger; make one with: head -c 32 /dev/urandom | base64"
            )
        return self

    @property
    def is_sqlite(self) -> bool:
        """Whether the ledger is a file of this host."""
        return self.url.startswith("sqlite:")


class Wolkvox(Table):
    """The operation that dials."""

    server: Annotated[str, AfterValidator(rules.server)]
    """The server's number, as in https://wv0042.wolkvox.com."""
    token_file: SecretFile
    """A file that holds the API token and nothing else."""
    licenses: int = Field(ge=1, le=100_000)
    """Licences of the operation: each gives 1,000 calls a day."""
    reserve_calls: int = Field(default=0, ge=0)
    """Calls a day left to your other integrations."""
    timezone: Annotated[str, AfterValidator(rules.zone)] = "America/Bogota"
    """The zone whose midnight begins the quota day, and in which recall_date and `hours` are written."""
    concurrent_calls: Literal[1, 2] = 1
    """Calls that may be in flight at once with this token."""
    call_timeout_secs: int = Field(default=75, ge=1, le=600)
    """How long one call may take in all; wolkvox itself gives up after 60 seconds."""
    base_url: Annotated[str, AfterValidator(rules.base_url)] | None = None
    """Where to send the calls instead: the simulator. Plain http is refused off loopback."""

    @model_validator(mode="after")
    def _reserve_leaves_something(self) -> Self:
        if self.budget <= 0:
            raise ValueError(
                f"reserve_calls = {self.reserve_calls} leaves nothing of the {self.daily_limit} calls "
                "a day that the licences give"
            )
        return self

    @property
    def daily_limit(self) -> int:
        """Calls a day that the licences give."""
        return self.licenses * CALLS_PER_LICENSE

    @property
    def budget(self) -> int:
        """Calls a day that syncd may start, of whatever kind."""
        return self.daily_limit - self.reserve_calls

    @property
    def address(self) -> str:
        """The base of every call's address."""
        return self.base_url or f"https://wv{self.server}.wolkvox.com"

    @property
    def zone(self) -> ZoneInfo:
        """The zone of the quota day."""
        return ZoneInfo(self.timezone)


class Delivery(Table):
    """When and how leads leave."""

    batch_size: int = Field(default=LARGEST_BATCH, ge=1, le=LARGEST_BATCH)
    """Leads that one call carries at most."""
    max_wait_secs: int = Field(default=900, ge=1, le=86_400)
    """No lead waits longer than this while calls are left and the hours are open."""
    hours: list[str] = Field(default_factory=list)
    """When leads may leave, such as "Mon-Fri 07:00-19:00"; empty: always."""
    holidays: str | None = None
    """The country whose public holidays have no delivery, such as "CO"; default: none."""
    on_unresolved: Literal["hold", "assume-delivered", "resend"] = "hold"
    """What becomes of leads whose call's outcome wolkvox cannot tell either: they wait for `syncd resolve`, or count as
    delivered (some may never be called), or are sent again (some may be called twice)."""
    verify_after_secs: int = Field(default=180, ge=60, le=86_400)
    """wolkvox is asked about an unknown outcome after this long."""
    verify_again_secs: int = Field(default=600, ge=60, le=86_400)
    """A lead that wolkvox has not is sent again only once that was seen twice, this far apart."""
    max_age_hours: float | None = Field(default=None, gt=0, le=8760)
    """A lead that has waited longer for its call is not sent any more; default: none is too old."""
    max_leads_per_hour: int | None = Field(default=None, ge=1)
    """More leads of one sync within an hour pause it, until `syncd resume`: a bulk change in the CRM must not dial
    everybody. Default: no limit. Rows that were there at the start are not counted."""
    batch_marker: Annotated[str, AfterValidator(rules.marker)] | None = None
    """A field to stamp with the call's id, which makes verification exact."""

    @field_validator("hours")
    @classmethod
    def _hours_parse(cls, value: list[str]) -> list[str]:
        try:
            OpenHours.parse(value)
        except HoursError as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("holidays")
    @classmethod
    def _holidays_known(cls, value: str | None) -> str | None:
        if value is not None:
            from holidays import (
                list_supported_countries,
            )  # a slow import, and only those who set the key pay it

            if value not in list_supported_countries():
                raise ValueError('must be the two letters of a country that has a calendar here, such as "CO"')
        return value


class Http(Table):
    """Where syncd shows itself."""

    listen: str = "127.0.0.1:9464"
    """Address of /metrics, /livez, /readyz, /status and /; "" turns it off. Loopback only: it has no password."""

    @field_validator("listen")
    @classmethod
    def _listen_is_loopback(cls, value: str) -> str:
        if value == "":
            return value
        host, _, port = value.rpartition(":")
        if not host or not (port.isascii() and port.isdigit() and int(port) <= 65535):
            raise ValueError("must be HOST:PORT, such as 127.0.0.1:9464")
        if not rules.is_loopback(host):
            raise ValueError("must be a loopback address: the pages have no password; put a proxy before it")
        return value

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port, or None where it is turned off."""
        if not self.listen:
            return None
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class Log(Table):
    """What is logged, and how."""

    format: Literal["json", "console"] | None = None
    """Default: console on a terminal, else json."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least of what is logged."""


_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}$")
_INSTANT_RULE = 'must be "now", "beginning" or an instant with its offset, such as 2026-11-01T00:00:00-05:00'


def _text_or_instant(value: Any) -> Any:
    if not isinstance(value, str | datetime):
        raise ValueError(_INSTANT_RULE)  # noqa: TRY004  # pydantic takes no TypeError
    return value


class Sync(Table):
    """One table that feeds one campaign."""

    name: str
    """How the sync is called in commands, logs and metrics: lower-case letters, digits, - and _."""
    table: str = Field(min_length=1)
    """schema.table, or a view; without a schema, public."""
    key: str = Field(min_length=1)
    """The column that identifies a row; must be unique."""
    capture: Literal["poll", "listen", "slot"] = "poll"
    """How changes are found: by asking at intervals, by triggers (`syncd setup`), or by a replication slot."""
    crm_name: str | None = None
    """listen, slot: how the objects that `syncd setup` makes in the CRM are called; default: the sync's name. Two
    syncds on one CRM need different ones."""
    watermark_column: str | None = Field(default=None, min_length=1)
    """A timestamp or an increasing number that every insert and update sets; indexed. poll needs it; listen and slot
    use it where it is given, to tell rows that were there before the start."""
    poll_secs: float = Field(default=5, ge=0.05, le=3600)
    """Seconds from one query to the next; listen and slot hear of changes at once, and look this often all the same."""
    lookback_secs: int = Field(default=300, ge=0, le=604_800)
    """poll: re-read this far behind the watermark, for transactions that commit late; longer than the CRM's longest."""
    sweep_secs: int = Field(default=3600, ge=1, le=604_800)
    """How often to look for rows that capture missed."""
    start: Annotated[str | datetime, BeforeValidator(_text_or_instant)] = "now"
    """Where the first run begins: "now", "beginning", or an instant. Later runs go on where the ledger is."""
    where: str | None = Field(default=None, min_length=1)
    """A condition in SQL on the columns of the table that a lead must meet; checked again at delivery."""
    resend: Literal["never", "when-changed"] = "never"
    """Whether a delivered lead is sent again when its record differs."""
    require: list[str] = Field(default_factory=list)
    """wolkvox fields that must not be empty."""
    max_age_hours: float | None = Field(default=None, gt=0, le=8760)
    """As delivery.max_age_hours, for this sync."""
    max_leads_per_hour: int | None = Field(default=None, ge=1)
    """As delivery.max_leads_per_hour, for this sync."""
    join: list[Join] = Field(default_factory=list)
    """Tables whose columns come along with each lead."""
    dedupe: Dedupe | None = None
    """Leave out a lead whose value was delivered lately."""
    campaign: CampaignTable
    """Where its leads go."""
    fields: dict[str, FieldSpec] = Field(min_length=1)
    """wolkvox field = rule; a bare string is a column."""

    @field_validator("name", "crm_name")
    @classmethod
    def _name_is_plain(cls, value: str | None) -> str | None:
        if value is not None and not _NAME.match(value):
            raise ValueError("must be lower-case letters, digits, - and _, at most 63 of them")
        return value

    @field_validator("join")
    @classmethod
    def _joins_stand_on_those_above(cls, value: list[Join]) -> list[Join]:
        if (fault := faults_of(value)) is not None:
            raise ValueError(fault)
        return value

    @field_validator("start")
    @classmethod
    def _start_is_an_instant(cls, value: str | datetime) -> str | datetime:
        if value in ("now", "beginning"):
            return value
        try:
            instant = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(_INSTANT_RULE) from None
        if instant.tzinfo is None:
            raise ValueError(_INSTANT_RULE)
        return instant

    @model_validator(mode="after")
    def _poll_has_a_watermark(self) -> Self:
        if self.capture == "poll" and self.watermark_column is None:
            raise ValueError('watermark_column is required with capture = "poll"')
        if isinstance(self.start, datetime) and self.watermark_column is None:
            raise ValueError(
                "watermark_column is required where start is an instant: it tells older rows from newer ones"
            )
        if self.dedupe is not None and (fault := self.dedupe.fault(self.fields)) is not None:
            raise ValueError(fault)
        return self

    @property
    def objects(self) -> Objects:
        """What is called after the sync in the CRM."""
        return Objects(self.crm_name or self.name)

    @property
    def relation(self) -> tuple[str, str]:
        """Schema and name of the table."""
        schema, dot, name = self.table.partition(".")
        return (schema, name) if dot else ("public", schema)


class Config(Table):
    """The whole file."""

    crm: Crm
    ledger: Ledger = Field(default_factory=Ledger)
    wolkvox: Wolkvox
    delivery: Delivery = Field(default_factory=Delivery)
    http: Http = Field(default_factory=Http)
    log: Log = Field(default_factory=Log)
    sync: list[Sync] = Field(min_length=1)
