"""Chat Completions. Source: https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.vendors import late_2026
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
    "prompt_tokens": FRESH + CACHED + WRITTEN,
    "completion_tokens": SAID + THOUGHT,
    "total_tokens": FRESH + CACHED + WRITTEN + SAID + THOUGHT,
    "prompt_tokens_details": {"cached_tokens": CACHED, "cache_write_tokens": WRITTEN},
    "completion_tokens_details": {"reasoning_tokens": THOUGHT},
}
ROLES = {"system", "developer", "user", "assistant", "tool"}


def refused(status: int, message: str, kind: str = "invalid_request_error", code: str | None = None) -> Refused:
    return Refused(status, {"error": {"message": message, "type": kind, "param": None, "code": code}})


class OpenAIVendor(Vendor):
    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        if path.endswith("/embeddings"):
            return self._embeddings(body)
        self._check(path, headers, body)
        message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
        if self._calls(body):
            message["tool_calls"] = [
                {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": "".join(pieces)}}
                for name, pieces in self.calls
            ]
        else:
            message["content"] = "".join(self._text(body))
        reason = "tool_calls" if self._calls(body) else "stop"
        return {
            "id": "chatcmpl-vendor",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "logprobs": self._logprobs(body), "finish_reason": reason}],
            "usage": USAGE,
            "service_tier": "default",
            "system_fingerprint": "fp_vendor",
        }

    def events(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Iterator[bytes]:
        self._check(path, headers, body)
        yield self._piece(body, {"role": "assistant", "content": "", "refusal": None})
        if self._calls(body):
            for index, (name, pieces) in enumerate(self.calls):
                call = {"index": index, "id": f"call_{name}", "type": "function"}
                yield self._piece(body, {"tool_calls": [{**call, "function": {"name": name, "arguments": ""}}]})
                for piece in pieces:
                    yield self._piece(body, {"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        else:
            for piece in self._text(body):
                yield self._piece(body, {"content": piece})
        yield self._piece(body, {}, "tool_calls" if self._calls(body) else "stop")
        if (body.get("stream_options") or {}).get("include_usage"):
            yield self._event(body, [], usage=USAGE)
        yield b"data: [DONE]\n\n"

    def _piece(self, body: dict[str, Any], delta: dict[str, Any], reason: str | None = None) -> bytes:
        return self._event(body, [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}], usage=None)

    def _event(self, body: dict[str, Any], choices: list[Any], usage: Any) -> bytes:
        head = {"id": "chatcmpl-vendor", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
        return event({**head, "service_tier": "default", "choices": choices, "usage": usage})

    def _check(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> None:
        require("/chat/completions" in path, refused(404, f"no such path {path}"))
        key = headers.get("authorization") or headers.get("api-key")
        require(bool(key), refused(401, "missing key", code="invalid_api_key"))
        if body["model"].startswith("status-"):
            raise refused(int(body["model"][7:]), "the vendor says no", "vendor_error", "vendor_code")
        require(not (why := late_2026.chat(body)), refused(400, why))
        parts = ("text", "image_url", "file", *(("thinking",) if body["model"].startswith("mistral") else ()))
        for message in body["messages"]:
            require(message["role"] in ROLES, refused(400, f"role {message['role']}"))
            for call in message.get("tool_calls") or ():
                require(isinstance(call["function"]["arguments"], str), refused(400, "arguments"))
            if isinstance(message.get("content"), list):
                for part in message["content"]:
                    require(part["type"] in parts, refused(400, f"part {part['type']}"))
        for tool in body.get("tools") or ():
            require("name" in tool["function"], refused(400, "tool without name"))

    def _calls(self, body: dict[str, Any]) -> bool:
        return bool(body.get("tools")) and body["messages"][-1]["role"] != "tool"

    def _text(self, body: dict[str, Any]) -> tuple[str, ...]:
        last = body["messages"][-1]
        if (body.get("response_format") or {}).get("type") == "json_schema":
            require("schema" in body["response_format"]["json_schema"], refused(400, "schema"))
            return JSON_ANSWER
        if last["role"] == "tool":
            return RESULT
        if isinstance(last["content"], list) and any(part["type"] == "image_url" for part in last["content"]):
            return SEEN
        return GREETING

    def _logprobs(self, body: dict[str, Any]) -> Any:
        if not body.get("logprobs"):
            return None
        token = {"token": "Hello", "logprob": -0.25, "bytes": [72, 101, 108, 108, 111]}
        return {"content": [{**token, "top_logprobs": [token]}], "refusal": None}

    def _embeddings(self, body: dict[str, Any]) -> dict[str, Any]:
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        data = [{"object": "embedding", "index": at, "embedding": [0.25, -0.5]} for at in range(len(texts))]
        usage = {"prompt_tokens": 7, "total_tokens": 7}
        return {"object": "list", "data": data, "model": body["model"], "usage": usage}
