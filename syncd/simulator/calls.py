"""The five calls: a request in, a reply out. No sockets here, and no faults."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from syncd.simulator.campaigns import Campaigns, FullError, Kept
from syncd.simulator.gate import Gate
from syncd.simulator.inspection import FIELDS, Inspected, Policy, inspect
from syncd.simulator.replies import Replies, Reply
from syncd.simulator.settings import MAX_EXPORT, MAX_RECORDS, Settings

# (method, page, api): what exists under /api/v2/.
CALLS = frozenset(
    {
        ("POST", "campaign.php", "add_record"),
        ("GET", "campaign.php", "campaign_15"),
        ("GET", "campaign.php", "find_record"),
        ("GET", "information.php", "token_info"),
        ("GET", "information.php", "campaigns"),
    }
)

_TELEPHONES = tuple(f"tel{n}" for n in range(1, 11))
_OPTIONS = tuple(f"opt{n}" for n in range(1, 13))

# campaign_15 speaks Spanish. Known: the first four names, opt, tel, tel_extra; the rest are guesses.
_SPANISH: Mapping[str, str] = {
    "customer_name": "nombre_cliente",
    "customer_last_name": "apellido_cliente",
    "id_type": "tipo_doc",
    "customer_id": "id_cliente",
    "age": "edad",
    "gender": "genero",
    "country": "pais",
    "state": "departamento",
    "city": "ciudad",
    "zone": "zona",
    "address": "direccion",
    **{name: name for name in (*_OPTIONS, *_TELEPHONES, "tel_extra")},
}


@dataclass(frozen=True, slots=True)
class Request:
    """A call that got past the gate."""

    method: str
    page: str
    query: Mapping[str, str]
    token: str
    body: bytes = b""

    @property
    def api(self) -> str:
        """The name in ``?api=``."""
        return self.query.get("api", "")


class Calls:
    """Answers calls on the campaigns of one operation."""

    def __init__(self, settings: Settings, campaigns: Campaigns, gate: Gate, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._campaigns = campaigns
        self._gate = gate
        self._clock = clock
        self._replies = Replies(settings)
        self._policy = Policy(
            settings.unknown_fields == "ignore", settings.non_strings == "accept", settings.nulls == "accept"
        )
        self._zone = ZoneInfo(settings.timezone)

    def answer(self, request: Request, *, store: bool = True) -> Reply:
        """The reply to a call; with ``store`` false, the same reply, but nothing is stored or started."""
        if (request.method, request.page, request.api) not in CALLS:
            return self._replies.no_api()
        match request.api:
            case "add_record":
                return self._add_record(request, store=store)
            case "token_info":
                return self._token_info(request)
            case "campaigns":
                return self._list_campaigns(request)
            case "campaign_15":
                return self._export(request)
            case _:
                return self._find(request)

    def _add_record(self, request: Request, *, store: bool) -> Reply:
        kind = request.query.get("type_campaign", "")
        campaign_id = request.query.get("campaign_id", "")
        status = request.query.get("campaign_status", "")
        silent = kind == "preview" and not status  # current pages drop campaign_status for preview
        if kind not in FIELDS or not campaign_id or not (silent or status in ("start", "stop")):
            return self._replies.missing()
        if not self._campaigns.open(campaign_id, kind):
            return self._replies.no_campaign(campaign_id)
        try:
            records = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            return self._replies.not_json()
        if not isinstance(records, list):
            return self._replies.not_json()
        if len(records) > MAX_RECORDS:
            return self._replies.too_many(len(records))
        if self._settings.poison and self._settings.poison.encode() in request.body:
            return self._replies.unnamed(len(records))
        inspected = inspect(records, kind, self._policy) if self._settings.validate else Inspected(records, ())
        return self._take(request, campaign_id, status, records, inspected, store=store)

    def _take(
        self,
        request: Request,
        campaign_id: str,
        status: str,
        records: list[Any],
        inspected: Inspected,
        *,
        store: bool,
    ) -> Reply:
        all_or_nothing = bool(inspected.refused) and self._settings.mixed == "refuse"
        good = [] if all_or_nothing else inspected.good
        if not good:
            return self._replies.partly(len(records), inspected.refused, 0)
        try:
            if store:
                body = request.body if good is records else None
                self._campaigns.accept(campaign_id, good, body, self._clock())
            else:
                self._campaigns.check_room(len(good))
        except FullError as full:
            return self._replies.full(full.total, len(records))
        if store and status:
            self._campaigns.command(campaign_id, status)
        if inspected.refused:
            return self._replies.partly(len(records), inspected.refused, len(good))
        return self._replies.accepted(len(records))

    def _token_info(self, request: Request) -> Reply:
        mine, everyone = self._gate.used(request.token), self._gate.used()
        left = self._settings.quota - (everyone if self._settings.shared_quota else mine)
        return self._replies.rows(
            [
                {
                    "token_limit": str(self._settings.quota),
                    "token_use_today": str(mine),
                    "all_token_today": str(everyone),
                    "available_consumption_options": str(left),
                }
            ]
        )

    def _list_campaigns(self, request: Request) -> Reply:
        wanted = request.query.get("campaign", "")
        rows = [
            {
                "campaign_id": each.id,
                "campaign_name": f"Campaign {each.id}",
                "type_campaign": each.kind,
                "status": each.status,
                "records": str(each.records),
            }
            for each in self._campaigns.summaries()
            if wanted in ("", each.id)
        ]
        if rows:
            return self._replies.rows(rows)
        return self._replies.no_campaign(wanted) if wanted else self._replies.no_rows()

    def _export(self, request: Request) -> Reply:
        campaign_id = request.query.get("campaign_id", "")
        refusal = self._unreadable(campaign_id)
        if refusal is not None:
            return refusal
        kept = self._campaigns.kept(campaign_id, until=self._visible())
        rows = [self._in_spanish(each) for each in islice(kept, MAX_EXPORT)]
        return self._replies.export(campaign_id, rows) if rows else self._replies.no_rows()

    def _find(self, request: Request) -> Reply:
        campaign_id = request.query.get("campaign_id", "")
        telephone = request.query.get("customer_phone", "")
        customer = request.query.get("customer_id", "")
        refusal = self._unreadable(campaign_id)
        if refusal is not None:
            return refusal
        if not telephone and not customer:
            return self._replies.missing()
        needles = [needle for needle in (telephone, customer) if needle]
        rows = [
            _found(each.fields)
            for each in self._campaigns.kept(campaign_id, needles, self._visible())
            if customer in ("", each.fields.get("customer_id"))
            and (not telephone or telephone in (each.fields.get(name) for name in _TELEPHONES))
        ]
        return self._replies.rows(rows[:MAX_EXPORT]) if rows else self._replies.no_rows()

    def _unreadable(self, campaign_id: str) -> Reply | None:
        if not campaign_id:
            return self._replies.missing()
        if self._campaigns.kind(campaign_id) is None:
            return self._replies.no_campaign(campaign_id)
        if not self._settings.keep_records:  # silence would read as "wolkvox holds nothing"
            return self._replies.refusal(501, "This simulator keeps no records (keep_records is off)", "not-kept")
        return None

    def _visible(self) -> float:
        return self._clock() - self._settings.visible_after_secs

    def _in_spanish(self, kept: Kept) -> dict[str, str]:
        row = {spanish: kept.fields.get(name, "") for name, spanish in _SPANISH.items()}
        moment = datetime.fromtimestamp(kept.at, self._zone)
        return {**row, "resultado": "", "fecha": f"{moment:%Y-%m-%d %H:%M:%S}"}


def _found(record: Mapping[str, str]) -> dict[str, str]:
    names = ("customer_name", "customer_last_name", "id_type", "customer_id", *_OPTIONS, *_TELEPHONES)
    return {**{name: record.get(name, "") for name in names}, "result": ""}
