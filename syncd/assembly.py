"""Building the parts from the configuration: what the daemon and the commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

from sqlalchemy.engine import make_url

from syncd.batch import Lane
from syncd.capture import Source
from syncd.capture.listen import ListenSource
from syncd.capture.outbox import OutboxConnection
from syncd.capture.poll import PollSource
from syncd.capture.slot import SlotSource
from syncd.config import Config, Sync, read_secret
from syncd.crm import CrmConnection, Joined, RowReader, crm_clock
from syncd.delivery import ClockGate, Delivery, Rules
from syncd.errors import ConfigError
from syncd.fieldmap import FieldMap, Route, compile_map, compile_route
from syncd.intake import Intake
from syncd.ledger import Ledger
from syncd.model import Campaign, Clock
from syncd.pacing import OpenHours
from syncd.verify import Verifier, VerifyRules
from syncd.witness import Guard, Witness
from syncd.wolkvox import Wolkvox

_STATE = "/var/lib/syncd"
"""The StateDirectory of the service, for the commands."""


def about(sync: Sync) -> str:
    """How errors name a sync."""
    return f'sync "{sync.name}"'


def crm_password(config: Config, config_file: Path) -> str | None:
    """The CRM's password, or None where none is configured.

    Raises:
        ConfigError: the file cannot be read.
    """
    if config.crm.password_file is None:
        return None
    return read_secret(config.crm.password_file, config_file, "crm.password_file")


def ledger_secrets(config: Config, config_file: Path) -> None:
    """Read what the ledger's secrets are configured to be, to see whether they can be.

    Raises:
        ConfigError: one of their files cannot be read.
    """
    for key in ("password_file", "hash_key_file"):
        named = getattr(config.ledger, key)
        if named is not None:
            read_secret(named, config_file, f"ledger.{key}")


def crm_connection(
    config: Config, config_file: Path, purpose: str, *, writes: bool = False, replication: bool = False
) -> CrmConnection:
    """A connection to the CRM for one purpose; it opens when it is used.

    Raises:
        ConfigError: the password's file cannot be read.
    """
    crm = config.crm
    return CrmConnection(
        crm.url,
        crm_password(config, config_file),
        purpose,
        crm.statement_timeout_secs,
        instance=f"wv{config.wolkvox.server}",
        writes=writes,
        replication=replication,
    )


class CrmConnections:
    """The daemon's connections to the CRM: one for each purpose, opened when it is used.

    Raises:
        ConfigError: the password's file cannot be read.
    """

    def __init__(self, config: Config, config_file: Path) -> None:
        self.capture = crm_connection(config, config_file, "capture")
        """Asks which rows changed or match, for all syncs; the intake thread's."""
        self.delivery = crm_connection(config, config_file, "delivery")
        """Reads the rows of a batch; the delivery thread's."""
        self.outboxes = OutboxConnection(crm_connection(config, config_file, "outbox", writes=True))
        """Listens, and empties what `syncd setup` installed, for all syncs with capture = "listen"."""
        self.streams = {
            sync.name: crm_connection(config, config_file, f"slot {sync.name}", replication=True)
            for sync in config.sync
            if sync.capture == "slot"
        }
        """The replication stream of each sync with capture = "slot"."""

    def close(self) -> None:
        """Close what is open."""
        self.outboxes.close()
        for connection in (self.capture, self.delivery, *self.streams.values()):
            connection.close()


def client(config: Config, config_file: Path) -> Wolkvox:
    """wolkvox, with its token.

    Raises:
        ConfigError: the token's file cannot be read.
    """
    wolkvox = config.wolkvox
    token = read_secret(wolkvox.token_file, config_file, "wolkvox.token_file")
    if not token.isascii():
        raise ConfigError([f'{config_file}: wolkvox.token_file = "{wolkvox.token_file}": a token has only ASCII'])
    return Wolkvox(wolkvox.address, wolkvox.server, token, wolkvox.call_timeout_secs)


def field_map(config: Config, sync: Sync) -> FieldMap:
    """The compiled field map of a sync."""
    return compile_map(
        {field: spec.to_rule() for field, spec in sync.fields.items()},
        campaign_type=sync.campaign.type,
        require=sync.require,
        zone=config.wolkvox.zone,
    )


def campaign(sync: Sync) -> Campaign:
    """The campaign of a sync; its id is "" where a rule says it of each lead."""
    return Campaign(sync.campaign.number, sync.campaign.type, sync.campaign.status)


def maps(config: Config, sync: Sync) -> tuple[FieldMap, Route | None]:
    """The compiled field map of a sync, and which campaign each lead goes to; None where all go to the same."""
    fieldmap, rule = field_map(config, sync), sync.campaign.rule
    return fieldmap, None if rule is None else compile_route(rule, fieldmap.columns, config.wolkvox.zone)


def source(sync: Sync, connections: CrmConnections) -> Source:
    """How the changes of a sync are found."""
    match sync.capture:
        case "listen":
            return ListenSource(
                connections.capture,
                connections.outboxes,
                sync.relation,
                key=sync.key,
                watermark=sync.watermark_column,
                where=sync.where,
                start=sync.start,
                objects=sync.objects,
                about=about(sync),
            )
        case "slot":
            return SlotSource(
                connections.capture,
                connections.streams[sync.name],
                sync.relation,
                key=sync.key,
                watermark=sync.watermark_column,
                where=sync.where,
                start=sync.start,
                objects=sync.objects,
                about=about(sync),
                poll_secs=sync.poll_secs,
            )
        case "poll":
            assert sync.watermark_column is not None
            return PollSource(
                connections.capture,
                sync.relation,
                key=sync.key,
                watermark=sync.watermark_column,
                where=sync.where,
                start=sync.start,
                lookback_secs=sync.lookback_secs,
                about=about(sync),
            )


def columns(config: Config, sync: Sync) -> tuple[str, ...]:
    """The columns that are read of each lead, besides its key; those of joined tables after the name of the join."""
    return columns_for(*maps(config, sync))


def columns_for(fieldmap: FieldMap, route: Route | None) -> tuple[str, ...]:
    """The same, of maps that are compiled already."""
    return fieldmap.columns if route is None else route.columns


def joins(sync: Sync) -> list[Joined]:
    """The tables whose columns come along with a sync's leads."""
    return [Joined(join.as_, join.relation, join.key, join.on) for join in sync.join]


def reader(
    sync: Sync, columns: tuple[str, ...], connection: CrmConnection, *, whatever_where: bool = False
) -> RowReader:
    """How the current rows of a sync's leads are read.

    Args:
        whatever_where: those that do not match the sync's ``where`` as well.
    """
    where = None if whatever_where else sync.where
    return RowReader(connection, sync.relation, sync.key, columns, where, about(sync), joins(sync))


def intakes(config: Config, ledger: Ledger, connections: CrmConnections, clock: Clock) -> list[Intake]:
    """The intake of every sync."""
    return [
        Intake(
            ledger,
            source(sync, connections),
            sync.name,
            resend_changed=sync.resend == "when-changed",
            poll_secs=sync.poll_secs,
            sweep_secs=sync.sweep_secs,
            clock=clock,
        )
        for sync in config.sync
    ]


def witness(config: Config, environ: Mapping[str, str] = os.environ) -> Witness | None:
    """The ledger's witness: where it is configured to be; else beside a SQLite ledger, or in syncd's own folder.

    Returns:
        None where a Postgres ledger has no witness_file, and this host has no folder of syncd's.
    """
    ledger = config.ledger
    if ledger.witness_file is not None:
        return Witness(ledger.witness_file)
    database = make_url(ledger.url).database or ""
    if ledger.is_sqlite:
        return Witness(Path(f"{database}.witness"))
    folder = Path(environ.get("STATE_DIRECTORY", "").partition(":")[0] or _STATE)
    if not os.access(folder, os.W_OK | os.X_OK):
        return None
    return Witness(folder / f"witness-{config.wolkvox.server}-{database.replace('/', '_')}")


def sending(
    config: Config,
    ledger: Ledger,
    connection: CrmConnection,
    wolkvox: Wolkvox,
    term: Callable[[], int],
    clock: Clock,
    guard: Guard | None = None,
) -> tuple[Delivery, Verifier]:
    """The delivery of every sync, and the verification of its unresolved calls, in one thread over the same lanes."""
    how = VerifyRules(
        verify_after_secs=config.delivery.verify_after_secs,
        verify_again_secs=config.delivery.verify_again_secs,
        on_unresolved=config.delivery.on_unresolved,
        budget=config.wolkvox.budget,
        concurrent_calls=config.wolkvox.concurrent_calls,
        zone=config.wolkvox.zone,
    )
    every, gate = lanes(config, connection), ClockGate(ledger, lambda: crm_clock(connection))
    return (
        Delivery(ledger, every, wolkvox, rules(config), term, clock, gate, guard),
        Verifier(ledger, every, wolkvox, how, term, clock, gate.objection),
    )


def lanes(config: Config, connection: CrmConnection) -> list[Lane]:
    """Every sync as delivery sees it."""
    found = []
    across = frozenset(sync.name for sync in config.sync if sync.dedupe and sync.dedupe.across)
    for sync in config.sync:
        fieldmap, route = maps(config, sync)
        hours = sync.max_age_hours or config.delivery.max_age_hours
        found.append(
            Lane(
                sync=sync.name,
                campaign=campaign(sync),
                reader=reader(sync, columns_for(fieldmap, route), connection),
                fieldmap=fieldmap,
                resend_changed=sync.resend == "when-changed",
                dedupe_by=sync.dedupe.fields({*sync.fields, *fieldmap.telephones}) if sync.dedupe else (),
                dedupe_secs=sync.dedupe.within_hours * 3600.0 if sync.dedupe else 0.0,
                marker=config.delivery.batch_marker,
                max_age_secs=None if hours is None else hours * 3600,
                max_per_hour=sync.max_leads_per_hour or config.delivery.max_leads_per_hour,
                dedupe_across=across if sync.dedupe and sync.dedupe.across else (),
                route=route,
            )
        )
    return found


def rules(config: Config) -> Rules:
    """What delivery obeys."""
    return Rules(
        batch_size=config.delivery.batch_size,
        max_wait_secs=config.delivery.max_wait_secs,
        hours=OpenHours.parse(config.delivery.hours),
        closed_on=closed_on(config.delivery.holidays),
        zone=config.wolkvox.zone,
        daily_limit=config.wolkvox.daily_limit,
        reserve_calls=config.wolkvox.reserve_calls,
        concurrent_calls=config.wolkvox.concurrent_calls,
        verify_calls=verify_calls(config),
    )


def verify_calls(config: Config) -> int:
    """Calls a day that are kept for verification: one of a hundred, five at least."""
    budget = config.wolkvox.budget
    return min(max(5, budget // 100), budget // 2)


def closed_on(country: str | None) -> Callable[[date], bool]:
    """Tells the public holidays of a country; none where no country is named."""
    if country is None:
        return lambda _day: False
    from holidays import country_holidays  # slow to import, and only those who ask for it pay

    calendar = country_holidays(country)
    return lambda day: day in calendar
