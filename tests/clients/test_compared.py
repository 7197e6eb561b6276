"""What counts as worse than at a provider."""

from __future__ import annotations

from typing import Any

from tests.clients.compared import CAUSE, DONE, TEXT, TOLD, VALUE, problems

SAW: dict[str, Any] = {"text": TEXT, "usage": [20, 10], "done": [], "value": None, "error": "", "said": ""}
BROKEN = {**SAW, "text": "Hello ", "usage": [], "error": "APIError", "said": "lost"}


def told(wire: str, run: str, scene: str, direct: dict[str, Any], got: dict[str, Any]) -> str:
    seen = {(wire, "direct", scene): direct, (wire, run, scene): got}
    return problems(seen).get((wire, run, scene), "")


def test_what_a_client_sees_must_be_the_same() -> None:
    assert told("openai", "gemini", "text", SAW, SAW) == ""
    assert "text: got 'Hello'" in told("openai", "gemini", "text", SAW, {**SAW, "text": "Hello"})
    assert "error: got 'Oops'" in told("openai", "gemini", "text", SAW, {**SAW, "error": "Oops"})
    assert "usage: got [0, 10]" in told("openai", "gemini", "stream", SAW, {**SAW, "usage": [0, 10]})
    tools = {**SAW, "text": TOLD, "done": DONE}
    assert told("openai", "gemini", "tools", tools, {**tools, "done": DONE[::-1]}) == ""
    assert "done: got []" in told("openai", "gemini", "tools", tools, {**tools, "done": []})
    assert "value: got None" in told("openai", "gemini", "json", {**SAW, "value": VALUE}, SAW)


def test_what_gemini_does_not_tell_counts_as_plain_input_for_anthropics_clients_alone() -> None:
    direct, got = {**SAW, "usage": [12, 10]}, {**SAW, "usage": [15, 10]}
    assert told("anthropic", "gemini", "text", direct, got) == ""
    assert told("anthropic", "openai", "text", direct, got) != ""


def test_a_break_must_look_broken_and_say_why() -> None:
    assert told("openai", "gemini", "break", BROKEN, {**BROKEN, "said": f"the stream was cut: {CAUSE}"}) == ""
    assert "names no cause" in told("openai", "gemini", "break", BROKEN, BROKEN)
    assert "no error" in told("openai", "gemini", "break", BROKEN, {**BROKEN, "error": ""})
    assert "text: got ''" in told("openai", "gemini", "break", BROKEN, {**BROKEN, "text": "", "said": CAUSE})


def test_a_client_that_gives_up_at_a_429_must_get_the_answer_through_semroute() -> None:
    gave_up = {**SAW, "text": "", "usage": [], "error": "RateLimitError"}
    assert problems({("openai", "direct", "limited"): gave_up}) == {}
    assert told("openai", "gemini", "limited", gave_up, SAW) == ""
    assert told("openai", "gemini", "limited", gave_up, gave_up) != ""


def test_a_model_that_is_unknown_must_be_named() -> None:
    failed = {**SAW, "text": "", "error": "E", "said": "no gemini-unknown"}
    assert told("openai", "gemini", "unknown", failed, failed) == ""
    assert told("openai", "gemini", "unknown", failed, {**failed, "said": "no"}) != ""
    assert told("openai", "gemini", "unknown", failed, {**failed, "error": ""}) != ""


def test_a_client_that_fails_at_the_provider_was_driven_wrongly() -> None:
    assert problems({("openai", "direct", "text"): {**SAW, "error": "TypeError"}}) != {}
    assert problems({("openai", "direct", "json"): SAW}) != {}
    assert problems({("openai", "direct", "json"): {**SAW, "value": {"tool_call": VALUE}}}) == {}
    assert problems({("openai", "direct", "tools"): {**SAW, "text": TOLD, "done": DONE[:1]}}) != {}
