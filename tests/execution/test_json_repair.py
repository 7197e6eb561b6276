from __future__ import annotations

import pytest

from semroute.execution.json_repair import json_in

DOCUMENT = '{"city": "Paris", "tags": ["a", "b"]}'


@pytest.mark.parametrize(
    "text",
    [
        DOCUMENT,
        f"  {DOCUMENT}\n",
        f"\ufeff{DOCUMENT}",
        f"```json\n{DOCUMENT}\n```",
        f"```\n{DOCUMENT}\n```",
        f"```json\n{DOCUMENT}",
        f"```json {DOCUMENT}```",
        f"`{DOCUMENT}`",
        f"Sure! Here it is:\n\n```json\n{DOCUMENT}\n```\n\nTell me if you need more.",
        f"{DOCUMENT}\n\nThis is the capital of France.",
        f"{DOCUMENT}```",
        f"<think>\nperhaps {{\n</think>\n\n{DOCUMENT}",
    ],
)
def test_a_document_that_stands_out_is_found(text: str) -> None:
    assert json_in(text) == DOCUMENT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Paris",
        f"It could be {DOCUMENT}",
        f"{DOCUMENT}\n{DOCUMENT}",
        f"{DOCUMENT} or else [1]",
        f"```json\n{DOCUMENT}\n```\nor\n```json\n{DOCUMENT}\n```",
        DOCUMENT[:-3],
        f"<think>{DOCUMENT}",
        "[" + "1" * 5000 + "] x",
        "[" * 100_000,
    ],
)
def test_a_text_without_one_is_left_as_it_is(text: str) -> None:
    assert json_in(text) == text


@pytest.mark.parametrize("text", ['"Paris"', "5", "null", '"```"', '{"code": "```\\nx\\n```"}'])
def test_what_is_json_already_is_not_touched(text: str) -> None:
    assert json_in(text) == text
