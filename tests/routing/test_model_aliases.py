"""Names that clients insist on."""

from __future__ import annotations

import pytest

from semroute.config.check_aliases import specific_first
from semroute.routing.model_aliases import MAX_CHARS, alias_target, describe_alias, resolve_aliases
from tests.routing.build import LARGE, SMALL, config, request

ALIASES = {
    "*": "auto",
    "gemini-*": "small",
    "gemini-3-pro*": "auto",
    "gemini-3-pro-image": "large",
    "*-mini": "small",
    "a*b*c": "large",
    "claude-*[1m]": "large",
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gemini-3-pro", "auto"),
        ("gemini-3-pro-preview", "auto"),
        ("gemini-3-pro-image", "large"),
        ("gemini-2-flash", "small"),
        ("gpt-9-mini", "small"),
        ("abc", "large"),
        ("a-b-b-c", "large"),
        ("acb", "auto"),
        ("claude-opus[1m]", "large"),
        ("claude-opus1", "auto"),
        ("Gemini-3-pro", "auto"),
        ("", "auto"),
        # These are what they are.
        ("auto", "auto"),
        ("auto:gemini-3-pro", "auto:gemini-3-pro"),
        ("small", "small"),
        ("x" * (MAX_CHARS + 1), "x" * (MAX_CHARS + 1)),
    ],
)
def test_the_most_specific_alias_counts(name: str, expected: str) -> None:
    assert alias_target(config(SMALL, LARGE, aliases=specific_first(ALIASES)), name) == expected


def test_all_names_of_a_request_are_resolved_and_the_decision_says_so() -> None:
    configured = config(SMALL, LARGE, aliases=specific_first({"gpt-*": "small", "claude": "large"}))
    asked = request(model="gpt-9", models=("claude", "large", "claude"))
    found = resolve_aliases(configured, asked)
    assert (found.model, found.models) == ("small", ("large", "large", "large"))
    assert describe_alias(asked, found) == "; gpt-9 is an alias of small; claude is an alias of large"
    for other in (request(), request(model="small"), request(model="unknown")):
        assert resolve_aliases(configured, other) is other
        assert describe_alias(other, other) == ""
    assert resolve_aliases(config(SMALL), asked) is asked


def test_an_alias_takes_time_in_proportion_to_the_name() -> None:
    configured = config(SMALL, aliases={"*a" * 100 + "b": "auto"})
    assert alias_target(configured, "a" * MAX_CHARS) == "a" * MAX_CHARS
