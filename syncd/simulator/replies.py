"""wolkvox's envelopes and texts.

The texts of methods marked DOC or SEEN are wolkvox's own, from its documentation or the logs of
integrators; the rest is made up, because nobody has told what wolkvox says there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from syncd.simulator.inspection import Refusal
from syncd.simulator.settings import MAX_RECORDS, Settings


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer on its way out.

    reason: why the call was refused, as a short name that counts are kept under; "" if it was not.
    records: how many records the body held. accepted: how many of them were accepted.
    """

    status: int
    body: bytes
    reason: str = ""
    records: int = 0
    accepted: int = 0
    content_type: str = "application/json; charset=utf-8"


class Replies:
    """The replies that a simulated operation gives, by its settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def accepted(self, records: int) -> Reply:
        """Every record was accepted."""
        total: object = {"blank": " ", "int": records, "string": str(records)}[self._settings.total_registers]
        body = self._envelope(201, "All records has been added successfully", [{"total_registers": total}])
        return Reply(self._settings.accepted_status, body, "", records, records)

    def partly(self, records: int, refused: Sequence[Refusal], kept: int) -> Reply:
        """Some records were refused, or all: ``kept`` were stored. 404 if none was, or if mixed says so."""
        status = 404 if kept == 0 or self._settings.mixed == "keep-404" else 201
        data = {
            "total_registers": str(records),
            "total_success": str(kept),
            "total_errors": str(len(refused)),
            "array_errors": [each.to_json() for each in refused],
        }
        # SEEN with 0; other numbers are a guess.
        body = self._envelope(status, f"{kept} records has been added, please validate the data", [data])
        http = self._settings.accepted_status if status == 201 else status
        return Reply(http, body, "" if kept else "records", records, kept)

    def unnamed(self, records: int) -> Reply:
        """All were refused, and nothing says for which of them: a guess, with the words that were SEEN."""
        return self.refusal(404, "0 records has been added, please validate the data", "unnamed", records)

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> Reply:
        """What a read found."""
        return Reply(200, self._envelope(200, "Successful", rows))

    def export(self, campaign_id: str, rows: Sequence[Mapping[str, str]]) -> Reply:
        """campaign_15's own envelope (DOC)."""
        code: object = "200" if self._settings.code_type == "string" else 200
        return Reply(
            200,
            orjson.dumps({"code": code, "total_records": str(len(rows)), "campaign_id": campaign_id, "records": rows}),
        )

    def no_rows(self) -> Reply:
        """A read that found nothing: 404 and a misleading msg (SEEN; the words are the settings')."""
        return self.refusal(404, self._settings.no_rows_msg, "no-rows")

    def no_api(self) -> Reply:
        """DOC."""
        return self.refusal(400, "THE API YOU WANT TO CONSULT DOES NOT EXIST", "unknown-api")

    def missing(self) -> Reply:
        """A parameter is missing, or is none of its values (DOC)."""
        return self.refusal(400, "SOME PARAMETERS ARE REQUIRED", "missing-parameter")

    def no_campaign(self, campaign_id: str) -> Reply:
        """SEEN."""
        return self.refusal(404, f"Campaign_id {campaign_id} does not exist in your operation.", "no-campaign")

    def full(self, total: int, records: int) -> Reply:
        """SEEN."""
        text = (
            f"You are uploading ({total}) records to the system. According to quantity active licenses, "
            f"You can upload {self._settings.stock_limit} records. Try again."
        )
        return self.refusal(404, text, "stock", records)

    def too_many(self, records: int) -> Reply:
        """More records than a call may carry: what wolkvox does is unknown; this refuses."""
        text = f"EXCEEDS THE LIMIT OF RECORDS PER REQUEST ({MAX_RECORDS})"
        return self.refusal(400, text, "too-many-records", records)

    def not_json(self) -> Reply:
        """The body is no JSON array: unknown; this refuses."""
        return self.refusal(400, "PLEASE VALIDATE THE JSON", "bad-json")

    def no_token(self) -> Reply:
        """DOC."""
        return self.refusal(401, "PLEASE ENTER THE WOLKVOX-TOKEN", "no-token")

    def bad_token(self, reason: str = "bad-token") -> Reply:
        """DOC; also, as a guess, for a wolkvox_server header that names another server."""
        return self.refusal(403, "PLEASE VALIDATE TOKEN", reason)

    def spent(self) -> Reply:
        """The day's quota is spent (DOC)."""
        return self.refusal(403, "TOKEN LIMIT EXCEEDED", "quota")

    def too_many_at_once(self) -> Reply:
        """DOC."""
        limit = self._settings.simultaneous
        text = f"EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN ({limit})"
        return self.refusal(403, text, "simultaneous")

    def maintenance(self, status: int, text: str) -> Reply:
        """Not now (DOC that it happens; the words are unknown)."""
        return self.refusal(status, text or "SYSTEM UNDER MAINTENANCE, TRY AGAIN LATER", "maintenance")

    def refusal(self, status: int, msg: str, reason: str, records: int = 0) -> Reply:
        """An envelope that refuses."""
        return Reply(status, self._envelope(status, msg, []), reason, records)

    def _envelope(self, code: int, msg: str, data: Sequence[Any]) -> bytes:
        return orjson.dumps(
            {
                "code": str(code) if self._settings.code_type == "string" else code,
                "error": None if code < 400 else "true",
                "msg": msg,
                "data": data,
            }
        )
