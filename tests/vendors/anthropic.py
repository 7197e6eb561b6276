"""Messages. Sources: https://platform.claude.com/docs/en/api/messages,
https://platform.claude.com/docs/en/build-with-claude/streaming.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.vendors import late_2026
from tests.vendors.late_2026 import signature_of
from tests.vendors.server import (
    CACHED,
    FRESH,
    GREETING,
    JSON_ANSWER,
    RESULT,
    SAID,
    SEEN,
    THOUGHT,
    WRITTEN,
    Refused,
    Vendor,
    event,
    require,
)

USAGE = {
    "input_tokens": FRESH,
    "cache_creation_input_tokens": WRITTEN,
    "cache_read_input_tokens": CACHED,
    "output_tokens": SAID + THOUGHT,
    "output_tokens_details": {"thinking_tokens": THOUGHT},
    "service_tier": "standard",
}
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    529: "overloaded_error",
}
BLOCKS = {"text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking"}


def refused(status: int, message: str) -> Refused:
    error = {"type": ERROR_TYPES.get(status, "api_error"), "message": message}
    return Refused(status, {"type": "error", "error": error, "request_id": "req_vendor"})


class AnthropicVendor(Vendor):
    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        self._check(path, headers, body)
        return {
            "id": "msg_vendor",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [
                {**block, "input": json.loads("".join(pieces))}
                if block["type"] == "tool_use"
                else {**block, "text": "".join(pieces)}
                if block["type"] == "text"
                else {**block, "thinking": "".join(pieces), "signature": signature_of(body["model"])}
                for block, pieces in self._blocks(body)
            ],
            "stop_reason": self._reason(body),
            "stop_sequence": None,
            "usage": USAGE,
        }

    def events(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Iterator[bytes]:
        self._check(path, headers, body)
        message = {"id": "msg_vendor", "type": "message", "role": "assistant", "model": body["model"], "content": []}
        start = {**USAGE, "output_tokens": 1}
        yield named("message_start", message={**message, "stop_reason": None, "stop_sequence": None, "usage": start})
        yield named("ping")
        for index, (block, pieces) in enumerate(self._blocks(body)):
            yield named("content_block_start", index=index, content_block=block)
            for piece in pieces:
                delta = {
                    "text": {"type": "text_delta", "text": piece},
                    "thinking": {"type": "thinking_delta", "thinking": piece},
                    "tool_use": {"type": "input_json_delta", "partial_json": piece},
                }[block["type"]]
                yield named("content_block_delta", index=index, delta=delta)
            if block["type"] == "thinking":
                signature = signature_of(body["model"])
                yield named(
                    "content_block_delta", index=index, delta={"type": "signature_delta", "signature": signature}
                )
            yield named("content_block_stop", index=index)
        closing = {"stop_reason": self._reason(body), "stop_sequence": None}
        yield named("message_delta", delta=closing, usage=USAGE)
        yield named("message_stop")

    def _blocks(self, body: dict[str, Any]) -> list[tuple[dict[str, Any], tuple[str, ...]]]:
        blocks: list[tuple[dict[str, Any], tuple[str, ...]]] = []
        if (body.get("thinking") or {}).get("type") in ("enabled", "adaptive"):
            blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, ("Let me ", "think.")))
        choice = body.get("tool_choice") or {}
        if choice.get("type") == "tool" and choice["name"] == "semroute_json_answer":
            call = {"type": "tool_use", "id": "toolu_json", "name": choice["name"], "input": {}}
            return [*blocks, (call, JSON_ANSWER)]
        if self._calls(body):
            return blocks + [
                ({"type": "tool_use", "id": f"toolu_{name}", "name": name, "input": {}}, pieces)
                for name, pieces in self.calls
            ]
        return [*blocks, ({"type": "text", "text": ""}, self._text(body))]

    def _reason(self, body: dict[str, Any]) -> str:
        forced = (body.get("tool_choice") or {}).get("type") == "tool"
        return "tool_use" if self._calls(body) or forced else "end_turn"

    def _calls(self, body: dict[str, Any]) -> bool:
        last = body["messages"][-1]["content"]
        answered = isinstance(last, list) and any(block["type"] == "tool_result" for block in last)
        return bool(body.get("tools")) and not answered

    def _text(self, body: dict[str, Any]) -> tuple[str, ...]:
        last = body["messages"][-1]["content"]
        kinds = {block["type"] for block in last} if isinstance(last, list) else set()
        if (body.get("output_config") or {}).get("format"):
            require(body["output_config"]["format"]["type"] == "json_schema", refused(400, "format"))
            return JSON_ANSWER
        if "tool_result" in kinds:
            return RESULT
        return SEEN if "image" in kinds else GREETING

    def _check(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> None:
        require(path == "/v1/messages", refused(404, f"no such path {path}"))
        require("x-api-key" in headers and "anthropic-version" in headers, refused(401, "headers"))
        if body["model"].startswith("status-"):
            raise refused(int(body["model"][7:]), "the vendor says no")
        require(isinstance(body.get("max_tokens"), int), refused(400, "max_tokens: Field required"))
        require((body.get("temperature") or 0) <= 1, refused(400, "temperature: range: 0..1"))
        known = {"model", "max_tokens", "messages", "system", "tools", "tool_choice", "thinking", "output_config"}
        known |= {"temperature", "top_p", "top_k", "stop_sequences", "stream", "metadata", "service_tier"}
        if "context-management" in headers.get("anthropic-beta", ""):
            known.add("context_management")
        for name in body:
            require(name in known, refused(400, f"{name}: Extra inputs are not permitted"))
        roles = [message["role"] for message in body["messages"]]
        require(set(roles) <= {"user", "assistant"}, refused(400, f"roles {roles}"))
        for message in body["messages"]:
            for block in message["content"] if isinstance(message["content"], list) else ():
                require(block["type"] in BLOCKS, refused(400, f"block {block['type']}"))
        require(not (why := late_2026.messages(body)), refused(400, why))
        for tool in body.get("tools") or ():
            require("input_schema" in tool and "name" in tool, refused(400, "tool"))


def named(kind: str, **fields: Any) -> bytes:
    return event({"type": kind, **fields}, kind)
