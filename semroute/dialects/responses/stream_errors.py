"""Errors inside a stream of Responses.

Source: https://platform.openai.com/docs/api-reference/responses-streaming/error, and what the service and Codex 0.171
were seen to use, November 2026.
"""

from __future__ import annotations

from typing import Any

from semroute.dialects.openai.client_answer import error_body
from semroute.dialects.shared.error_kinds import Trouble, told_inside, trouble_of
from semroute.dialects.shared.refusal_errors import OPENAI, own_fields
from semroute.errors import SemrouteError

_CODES: dict[Trouble, str] = {
    "too_long": "context_length_exceeded",
    "quota": "insufficient_quota",
    "rate_limit": "rate_limit_exceeded",
    "overloaded": "server_is_overloaded",
    "timeout": "server_error",
    "server": "server_error",
}
_BAD_REQUEST = "invalid_prompt"
"""What is the request's fault. Codex asks again for every code that it does not know."""


def streamed_error(error: SemrouteError, status: int) -> dict[str, Any]:
    """The `type`, `code`, `message` and `param` of an error: what the provider said where it says it as OpenAI does."""
    ours, own = error_body(error, status)["error"], _own_error(told_inside(error))
    code = _CODES.get(trouble_of(error, status), _BAD_REQUEST)
    return {**ours, "code": code, **own_fields(own, error, OPENAI)}


def _own_error(body: Any) -> dict[str, Any] | None:
    """The error of an event in OpenAI's form: its fields stand outside, or in `error`. None: it has another form."""
    match body:
        case {"error": {"code": str(), "message": str()} as error}:
            return {name: error[name] for name in ("type", "code", "message", "param") if name in error}
        case {"type": "error", "code": str(code), "message": str(message)}:
            return {"code": code, "message": message, "param": body.get("param")}
        case _:
            return None
