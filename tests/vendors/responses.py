"""Responses. Sources: https://platform.openai.com/docs/api-reference/responses,
https://platform.openai.com/docs/api-reference/responses-streaming.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from tests.vendors import late_2026
from tests.vendors.openai import refused
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
    Vendor,
    event,
    require,
)

USAGE = {
    "input_tokens": FRESH + CACHED + WRITTEN,
    "input_tokens_details": {"cached_tokens": CACHED, "cache_write_tokens": WRITTEN},
    "output_tokens": SAID + THOUGHT,
    "output_tokens_details": {"reasoning_tokens": THOUGHT},
    "total_tokens": FRESH + CACHED + WRITTEN + SAID + THOUGHT,
}
PARTS = {"input_text", "output_text", "input_image", "input_file", "refusal"}


class ResponsesVendor(Vendor):
    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        if path == "/v1/responses/compact":
            require("stream" not in body, refused(400, "unknown parameter stream"))
            users = [item for item in body["input"] if item.get("role") == "user"]
            summary = {"type": "compaction", "id": "cmp_vendor", "encrypted_content": "c2ln"}
            shorter = {"id": "resp_vendor", "object": "response.compaction", "created_at": 1, "usage": USAGE}
            return {**shorter, "output": [*users, summary]}
        self._check(path, headers, body)
        return self._response(body, "completed", [item for item, _ in self._items(body)])

    def events(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Iterator[bytes]:
        self._check(path, headers, body)
        count = itertools.count()

        def named(kind: str, **fields: Any) -> bytes:
            return event({"type": kind, "sequence_number": next(count), **fields}, kind)

        yield named("response.created", response=self._response(body, "in_progress", []))
        yield named("response.in_progress", response=self._response(body, "in_progress", []))
        for place, (item, pieces) in enumerate(self._items(body)):
            where = {"item_id": item["id"], "output_index": place}
            if item["type"] == "function_call":
                yield named("response.output_item.added", output_index=place, item={**item, "arguments": ""})
                for piece in pieces:
                    yield named("response.function_call_arguments.delta", **where, delta=piece)
                yield named("response.function_call_arguments.done", **where, arguments=item["arguments"])
            elif item["type"] == "reasoning":
                yield named("response.output_item.added", output_index=place, item={**item, "summary": []})
                part: dict[str, Any] = {"type": "summary_text", "text": ""}
                yield named("response.reasoning_summary_part.added", **where, summary_index=0, part=part)
                for piece in pieces:
                    yield named("response.reasoning_summary_text.delta", **where, summary_index=0, delta=piece)
            else:
                yield named("response.output_item.added", output_index=place, item={**item, "content": []})
                said = {"type": "output_text", "text": "", "annotations": []}
                yield named("response.content_part.added", **where, content_index=0, part=said)
                for piece in pieces:
                    yield named("response.output_text.delta", **where, content_index=0, delta=piece, logprobs=[])
                text = "".join(pieces)
                yield named("response.output_text.done", **where, content_index=0, text=text, logprobs=[])
                yield named("response.content_part.done", **where, content_index=0, part={**said, "text": text})
            yield named("response.output_item.done", output_index=place, item=item)
        items = [item for item, _ in self._items(body)]
        yield named("response.completed", response=self._response(body, "completed", items))

    def _response(self, body: dict[str, Any], status: str, output: list[Any]) -> dict[str, Any]:
        return {
            "id": "resp_vendor",
            "object": "response",
            "created_at": 1,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": body["model"],
            "output": output,
            "service_tier": "default",
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": USAGE if status == "completed" else None,
        }

    def _items(self, body: dict[str, Any]) -> list[tuple[dict[str, Any], tuple[str, ...]]]:
        items: list[tuple[dict[str, Any], tuple[str, ...]]] = []
        if body.get("reasoning"):
            summary = [{"type": "summary_text", "text": "Let me think."}]
            item = {"type": "reasoning", "id": "rs_vendor", "summary": summary, "encrypted_content": "c2ln"}
            items.append((item, ("Let me ", "think.")))
        if self._calls(body):
            for name, pieces in self.calls:
                call = {"type": "function_call", "id": f"fc_{name}", "call_id": f"call_{name}", "name": name}
                items.append(({**call, "arguments": "".join(pieces), "status": "completed"}, pieces))
            return items
        text = self._text(body)
        content = [{"type": "output_text", "text": "".join(text), "annotations": [], "logprobs": []}]
        message = {"type": "message", "id": "msg_vendor", "role": "assistant", "status": "completed"}
        return [*items, ({**message, "content": content}, text)]

    def _calls(self, body: dict[str, Any]) -> bool:
        return bool(body.get("tools")) and not self._answered(body)

    def _answered(self, body: dict[str, Any]) -> bool:
        return isinstance(body["input"], list) and body["input"][-1].get("type") == "function_call_output"

    def _text(self, body: dict[str, Any]) -> tuple[str, ...]:
        if ((body.get("text") or {}).get("format") or {}).get("type") == "json_schema":
            require("schema" in body["text"]["format"], refused(400, "schema"))
            return JSON_ANSWER
        if self._answered(body):
            return RESULT
        last = body["input"][-1].get("content") if isinstance(body["input"], list) else ()
        return SEEN if isinstance(last, list) and any(part["type"] == "input_image" for part in last) else GREETING

    def _check(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> None:
        require(path == "/v1/responses", refused(404, f"no such path {path}"))
        require("authorization" in headers, refused(401, "missing key", code="invalid_api_key"))
        if body["model"].startswith("status-"):
            raise refused(int(body["model"][7:]), "the vendor says no", "vendor_error", "vendor_code")
        require(not (why := late_2026.responses(body)), refused(400, why))
        require("messages" not in body and "stop" not in body, refused(400, "unknown parameter"))
        for item in body["input"] if isinstance(body["input"], list) else ():
            if item.get("type") == "reasoning":
                require(item.get("encrypted_content") == "c2ln", refused(400, "encrypted content not verified"))
            for part in item.get("content") or () if isinstance(item.get("content"), list) else ():
                require(part["type"] in PARTS, refused(400, f"part {part['type']}"))
