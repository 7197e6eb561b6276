"""One mistake in an entry hides no other, and what is left out because of it leads to no false alarm."""

from __future__ import annotations

import pytest

from tests.config.reading import Read

FINE = "utterances: [a, b, c, d, e], models: [small]"


def told(read_files: Read, text: str) -> list[str]:
    config, problems = read_files(x=text)
    assert config is None
    return [problem.path for problem in problems]


@pytest.mark.parametrize(
    "mistake",
    [
        "treshold: 0.5",
        "threshold: 7",
        "threshold: high",
        "colour: red",
        "description: 5",
        "policy: {selct: best}",
        "policy: {difficulty: {complex_from: 5, moderate_from: 0.7}}",
        "output: {jsonschema: {}}",
    ],
)
def test_a_mistake_in_a_route_hides_nothing_else_of_it(read_files: Read, mistake: str) -> None:
    text = f"routes: [{{name: a b, utterances: [a, a], models: [smal, large, large], {mistake}}}]"
    found = told(read_files, text)
    others = ["name", "utterances", "utterances[1]", "models[0]", "models[2]"]
    assert {f"$.routes[0].{other}" for other in others} < set(found)
    assert len(found) == len(others) + 1


def test_two_routes_are_compared_though_one_is_wrong(read_files: Read) -> None:
    text = f"routes: [{{name: a, {FINE}, threshold: 7}}, {{name: b, {FINE}, treshold: 1}}]"
    assert [path for path in told(read_files, text) if path.startswith("$.routes[1].utt")] == [
        f"$.routes[1].utterances[{index}]" for index in range(5)
    ]


def test_a_list_that_is_missing_or_mistyped_hides_nothing_else(read_files: Read) -> None:
    assert sorted(told(read_files, "routes: [{name: a b, utterences: [x], models: [smal]}]")) == [
        "$.routes[0]",
        "$.routes[0].models[0]",
        "$.routes[0].name",
        "$.routes[0].utterences",
    ]
    assert told(read_files, "routes: [{name: a, utterances: [a, b, c, d, e], models: smal, policy: {regions: 1}}]") == [
        "$.routes[0].models",
        "$.routes[0].policy.regions",
    ]


def test_what_stands_after_a_wrong_item_keeps_its_place(read_files: Read) -> None:
    assert told(read_files, "routes: [{name: a, utterances: [a, 5, c, d, a], models: [1, smal]}]") == [
        "$.routes[0].utterances[1]",
        "$.routes[0].models[0]",
        "$.routes[0].models[1]",
        "$.routes[0].utterances[4]",
    ]


def test_a_mistake_deep_inside_hides_nothing_beside_it(read_files: Read) -> None:
    judge = "judge: {model: nobody, rubric: r, thresold: 1}"
    text = f"policy: {{select: chepest, max_cost_usd: -1, cascade: {{checks: {{regex: '(', {judge}}}}}}}"
    assert set(told(read_files, text)) == {
        "$.policy.select",
        "$.policy.max_cost_usd",
        "$.policy.cascade.checks.regex",
        "$.policy.cascade.checks.judge.thresold",
        "$.policy.cascade.checks.judge.model",
    }


@pytest.mark.parametrize(
    "text",
    [
        "providers: {p: {dialekt: echo}}",
        "providers: {p: {dialect: echoo}}",
        "providers: {p: {preset: gorq}}",
        "providers: {p: {dialect: bedrok, region: eu-central-1}}",
        "rules: [{name: r, when: {turns: {gt: x}}, models: [small]}]",
        "rules: [{name: r, when: {turnz: {gt: 1}}, models: [small]}, "
        "{name: s, when: {turns: {gt: 1}}, models: [large]}]",
        "rules: [{name: r, when: {not: {turns: {gt: x}}}, models: [small]}]",
        "rules: [{name: r, when: {turns: {gt: 1}}, tier: smple}]",
        "rules: [{name: r, when: {turns: {gt: 1}}, modles: [small]}]",
        "rules: [{name: r, when: {turns: {gt: 1}}, only: {regons: [eu]}}]",
        "models: {m: {provider: local, name: m, tier: complx}}\n"
        "rules: [{name: r, when: {turns: {gt: 1}}, tier: complex}]",
        "models: {m: {provider: local, name: m, regions: eu}}\npolicy: {regions: [eu]}\n"
        "routes: [{name: a, utterances: [a, b, c, d, e], models: [m]}]",
        f"routes: [{{name: a, {FINE}, policy: {{difficulty: {{by: learned, strong_share: 5}}}}}}]",
        f"routes: [{{name: a, {FINE}, policy: {{difficulty: {{complex_from: 5, moderate_from: 0.7}}}}}}]",
        f"routes: [{{name: a, {FINE}, policy: {{cascade: {{on_judge_error: accept, checks: {{judge: {{}}}}}}}}}}]",
        "tiers: [{tier: smple, utterances: [a]}]\npolicy: {difficulty: {by: exemplars}}",
    ],
)
def test_what_is_left_out_is_not_said_to_be_missing(read_files: Read, text: str) -> None:
    assert len(told(read_files, text)) == (2 if "judge" in text else 1)


def test_a_file_that_cannot_be_read_hides_nothing_of_the_others(read_files: Read) -> None:
    text = "routes: [{name: a b, utterances: [a, a, b, c, d], models: [nobody]}]\npolicy: {max_cost_usd: -1}"
    _, problems = read_files(base="models: [", x=text)
    assert [f"{problem.file} {problem.path}" for problem in problems] == [
        "base.yaml $",
        "x.yaml $.routes[0].name",
        "x.yaml $.routes[0].utterances[1]",
        "x.yaml $.policy.max_cost_usd",
    ]
