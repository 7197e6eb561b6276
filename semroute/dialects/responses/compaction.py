"""The client side of `/v1/responses/compact`, which makes a conversation shorter.

A provider of the Responses dialect does this itself. Any other model is asked for a summary. The caller gets the
summary in the same form, and sends it back with its next request. Source:
https://platform.openai.com/docs/api-reference/responses/compact.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from semroute.dialects.responses.client import Responses
from semroute.dialects.responses.client_answer import render_usage
from semroute.dialects.responses.content import NAME, seal_summary
from semroute.errors import BadAnswerError
from semroute.messages import COMPACT, ChatRequest, Completion, ToolChoice
from semroute.record import Record


class Compact(Responses):
    """The client side of `/v1/responses/compact`."""

    name = COMPACT

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        """Read a caller's body. Raises `RequestError`, which names the field, what it got and what it expected."""
        raw = {key: value for key, value in body.items() if key != "stream"}
        chat = super().parse_request(raw, request_id)
        params = msgspec.structs.replace(chat.params, json_output=False, json_schema=None)
        # Providers require that the conversation's tools are declared, but none may be called now.
        choice = ToolChoice(mode="none") if chat.tools else None
        return msgspec.structs.replace(chat, endpoint=COMPACT, dialect=COMPACT, params=params, tool_choice=choice)

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        """Render a whole answer. A provider's body in this dialect is passed on unchanged.

        Raises `BadAnswerError` for an answer without text.
        """
        if completion.dialect == NAME:
            return completion.raw
        if not completion.text.strip():
            raise BadAnswerError("expected a summary of the conversation, got an answer without text")
        summary = {
            "type": "compaction",
            "id": f"cmp_{request.id}",
            "encrypted_content": seal_summary(completion.text),
        }
        return msgspec.json.encode(
            {
                "id": f"resp_{request.id}",
                "object": "response.compaction",
                "created_at": int(time.time()),
                "output": [*_of_the_user(request), summary],
                "usage": render_usage(completion.usage or record.usage),
            }
        )


def _of_the_user(request: ChatRequest) -> list[dict[str, Any]]:
    """Return the user's messages, which stay as they are."""
    said = request.raw.get("input")
    items = [{"role": "user", "content": said}] if isinstance(said, str) else said or []
    kept: list[dict[str, Any]] = []
    for item in items:
        if item.get("role") == "user":
            head = {"type": "message", "id": f"msg_{request.id}_{len(kept)}", "status": "completed"}
            content = item["content"]
            parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
            kept.append({**head, **item, "content": parts})
    return kept
