"""What whole and streamed answers of semroute's own dialect share."""

from __future__ import annotations

from typing import Any

import msgspec

from semroute.errors import RequestError, SemrouteError
from semroute.record import Record

encoder = msgspec.json.Encoder(decimal_format="number")


def account_of(record: Record) -> dict[str, Any]:
    """Render what an answer consumed and cost, and which models were tried."""
    return {
        "usage": record.usage,
        "cost_usd": record.cost_usd,
        "saved_usd": record.saved_usd,
        "attempts": record.attempts,
    }


def error_body(error: SemrouteError) -> dict[str, Any]:
    """Render an error in semroute's own form."""
    body: dict[str, Any] = {"code": error.code, "message": str(error), "retryable": error.retryable}
    if isinstance(error, RequestError) and error.param:
        body["param"] = error.param
    return {"error": body}
