"""Samples of each vendor's wire format, written from its public documentation: each names its source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from semroute.dialects.sse import Event
from semroute.messages import Completion, Part
from tests.dialects.test_round_trips import PROVIDERS, whole

FOLDER = Path(__file__).parent.parent / "wire"
SAMPLES = sorted(FOLDER.rglob("*.json"))


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_sample_is_understood(file: Path) -> None:
    sample = json.loads(file.read_text("utf-8"))
    assert sample["source"].startswith("https://")
    dialect = PROVIDERS[file.parent.name]
    if sample["kind"] == "stream":
        parser = dialect.stream_parser()
        events = [Event(data=json.dumps(data).encode(), name=name) for name, data in sample["wire"]]
        chunks = [chunk for event in events if (chunk := parser.event(event)) is not None]
        assert parser.finished
        got = whole(chunks)
    else:
        got = dialect.parse_completion(json.dumps(sample["wire"]).encode())
    expected = sample["expect"] | {"parts": msgspec.convert(sample["expect"]["parts"], tuple[Part, ...])}
    assert shown(got) == expected


def shown(got: Completion) -> dict[str, Any]:
    fields: dict[str, Any] = {"parts": got.parts, "finish_reason": got.finish_reason, "usage": None}
    if got.usage is not None:
        fields["usage"] = {name: value for name, value in msgspec.to_builtins(got.usage).items() if value}
    if got.stop_sequence:
        fields["stop_sequence"] = got.stop_sequence
    if got.logprobs:
        fields["logprobs"] = json.loads(msgspec.json.encode(got.logprobs))
    return fields
