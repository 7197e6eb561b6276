"""`generateContent`, `streamGenerateContent`. Source: https://ai.google.dev/api/generate-content."""

from __future__ import annotations

import json
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
    "promptTokenCount": FRESH + CACHED + WRITTEN,
    "cachedContentTokenCount": CACHED,
    "candidatesTokenCount": SAID,
    "thoughtsTokenCount": THOUGHT,
    "totalTokenCount": FRESH + CACHED + WRITTEN + SAID + THOUGHT,
}
STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
FIELDS = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "serviceTier"}


def refused(status: int, message: str) -> Refused:
    return Refused(status, {"error": {"code": status, "message": message, "status": STATUSES.get(status, "INTERNAL")}})


SIGNATURES = ("c2ln", "skip_thought_signature_validator")


class GeminiVendor(Vendor):
    def streamed(self, path: str, body: dict[str, Any]) -> bool:
        return ":streamGenerateContent?alt=sse" in path

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        if path.endswith(":batchEmbedContents"):
            return self._embeddings(path, headers, body)
        self._check(path, headers, body)
        parts = [part for piece in self._pieces(body) for part in piece]
        if "text" in parts[-1]:
            parts = [*(part for part in parts if part.get("thought")), {"text": "".join(self._text(body))}]
        return self._answer(path, parts, "STOP", USAGE)

    def events(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Iterator[bytes]:
        self._check(path, headers, body)
        pieces = self._pieces(body)
        for number, parts in enumerate(pieces):
            last = number == len(pieces) - 1
            usage = USAGE if last else {"promptTokenCount": FRESH + CACHED + WRITTEN}
            yield event(self._answer(path, parts, "STOP" if last else None, usage))

    def _answer(self, path: str, parts: list[Any], reason: str | None, usage: dict[str, int]) -> dict[str, Any]:
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0}
        if reason:
            candidate["finishReason"] = reason
        return {
            "candidates": [candidate],
            "usageMetadata": usage,
            "modelVersion": path.split("/models/")[1].split(":")[0],
            "responseId": "gemini-vendor",
        }

    def _embeddings(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        require("x-goog-api-key" in headers, refused(401, "API key not valid"))
        model = path.removeprefix("/v1beta/").partition(":")[0]
        for request in body["requests"]:
            require(request["model"] == model, refused(400, f"model {request['model']}"))
            require(all("text" in part for part in request["content"]["parts"]), refused(400, "content"))
        sizes = [request.get("outputDimensionality", 2) for request in body["requests"]]
        return {"embeddings": [{"values": ([0.25, -0.5] * size)[:size]} for size in sizes]}

    def _pieces(self, body: dict[str, Any]) -> list[list[dict[str, Any]]]:
        thinking = (body.get("generationConfig") or {}).get("thinkingConfig") or {}
        pieces: list[list[dict[str, Any]]] = []
        if thinking.get("includeThoughts"):
            pieces.append([{"text": "Let me think.", "thought": True}])
        if self._calls(body):
            calls = [{"functionCall": {"name": name, "args": json.loads("".join(args))}} for name, args in self.calls]
            return [*pieces, [{**calls[0], "thoughtSignature": "c2ln"}, *calls[1:]]]
        return pieces + [[{"text": piece}] for piece in self._text(body)]

    def _calls(self, body: dict[str, Any]) -> bool:
        answered = any("functionResponse" in part for part in body["contents"][-1]["parts"])
        return bool(body.get("tools")) and not answered

    def _text(self, body: dict[str, Any]) -> tuple[str, ...]:
        last = body["contents"][-1]["parts"]
        if (body.get("generationConfig") or {}).get("responseMimeType") == "application/json":
            return JSON_ANSWER
        if any("functionResponse" in part for part in last):
            return RESULT
        return SEEN if any({"inlineData", "fileData"} & part.keys() for part in last) else GREETING

    def _check(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> None:
        require(path.startswith("/v1beta/models/"), refused(404, f"no such path {path}"))
        require("x-goog-api-key" in headers, refused(401, "API key not valid"))
        model = path.split("/models/")[1].split(":")[0]
        if model.startswith("status-"):
            raise refused(int(model[7:]), "the vendor says no")
        require(set(body) <= FIELDS, refused(400, f"unknown field in {sorted(body)}"))
        require(not (why := late_2026.gemini(model, body)), refused(400, why))
        called: list[str] = []
        for content in body["contents"]:
            require(content["role"] in ("user", "model"), refused(400, "role"))
            signatures = [part.get("thoughtSignature") for part in content["parts"] if "functionCall" in part]
            require(not signatures or signatures[0] in SIGNATURES, refused(400, "missing a thought_signature"))
            for part in content["parts"]:
                if "functionCall" in part:
                    called.append(part["functionCall"]["name"])
                    require(isinstance(part["functionCall"]["args"], dict), refused(400, "args"))
                if "functionResponse" in part:
                    require(part["functionResponse"]["name"] in called, refused(400, "response without call"))
                    require(isinstance(part["functionResponse"]["response"], dict), refused(400, "response"))
