"""The toy dialect as callers speak it."""

from __future__ import annotations

from typing import Any

import msgspec

from semroute.decision import Decision
from semroute.dialects.shared.body_parsing import convert, problem, unread_fields
from semroute.errors import SemrouteError
from semroute.messages import ChatRequest, Completion, Message, Role, Text
from semroute.record import Record
from tests.dialects.toy.client_answer import words
from tests.dialects.toy.client_stream import ToyStream

NAME = "toy"
ROLES: dict[str, Role] = {"me": "user", "you": "assistant", "boss": "system"}
BY = {role: name for name, role in ROLES.items()}


class Line(msgspec.Struct):
    by: str
    say: str


class SayBody(msgspec.Struct):
    """The body of `/toy/say`."""

    lines: list[Line]
    who: str = "auto"
    piecewise: bool = False


class Toy:
    name = NAME

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        fields = convert(body, SayBody)
        for number, line in enumerate(fields.lines):
            if line.by not in ROLES:
                raise problem(f"lines[{number}].by", f"got {line.by!r}, expected one of {', '.join(ROLES)}")
        messages = tuple(Message(role=ROLES[line.by], parts=(Text(text=line.say),)) for line in fields.lines)
        return ChatRequest(
            id=request_id,
            messages=messages,
            model=fields.who,
            stream=fields.piecewise,
            dialect=NAME,
            raw=body,
            unread=unread_fields(body, SayBody.__struct_fields__),
        )

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        if completion.dialect == NAME:
            return completion.raw
        return msgspec.json.encode({"said": completion.text, "words": words(completion.usage or record.usage)})

    def stream(self, request: ChatRequest, decision: Decision) -> ToyStream:
        return ToyStream()

    def render_error(self, error: SemrouteError, status: int, request_id: str = "") -> bytes:
        return msgspec.json.encode({"oops": str(error), "how_bad": status})
