"""`/api/chat`. Source: https://github.com/ollama/ollama/blob/main/docs/api.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.vendors.server import CACHED, FRESH, GREETING, JSON_ANSWER, RESULT, SAID, THOUGHT, WRITTEN, Refused, Vendor

COUNTS = {
    "done": True,
    "total_duration": 4883583458,
    "load_duration": 1334875,
    "prompt_eval_count": FRESH + CACHED + WRITTEN,
    "prompt_eval_duration": 342546000,
    "eval_count": SAID + THOUGHT,
    "eval_duration": 4535599000,
}


def refused(status: int, message: str) -> Refused:
    return Refused(status, {"error": message})


class OllamaVendor(Vendor):
    content_type = "application/x-ndjson"

    def streamed(self, path: str, body: dict[str, Any]) -> bool:
        return bool(body.get("stream", True))

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        text = "" if self._calls(body) else "".join(self._text(body))
        return {**self._piece(body, text), "done_reason": "stop", **COUNTS}

    def events(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Iterator[bytes]:
        for text in ("",) if self._calls(body) else self._text(body):
            yield self._line({**self._piece(body, text), "done": False})
        yield self._line({**self._piece({**body, "tools": None}, ""), "done_reason": "stop", **COUNTS})

    def _line(self, data: dict[str, Any]) -> bytes:
        return json.dumps(data).encode() + b"\n"

    def _piece(self, body: dict[str, Any], text: str) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if body.get("tools") and self._calls(body):
            functions = [{"name": name, "arguments": json.loads("".join(pieces))} for name, pieces in self.calls]
            message["tool_calls"] = [{"function": function} for function in functions]
        return {"model": body["model"], "created_at": "2026-11-30T00:00:00Z", "message": message}

    def _calls(self, body: dict[str, Any]) -> bool:
        return bool(body.get("tools")) and body["messages"][-1]["role"] != "tool"

    def _text(self, body: dict[str, Any]) -> tuple[str, ...]:
        if body.get("format"):
            return JSON_ANSWER
        return RESULT if body["messages"][-1]["role"] == "tool" else GREETING
