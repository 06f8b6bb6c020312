"""wolkvox's record: its fields, its limits, and what makes one fit to be sent. Pure.

A record holds every field of its campaign's type, each a string, ``""`` where there is nothing to say. What a
record must obey is checked here, before it leaves, because what wolkvox does with a batch of which some
records are bad is not known. The rules, and the words that `Rejection.rule` gives them:

====================  =====================================================================================
``fields``            the fields of the campaign's type, all of them and no other (vendor's documentation)
``type``              every value a string (vendor's documentation)
``characters``        no control characters and no lone surrogates: not text, whatever carries them
``form``              NFC, and single spaces between words alone: one text has one form, for lookups and reports
``required``          ``customer_id`` is not empty (seen at the real service)
``comma``             ``customer_id`` has no comma: the vendor's call that removes records splits at commas
``length``            ``opt1`` to ``opt12`` have limits (vendor's documentation); others are not known
``digits``            telephones are digits alone (the practice of every integration that was seen)
``telephone``         at least one of ``tel1`` to ``tel10``: a dialling campaign dials
``recall``            ``recall_date`` is ``YYYYmmddHHMMSS``, 30 minutes ahead or more (vendor's documentation)
====================  =====================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final
from unicodedata import is_normalized
from zoneinfo import ZoneInfo

from syncd.model import Instant, Record, Rejection

CUSTOMER_ID: Final = "customer_id"
RECALL_DATE: Final = "recall_date"

DIALLED: Final = tuple(f"tel{n}" for n in range(1, 11))
"""The telephones that a campaign dials, in the order of trial."""

TELEPHONES: Final = frozenset({*DIALLED, "tel_extra", "recall_telephone"})
"""Every field that holds a telephone number."""

_OPTIONAL: Final = tuple(f"opt{n}" for n in range(1, 13))
_PERSON: Final = (
    "customer_name",
    "customer_last_name",
    "id_type",
    CUSTOMER_ID,
    "age",
    "gender",
    "country",
    "state",
    "city",
    "zone",
    "address",
)

PREDICTIVE_FIELDS: Final = (
    *_PERSON,
    *_OPTIONAL,
    *DIALLED,
    "tel_extra",
    "email",
    RECALL_DATE,
    "recall_telephone",
)
"""The fields of a record for a predictive campaign, in the vendor's order; WhatsApp and SMS use them too."""

PREVIEW_FIELDS: Final = (*_PERSON, *_OPTIONAL, *DIALLED, "agent_id")
"""The fields of a record for a preview campaign, in the vendor's order."""

FIELDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"predictive": PREDICTIVE_FIELDS, "preview": PREVIEW_FIELDS}
)
"""The fields by campaign type."""

LIMITS: Final[Mapping[str, int]] = MappingProxyType(
    {field: 100 if n <= 6 else 200 for n, field in enumerate(_OPTIONAL, start=1)}
)
"""The most characters that a field holds, where the vendor's documentation says so."""

RECALL_AHEAD_SECS: Final = 30 * 60
"""How far ahead of now a recall must be, at least (vendor's documentation)."""

REPORT_ZONE: Final = "America/Bogota"
"""The zone of wolkvox's dates where nothing else is configured: its reports are always GMT-5."""

_NOT_TEXT: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_STAMP_DIGITS: Final = 14
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - beside other times without an offset


@dataclass(frozen=True, slots=True)
class Schema:
    """What the records of one campaign type must obey."""

    campaign_type: str
    """``predictive`` or ``preview``."""
    fields: tuple[str, ...]
    """Every field of a record, in the vendor's order."""
    zone: ZoneInfo
    """The zone in which ``recall_date`` is read."""

    @property
    def blank(self) -> Record:
        """A new record with every field empty."""
        return dict.fromkeys(self.fields, "")

    def check(self, record: Mapping[str, object], now: Instant) -> Rejection | None:
        """Say the first thing that is wrong with a record, or None where it may be sent.

        Args:
            record: by field; may hold anything at all.
            now: seconds since the epoch, against which ``recall_date`` is measured.
        """
        if record.keys() != set(self.fields):
            return Rejection("", "fields", f"The record has not the fields of a {self.campaign_type} campaign.")
        for field in self.fields:
            rejection = self.check_value(field, record[field], now)
            if rejection is not None:
                return rejection
        if not any(record[field] for field in DIALLED):
            return Rejection("", "telephone", "There is no telephone to dial: tel1 to tel10 are all empty.")
        return None

    def check_value(self, field: str, value: object, now: Instant) -> Rejection | None:
        """Say what is wrong with the value of one field, or None where it is right.

        Args:
            field: one of `fields`.
            value: may be anything; only a string can be right.
            now: seconds since the epoch.
        """
        if not isinstance(value, str):
            return Rejection(field, "type", f"{field} is not text.")
        if _NOT_TEXT.search(value):
            return Rejection(field, "characters", f"{field} holds characters that are not text.")
        if value != " ".join(value.split()) or not is_normalized("NFC", value):
            return Rejection(field, "form", f"{field} has spaces to fold, or letters that are not composed.")
        if field == CUSTOMER_ID:
            return _check_customer_id(value)
        limit = LIMITS.get(field)
        if limit is not None and len(value) > limit:
            return Rejection(field, "length", f"{field} is longer than {limit} characters.")
        if field in TELEPHONES and value and not (value.isascii() and value.isdigit()):
            return Rejection(field, "digits", f"{field} is a telephone, and has other characters than digits.")
        if field == RECALL_DATE and value:
            return _check_recall(value, now, self.zone)
        return None


def schema(campaign_type: str, zone: ZoneInfo | None = None) -> Schema:
    """The schema of a campaign type.

    Args:
        campaign_type: ``predictive`` or ``preview``.
        zone: in which ``recall_date`` is read; that of wolkvox's reports by default.

    Raises:
        ValueError: for any other type.
    """
    fields = FIELDS.get(campaign_type)
    if fields is None:
        raise ValueError(f"A campaign is one of {', '.join(FIELDS)}, not {campaign_type!r}.")
    return Schema(campaign_type, fields, zone or ZoneInfo(REPORT_ZONE))


def _check_customer_id(value: str) -> Rejection | None:
    if not value:
        return Rejection(CUSTOMER_ID, "required", "customer_id is empty, and wolkvox takes no lead without it.")
    if "," in value:
        return Rejection(CUSTOMER_ID, "comma", "customer_id has a comma, at which wolkvox would split it.")
    return None


def _check_recall(value: str, now: Instant, zone: ZoneInfo) -> Rejection | None:
    at: Instant | None = None
    if len(value) == _STAMP_DIGITS and value.isascii() and value.isdigit():
        try:
            shown = datetime.fromisoformat(f"{value[:8]}T{value[8:]}")
            # An hour that comes twice, when clocks go back, is read as the earlier one: the later may be too
            # late. This is what `shown.replace(tzinfo=zone).timestamp()` says, in a third of the time.
            at = (shown - _EPOCH - (zone.utcoffset(shown) or timedelta())).total_seconds()
        except ValueError:
            pass
    if at is None:
        return Rejection(RECALL_DATE, "recall", "recall_date is no date and time written as YYYYmmddHHMMSS.")
    if at < now + RECALL_AHEAD_SECS:
        return Rejection(RECALL_DATE, "recall", "recall_date is not at least 30 minutes ahead.")
    return None
