"""What answers that are passed on tell of tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest

from semroute.dialects.openai.passthrough_usage import ReportedUsage, reported_usage
from semroute.messages import Usage

BATCH = {"id": "b", "object": "batch", "model": "m"}
USAGE = {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 2}
SPENT = Usage(input_tokens=9, cached_tokens=4, output_tokens=2)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({**BATCH, "status": "completed", "usage": USAGE}, ReportedUsage(usage=SPENT, model="m", batch="b")),
        ({**BATCH, "status": "cancelled", "usage": USAGE}, ReportedUsage(usage=SPENT, model="m", batch="b")),
        ({**BATCH, "status": "in_progress", "usage": USAGE}, None),
        ({**BATCH, "status": "completed"}, None),
        (
            {"usage": {"prompt_tokens": 9, "completion_tokens": 2}},
            ReportedUsage(usage=Usage(input_tokens=9, output_tokens=2)),
        ),
        ({"usage": {"input_tokens": 0}}, None),
        ({"usage": {"input_tokens": -1}}, None),
        ({"model": 7, "usage": {"input_tokens": 1}}, ReportedUsage(usage=Usage(input_tokens=1))),
        ({"usage": 3}, None),
        ([], None),
    ],
)
def test_tokens_are_read_where_they_are_told(body: Any, found: ReportedUsage | None) -> None:
    assert reported_usage(json.dumps(body).encode()) == found


def test_what_is_no_json_tells_nothing() -> None:
    assert reported_usage(b"<html>") is None
