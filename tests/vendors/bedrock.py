"""`Converse`, `ConverseStream`. Requests are held to botocore's description of the service.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import unquote

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from tests.vendors import late_2026
from tests.vendors.server import (
    CACHED,
    CALLS,
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
    require,
)

USAGE = {
    "inputTokens": FRESH,
    "cacheReadInputTokens": CACHED,
    "cacheWriteInputTokens": WRITTEN,
    "outputTokens": SAID + THOUGHT,
    "totalTokens": FRESH + CACHED + WRITTEN + SAID + THOUGHT,
}
ERROR_TYPES = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    429: "ThrottlingException",
    500: "InternalServerException",
}


@cache
def service() -> ServiceModel:
    """AWS's own description of the service."""
    return ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))


def complaints(model: str, body: dict[str, Any], operation: str = "Converse") -> str:
    """What AWS's own clients would refuse in a request; empty: nothing."""
    shape = service().operation_model(operation).input_shape
    return str(ParamValidator().validate({**body, "modelId": model}, shape).generate_report())


def frame(payload: bytes, **headers: str) -> bytes:
    """A frame of an event stream. `headers`: names without their colon, and with `_` for `-`.

    Source: https://smithy.io/2.0/aws/amazon-eventstream.html.
    """
    encoded = b""
    for name, value in headers.items():
        key, text = f":{name.replace('_', '-')}".encode(), value.encode()
        encoded += struct.pack("!B", len(key)) + key + struct.pack("!BH", 7, len(text)) + text
    prelude = struct.pack("!II", 16 + len(encoded) + len(payload), len(encoded))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + encoded + payload
    return message + struct.pack("!I", zlib.crc32(message))


def event(kind: str, **data: Any) -> bytes:
    payload = json.dumps({**data, "p": "abcdefghijkl"}).encode()  # AWS pads its events
    return frame(payload, event_type=kind, content_type="application/json", message_type="event")


def exception(kind: str, message: str) -> bytes:
    payload = json.dumps({"message": message}).encode()
    return frame(payload, exception_type=kind, content_type="application/json", message_type="exception")


def refused(status: int, message: str) -> Refused:
    kind = ERROR_TYPES.get(status, "ServiceUnavailableException")
    header = f"{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/"
    return Refused(status, {"message": message}, {"x-amzn-errortype": header})


class BedrockVendor(Vendor):
    content_type = "application/vnd.amazon.eventstream"

    def streamed(self, path: str, body: dict[str, Any]) -> bool:
        return path.endswith("/converse-stream")

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        self._check(path, headers, body)
        content: list[dict[str, Any]] = []
        for block, pieces in self._blocks(body):
            text = "".join(pieces)
            if block is None:
                content.append({"text": text})
            elif "toolUse" in block:
                content.append({"toolUse": {**block["toolUse"], "input": json.loads(text)}})
            else:
                content.append({"reasoningContent": {"reasoningText": {"text": text, "signature": "c2ln"}}})
        return {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": "tool_use" if "toolUse" in content[-1] else "end_turn",
            "usage": USAGE,
            "metrics": {"latencyMs": 12},
            "serviceTier": {"type": "default"},
        }

    def events(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Iterator[bytes]:
        self._check(path, headers, body)
        blocks = self._blocks(body)
        yield event("messageStart", role="assistant")
        for index, (block, pieces) in enumerate(blocks):
            place = {"contentBlockIndex": index}
            if block is not None and "toolUse" in block:
                yield event("contentBlockStart", start=block, **place)
            for piece in pieces:
                if block is None:
                    delta: dict[str, Any] = {"text": piece}
                elif "toolUse" in block:
                    delta = {"toolUse": {"input": piece}}
                else:
                    delta = {"reasoningContent": {"text": piece}}
                yield event("contentBlockDelta", delta=delta, **place)
            if block is not None and "reasoningContent" in block:
                yield event("contentBlockDelta", delta={"reasoningContent": {"signature": "c2ln"}}, **place)
            yield event("contentBlockStop", **place)
        last = blocks[-1][0]
        yield event("messageStop", stopReason="tool_use" if last and "toolUse" in last else "end_turn")
        yield event("metadata", usage=USAGE, metrics={"latencyMs": 12}, serviceTier={"type": "default"})

    def _blocks(self, body: dict[str, Any]) -> list[tuple[dict[str, Any] | None, tuple[str, ...]]]:
        """The blocks of the answer, each with its pieces; null: text."""
        blocks: list[tuple[dict[str, Any] | None, tuple[str, ...]]] = []
        own = body.get("additionalModelRequestFields") or {}
        if own.get("thinking", {}).get("type") in ("enabled", "adaptive"):
            blocks.append(({"reasoningContent": {}}, ("Let me ", "think.")))
        tools = body.get("toolConfig") or {}
        forced = ((tools.get("toolChoice") or {}).get("tool") or {}).get("name")
        last = body["messages"][-1]["content"]
        answered = any("toolResult" in block for block in last)
        if forced == "semroute_json_answer":
            return [*blocks, ({"toolUse": {"toolUseId": "tooluse_json", "name": forced}}, JSON_ANSWER)]
        if tools and not answered:
            return blocks + [
                ({"toolUse": {"toolUseId": f"tooluse_{name}", "name": name}}, pieces) for name, pieces in CALLS
            ]
        return [*blocks, (None, self._text(body, answered))]

    def _text(self, body: dict[str, Any], answered: bool) -> tuple[str, ...]:
        if body.get("outputConfig", {}).get("textFormat"):
            return JSON_ANSWER
        if answered:
            return RESULT
        return SEEN if any("image" in block for block in body["messages"][-1]["content"]) else GREETING

    def _check(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> None:
        place = re.fullmatch(r"/model/([^/]+)/(converse|converse-stream)", path)
        if place is None:
            raise refused(404, f"no such path {path}")
        model = unquote(place[1])
        allowed = re.match(r"Bearer |AWS4-HMAC-SHA256 Credential=", headers.get("authorization", ""))
        require(allowed is not None, Refused(403, {"Message": "Missing Authentication Token"}))
        if model.startswith("status-"):
            raise refused(int(model[7:]), "the vendor says no")
        found = complaints(model, body, "ConverseStream" if place[2] == "converse-stream" else "Converse")
        require(not found, refused(400, found))
        roles = [message["role"] for message in body["messages"]]
        require(roles == [("user", "assistant")[place % 2] for place in range(len(roles))], refused(400, f"{roles}"))
        blocks = [block for message in body["messages"] for block in message["content"]]
        blank = any(not block["text"].strip() for block in blocks if "text" in block)
        require(not blank, refused(400, "The text field in the ContentBlock object is blank."))
        uses = any({"toolUse", "toolResult"} & block.keys() for block in blocks)
        require(not (why := late_2026.converse(model, body)), refused(400, why))
        require(not uses or "toolConfig" in body, refused(400, "The toolConfig field must be defined."))
