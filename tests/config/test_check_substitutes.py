"""Requests that no model of a route can take are told before they come."""

from __future__ import annotations

from tests.config.reading import Read

MODELS = """
    providers: {local: {dialect: echo}}
    models:
      blind: {provider: local, name: a, input_price: 1, features: [], context_tokens: 1000}
      tooled: {provider: local, name: b, input_price: 9, features: [tools], context_tokens: 1000}
      cheap: {provider: local, name: c, input_price: 2, features: [vision, tools], context_tokens: 9000}
      dear: {provider: local, name: d, input_price: 5, features: [vision, tools], context_tokens: 9000}
    default: {models: [tooled, dear]}
"""
PLAN = "{name: %s, models: [%s], utterances: [%s 1, %s 2, %s 3, %s 4, %s 5]}"


def route(name: str, models: str) -> str:
    return f"  - {PLAN % (name, models, *[name] * 5)}\n"


def told(read_files: Read, text: str) -> list[str]:
    config, problems = read_files(base=MODELS, x=text)
    assert config is not None, problems
    return [f"{p.severity}: {p.path}: {p.message}" for p in problems if p.file == "x.yaml"]


def test_what_no_model_of_a_route_takes_is_told_with_who_does(read_files: Read) -> None:
    assert told(read_files, "routes:\n" + route("a", "blind") + route("b", "tooled, blind") + route("c", "cheap")) == [
        "info: $.routes[0].models: none of these models takes images (`dear` does), or tools (`tooled` does), "
        "or more than 1,000 tokens (`dear` does): such requests go to another model",
        "info: $.routes[1].models: none of these models takes images (`dear` does), or more than 1,000 tokens "
        "(`dear` does): such requests go to another model",
    ]


def test_where_the_default_cannot_either_it_is_the_cheapest(read_files: Read) -> None:
    text = MODELS.replace("[tooled, dear]", "[tooled]")
    _, problems = read_files(base=text, x="routes:\n" + route("a", "blind"))
    assert "takes images (`cheap` does), or tools (`tooled` does)" in problems[-1].message


def test_models_that_a_rule_names_and_windows_for_all_but_any_text_are_not_told(read_files: Read) -> None:
    assert told(read_files, "rules: [{name: r, when: {turns: {gt: 1}}, models: [tooled]}]") == []
    large = MODELS.replace("context_tokens: 1000", "context_tokens: 200000")
    _, problems = read_files(base=large.replace("9000", "900000"), x="routes:\n" + route("b", "tooled"))
    assert [p.message for p in problems if p.file == "x.yaml"] == [
        "none of these models takes images (`dear` does): such requests go to another model"
    ]


def test_what_no_model_at_all_takes_and_a_window_that_is_not_known_are_not_told(read_files: Read) -> None:
    text = MODELS.replace("vision, ", "").replace("features: [], context_tokens: 1000", "features: [tools]")
    config, problems = read_files(base=text, x="routes:\n" + route("a", "blind"))
    assert config is not None
    assert [problem for problem in problems if problem.file == "x.yaml"] == []


def test_a_rule_that_leaves_a_route_nothing_is_told(read_files: Read) -> None:
    rule = "rules: [{name: r, when: {turns: {gt: 1}}, only: {models: [cheap]}}]\n"
    assert told(read_files, rule + "routes:\n" + route("a", "dear") + route("b", "dear, cheap")) == [
        "info: $.rules[0].only: allows no model of `a`: while this rule holds, other models answer their requests"
    ]
