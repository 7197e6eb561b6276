"""Numbers are set in YAML files, and all else stays."""

from __future__ import annotations

import pytest

from semroute.config.yaml_documents import parse
from semroute.config.yaml_edits import Edit, UneditableError, edited

AFTER = ("name", "input", "output")


def test_a_number_is_replaced_and_comments_stay() -> None:
    text = "# prices\nmodels:\n  a: {name: x, input: 1.50}   # cheap\n  b:\n    input: 2   # dear\n"
    new = edited(text, [Edit(("models", "a", "input"), "0.75"), Edit(("models", "b", "input"), "3")])
    assert new == text.replace("1.50", "0.75").replace("input: 2 ", "input: 3 ")


def test_a_new_number_comes_after_its_neighbours() -> None:
    flow = "m: {name: x, input: 1,\n    output: 2, tier: simple}\n"
    assert edited(flow, [Edit(("m", "cached"), "0.1", AFTER)]) == flow.replace("output: 2", "output: 2, cached: 0.1")
    block = "m:\n  name: x\n  input: 1  # USD\n  tier: simple\n"
    edits = [Edit(("m", "cached"), "0.1", AFTER), Edit(("m", "written"), "0.2", AFTER)]
    assert edited(block, edits) == block.replace("# USD\n", "# USD\n  cached: 0.1\n  written: 0.2\n")


@pytest.mark.parametrize(
    "text", ["m:\r\n  name: x\r\n  input: 1\r\n", "m:\n  name: é\n  input: 1", "m: {name: '😀', input: 1}"]
)
def test_line_breaks_and_other_scripts(text: str) -> None:
    new = edited(text, [Edit(("m", "cached"), "0.5", AFTER)])
    before, after = (parse("f", each.encode(), {}).value["m"] for each in (text, new))
    assert isinstance(before, dict) and after == {**before, "cached": 0.5}
    assert new.count("\r") in (0, new.count("\n"))


def test_entries_of_lists() -> None:
    text = "m:\n  prices:\n  - {from: 2026-01-01, input: 1}\n  - {from: 2027-01-01, input: 2}\n"
    assert edited(text, [Edit(("m", "prices", 1, "input"), "9")]) == text.replace("input: 2", "input: 9")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a {name: x, input: 1}\nm: *a\n", "$.m comes from an alias"),
        ("a: &a {name: x, input: 1}\nm:\n  <<: *a\n", "$.m.input has no place"),
        ("m: {name: x, input: '${PRICE}'}\n", "'${PRICE}'"),
        ("a: &one 1\nm: {name: x, input: *one}\n", "`&one 1`"),
    ],
)
def test_what_comes_from_elsewhere_is_left(text: str, said: str) -> None:
    with pytest.raises(UneditableError) as caught:
        edited(text, [Edit(("m", "input"), "9", ("output",))])
    assert said in str(caught.value)
