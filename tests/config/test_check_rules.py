# ruff: noqa: E501 - tables of cases are read as tables

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest

from semroute.config.condition_logic import Interval, implies, impossible, interval
from semroute.config.config import Config
from semroute.config.schema.rules import Compare, Language, When
from semroute.errors import Problem

Result = tuple[Config | None, list[Problem]]
Read = Callable[..., Result]


def said(result: Result) -> list[str]:
    return [f"{problem.severity}: {problem}" for problem in result[1]]


def when(**written: Any) -> When:
    return msgspec.convert(written, When)


EACH: dict[str, Any] = {
    "metadata": {"a": 1}, "headers": {"a": "b"}, "keywords": ["a"], "regex": "a", "system": "a", "harness": ["title"],
    "input_tokens": {"gt": 1}, "prompt_tokens": {"gt": 1}, "turns": {"gt": 1}, "max_tokens": {"gt": 1},
    "retrieval_score": {"gt": 1}, "has": ["code"], "language": ["de"], "script": ["latin"],
    "all": [{"regex": "a"}], "any": [{"regex": "a"}], "not": {"regex": "a"},
}  # fmt: skip
"""An example of each condition. A new condition needs one, and `condition_logic` has to know it."""


CONDITIONS = {field.encode_name for field in msgspec.structs.fields(When)} - {"look_at"}
"""`look_at` only says where `keywords` and `regex` look."""


@pytest.mark.parametrize("name", sorted(CONDITIONS))
def test_no_condition_is_taken_to_hold_always(name: str) -> None:
    assert not implies(when(), when(**{name: EACH[name]}))


# --- what conditions say about one another ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        ({"all": [{"turns": {"gt": 5}}, {"turns": {"lt": 3}}]}, "no number meets all bounds of `turns`"),
        ({"turns": {"gt": 5}, "all": [{"all": [{"turns": {"lte": 5}}]}]}, "no number meets all bounds of `turns`"),
        ({"metadata": {"x": {"gt": 5, "lt": 1}}}, "no number meets all bounds of `metadata.x`"),
        ({"retrieval_score": {"gt": 5, "lt": 1}}, "no number meets all bounds of `retrieval_score`"),
        ({"headers": {"X": "a"}, "all": [{"headers": {"x": "b"}}]}, "no value of `headers.x`"),
        ({"language": ["de"], "all": [{"language": ["fr"]}]}, "no value of `language`"),
        ({"any": [{"all": [{"turns": {"gt": 5}}, {"turns": {"lt": 3}}]}]}, "no branch of `any` can hold"),
        ({"script": ["han"], "any": [{"script": ["thai"]}, {"script": ["greek"]}]}, "no branch of `any`"),
        ({"all": [{"any": [{"turns": {"gt": 5}}]}], "turns": {"lt": 3}}, "no branch of `any`"),
        ({"input_tokens": {"lt": 0}}, "no number meets all bounds of `input_tokens`"),
        ({"turns": {"gt": 5}, "not": {"turns": {"gt": 1}}}, "`not` excludes"),
        ({"has": ["code"], "all": [{"not": {"has": ["code"]}}]}, "`not` excludes"),
        ({"not": {}}, "`not` excludes"),
    ],
    ids=str,
)
def test_conditions_that_never_hold(conditions: dict[str, Any], reason: str) -> None:
    assert str(impossible(when(**conditions))).startswith(reason)


@pytest.mark.parametrize(
    "conditions",
    [
        {},
        {"all": [{"turns": {"gt": 1}}, {"turns": {"lt": 3}}]},
        {"metadata": {"x": 1}, "all": [{"metadata": {"x": 1.0}}]},
        {"language": ["de", "fr"], "all": [{"language": ["fr"]}]},
        {"turns": {"gt": 1}, "not": {"turns": {"gt": 5}}},
        {"any": [{"turns": {"gt": 5}}, {"turns": {"lt": 3}}]},
        {"metadata": {"x": "a"}, "any": [{"metadata": {"x": "b"}}, {"metadata": {"x": "a"}}]},
        {"retrieval_score": {"lt": 0}},
        # A list of values can meet all of these.
        {"metadata": {"x": {"gt": 5}}, "all": [{"metadata": {"x": {"lt": 1}}}]},
        {"retrieval_score": {"gt": 0.8}, "all": [{"retrieval_score": {"lt": 0.1}}]},
        {"metadata": {"x": "a"}, "all": [{"metadata": {"x": ["b", "c"]}}]},
    ],
    ids=str,
)
def test_conditions_that_can_hold(conditions: dict[str, Any]) -> None:
    assert impossible(when(**conditions)) is None


@pytest.mark.parametrize(
    ("conditions", "other"),
    [
        ({"turns": {"gt": 5}}, {"turns": {"gte": 5}}),
        ({"turns": {"gt": 5}, "has": ["code"]}, {}),
        ({"metadata": {"x": "a"}}, {"metadata": {"x": ["a", "b"]}}),
        ({"keywords": ["refund"]}, {"keywords": ["refund", "invoice"]}),
        ({"has": ["code", "tools"]}, {"has": ["tools"]}),
        ({"regex": "x", "script": ["han"]}, {"regex": "x", "script": ["han", "kana"]}),
        ({"turns": {"gt": 5}}, {"any": [{"turns": {"gt": 9}}, {"turns": {"gt": 1}}]}),
        ({"any": [{"turns": {"gt": 9}}], "has": ["code"]}, {"any": [{"turns": {"gt": 9}}]}),
        ({"all": [{"turns": {"gt": 5}}, {"has": ["code"]}]}, {"has": ["code"], "turns": {"gt": 2}}),
        ({"not": {"turns": {"gt": 1}}}, {"not": {"turns": {"gt": 5}}}),
        ({"harness": ["title"], "system": "x"}, {"harness": ["title", "memory"], "system": "x"}),
    ],
    ids=str,
)
def test_one_holds_whenever_another_does(conditions: dict[str, Any], other: dict[str, Any]) -> None:
    assert implies(when(**conditions), when(**other))
    assert conditions == other or not implies(when(**other), when(**conditions))


@pytest.mark.parametrize(
    ("conditions", "other"),
    [
        ({"metadata": {"x": ["a", "b"]}, "all": [{"metadata": {"x": ["b", "c"]}}]}, {"metadata": {"x": "b"}}),
        (
            {"metadata": {"x": {"gt": 1}}, "all": [{"metadata": {"x": {"lt": 3}}}]},
            {"metadata": {"x": {"gt": 1, "lt": 3}}},
        ),
    ],
    ids=str,
)
def test_of_a_list_each_condition_may_be_met_by_another_element(
    conditions: dict[str, Any], other: dict[str, Any]
) -> None:
    assert not implies(when(**conditions), when(**other))


def test_an_interval_knows_its_ends() -> None:
    assert interval(Compare(gt=1, lte=2)) == Interval(1, True, 2, False)
    assert interval(Compare(gt=1, gte=1)) == Interval(low=1, low_open=True)
    assert interval(Compare(gte=5, lte=5)).empty is False
    assert interval(Compare(gte=5, lt=5)).empty


# --- what `check` says of rules ---------------------------------------------------------------------------------------


def test_a_rule_that_cannot_hold_is_an_error(read_files: Read) -> None:
    text = "rules: [{name: r, models: [small], when: {turns: {gt: 5}, all: [{turns: {lt: 3}}]}}]"
    assert said(read_files(x=text)) == [
        "error: x.yaml:1 $.rules[0].when: got conditions that never hold together: "
        "no number meets all bounds of `turns`"
    ]


RULES = """
rules:
- {name: long, models: [small], when: {input_tokens: {gt: 1000}}%s}
- {name: longer, models: [%s], when: {input_tokens: {gt: %d}}}
"""


LANGUAGES = ", ".join(f'"{code}"' for code in get_args(Language))


@pytest.mark.parametrize(
    ("conditions", "complaint"),
    [
        ("{keywords: []}", ".keywords: got an empty list, expected a list that is not empty"),
        ("{keywords: [x], has: []}", ".has: got an empty list, expected a list that is not empty"),
        ("{any: []}", ".any: got an empty list, expected a list that is not empty"),
        ("{headers: {x: []}}", ".headers.x: got an empty list, expected a string or a list that is not empty"),
        ("{regex: ''}", '.regex: got "", expected a string that is not empty'),
        ("{language: [german]}", f'.language[0]: got "german", expected one of {LANGUAGES}'),
        (
            "{not: {}}",
            ": got conditions that never hold together: `not` excludes all that the other conditions require",
        ),
    ],
)
def test_conditions_that_say_nothing_are_errors(read_files: Read, conditions: str, complaint: str) -> None:
    rules = f"rules:\n- {{name: r, when: {conditions}, models: [small]}}\n"
    assert said(read_files(x=rules)) == [f"error: x.yaml:2 $.rules[0].when{complaint}"]


def test_a_shadowed_rule_is_a_warning(read_files: Read) -> None:
    assert said(read_files(x=RULES % ("", "large", 5000))) == [
        "warning: x.yaml:4 $.rules[1]: never decides: `long` at x.yaml:3 holds whenever this rule does, and comes first"
    ]


def test_rules_with_the_same_conditions_and_other_targets_contradict(read_files: Read) -> None:
    assert said(read_files(x=RULES % ("", "large", 1000))) == [
        "warning: x.yaml:4 $.rules[1]: contradicts `long` at x.yaml:3, which has the same conditions and another "
        "target, and comes first"
    ]


def test_priority_decides_which_is_shadowed(read_files: Read) -> None:
    assert said(read_files(x=RULES % (", priority: -1", "large", 5000))) == []


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            "when: {turns: {gt: 1}}, only: {}",
            "got no restriction, expected one or more of `models`, `providers`, `regions`, …",
        ),
        ("when: {turns: {gt: 1}}, only: {regions: [eu]}", "no model meets this, expected at least one that does"),
        (
            "when: {turns: {gt: 1}}, models: [small], only: {models: [large]}",
            "no model of the rule's own `models` meets this, expected one or more that do",
        ),
        (
            "when: {turns: {gt: 1}}, route: billing, only: {models: [large]}",
            "no model of the rule's own `route` meets this, expected one or more that do",
        ),
        (
            "when: {turns: {gt: 1}}, tier: moderate, only: {tiers: [complex]}",
            "no model of the rule's own `tier` meets this, expected one or more that do",
        ),
    ],
)
def test_narrowing_that_leaves_nothing_is_an_error(read_files: Read, rule: str, expected: str) -> None:
    target = """
        models: {hard: {provider: local, name: hard, tier: complex}}
        routes: [{name: billing, utterances: [a, b, c, d, e], models: [small]}]
    """
    lines = said(read_files(x=f"rules: [{{name: r, {rule}}}]", y=target))
    assert lines == [f"error: x.yaml:1 $.rules[0].only: {expected}"]


def test_narrowing_rules_that_leave_nothing_together_contradict(read_files: Read) -> None:
    text = """
        rules:
        - {name: a, when: {turns: {gt: 1}}, only: {models: [small]}}
        - {name: b, when: {turns: {gt: 5}}, only: {models: [large]}}
    """
    assert said(read_files(x=text)) == [
        "warning: x.yaml:4 $.rules[1].only: contradicts `a`: when both hold, no model is left"
    ]


def test_names_in_a_narrowing_rule_must_exist(read_files: Read) -> None:
    text = "rules: [{name: r, when: {turns: {gt: 1}}, only: {models: [smal, small], providers: [locl]}}]"
    lines = said(read_files(x=text))
    assert any('$.rules[0].only.models[0]: got "smal"' in line for line in lines)
    assert any('$.rules[0].only.providers[0]: got "locl"' in line for line in lines)


def test_a_pattern_that_re2_does_not_know_is_an_error(read_files: Read) -> None:
    (line,) = said(read_files(x="rules: [{name: r, models: [small], when: {any: [{regex: '(?=x)'}]}}]"))
    assert line.startswith("error: x.yaml:1 $.rules[0].when.any[0].regex: got a pattern that RE2 refuses")


def test_a_pattern_of_what_clients_add_is_checked(read_files: Read) -> None:
    (line,) = said(read_files(x="strip: ['^Today', '(?=x)']"))
    assert line.startswith("error: x.yaml:1 $.strip[1]: got a pattern that RE2 refuses")


def test_a_place_to_look_at_without_words_to_look_for_is_an_error(read_files: Read) -> None:
    (line,) = said(read_files(x="rules: [{name: r, models: [small], when: {look_at: prompt, has: [code]}}]"))
    assert (
        line == "error: x.yaml:1 $.rules[0].when.look_at: has no effect here, expected it beside `keywords` or `regex`"
    )


def test_words_of_the_prompt_are_not_those_of_the_ask() -> None:
    for condition in ({"keywords": ["a"]}, {"regex": "a"}):
        of_prompt = when(**condition, look_at="prompt")
        assert implies(of_prompt, of_prompt) and not implies(of_prompt, when(**condition))
        assert not implies(when(**condition), of_prompt)


def test_a_header_that_rules_never_see_is_an_error(read_files: Read) -> None:
    (line,) = said(read_files(x="rules: [{name: r, models: [small], when: {not: {headers: {Authorization: x}}}}]"))
    assert line == (
        "error: x.yaml:1 $.rules[0].when.not.headers.Authorization: got a header that holds a secret, "
        "which rules never see"
    )


DEAR = "models: {dear: {provider: local, name: d, %s}}\n"
DEAR_ROUTE = "routes: [{name: r, utterances: [a, b, c, d, e], models: [dear, small], policy: {%s cascade: {}}}]"


@pytest.mark.parametrize(
    ("price", "policy", "warned"),
    [
        ("output_price: 9", "", True),
        ("output_price: 9", "select: best,", True),
        ("output_price: 9", "select: cheapest,", False),
        ("output_price: 9", "difficulty: {},", False),
        ("prices: [{from: 2020-01-01, input: 0, output: 9}]", "", True),
        ("output_price: 9, prices: [{from: 2020-01-01, input: 0, output: 0}]", "", False),
        ("output_price: 9, prices: [{from: 9999-01-01, input: 0, output: 0}]", "", True),
    ],
)
def test_a_cascade_that_begins_at_the_wrong_end_is_told(
    read_files: Read, price: str, policy: str, warned: bool
) -> None:
    lines = said(read_files(x=DEAR % price + DEAR_ROUTE % policy))
    told = (
        "warning: x.yaml:2 $.routes[0].models: got a cascade with an expensive model first, expected the cheapest first"
    )
    assert (told in lines) == warned


@pytest.mark.parametrize(
    ("quality", "policy", "warned"),
    [
        ("quality_by_route: {r: 0.9}", "", False),
        ("quality_by_route: {other: 0.9}", "", True),
        ("quality: 0.9, quality_by_route: {r: 0.5}", "", True),
        ("quality_by_route: {other: 0.9}", "difficulty: {by: learned, strong_share: 0.3},", False),
    ],
)
def test_a_least_quality_is_that_of_the_route(read_files: Read, quality: str, policy: str, warned: bool) -> None:
    text = f"""
        models: {{x: {{provider: local, name: x, {quality}}}}}
        routes:
        - {{name: r, utterances: [a, b, c, d, e], models: [x], policy: {{{policy} min_quality: 0.8}}}}
        - {{name: other, utterances: [f, g, h, i, j], models: [x], policy: {{}}}}
    """
    told = "warning: x.yaml:4 $.routes[0].models: the policy allows none of these models, for any request"
    assert (told in said(read_files(x=text))) == warned


def test_a_tier_without_models_is_an_error(read_files: Read) -> None:
    (line,) = said(read_files(x="rules: [{name: r, tier: complex, when: {turns: {gt: 1}}}]"))
    assert line.endswith('$.rules[0].tier: got "complex", but no model has this tier, expected a tier in use')


# --- strategies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("policy: {difficulty: {by: learned}}", "got no `strong_share` and no `min_quality_retained`"),
        (
            "policy: {difficulty: {by: learned, strong_share: 0.3, min_quality_retained: 0.9}}",
            "got both `strong_share` and `min_quality_retained`, expected one of them",
        ),
        ("policy: {difficulty: {strong_share: 0.3}}", "has no effect here, expected it with `by: learned` only"),
        ("policy: {difficulty: {moderate_from: 0.9}}", "got 0.9, expected at most `complex_from`, 0.6"),
        (
            "policy: {difficulty: {by: exemplars}}",
            "got exemplars without `tiers`, expected `tiers` with example utterances",
        ),
        ("policy: {max_cost_usd: -1}", "got -1, expected an amount of at least 0"),
        ("policy: {cascade: {max_cost_usd: -1}}", "got -1, expected an amount of at least 0"),
        ("policy: {cascade: {checks: {regex: '('}}}", "got a pattern that RE2 refuses: missing ): ("),
        ("policy: {cascade: {checks: {json_schema: {type: 7}}}}", "got an invalid JSON Schema: "),
        ("policy: {cascade: {checks: {contains: [A], forbids: [a]}}}", "got a, which `contains` requires"),
        ("policy: {cascade: {checks: {judge: {model: smal, rubric: r}}}}", 'got "smal", expected one of `models`'),
        ("policy: {min_quality: 0.9}", "the policy allows none of these models, for any request"),
        ("policy: {regions: [eu]}", "the policy allows none of these models, for any request"),
        ("policy: {requires: [vision]}", "the policy allows none of these models, for any request"),
        ("classifier: {model: smal}", 'got "smal", expected one of `models`'),
        ("models: {m: {provider: local, name: m, deployments: [{provider: locl}]}}", 'got "locl", expected one of'),
        (
            "models: {m: {provider: local, name: m, deployments: [{provider: local, input_price: -1}]}}",
            "got -1, expected a price of at least 0",
        ),
        (
            "models: {m: {provider: local, name: m, deployments: [{provider: local}]}, "
            "m@local: {provider: local, name: x}}",
            "this deployment would be called `m@local`, but a model has that name",
        ),
        ("models: {m: {provider: local, name: m, quality_by_route: {x: 1}}}", 'got "x", expected one of `routes`'),
        ("models: {m: {provider: local, name: m, prices_as_of: 2025-01-01}}", "got 2025-01-01, 516 days ago, expected"),
        ("models: {m: {provider: local, name: m, prices_as_of: 2027-01-01}}", "got 2027-01-01, expected no date after"),
    ],
)
def test_what_is_wrong_with_a_strategy(read_files: Read, text: str, expected: str) -> None:
    (line,) = said(read_files(x=text))
    assert expected in line


def test_deployments_become_models_beside_theirs(read_files: Read) -> None:
    text = """
        models:
          m:
            {provider: local, name: m-1, input_price: 2, quality: 0.8, deployments: [
              {provider: local, name: m-eu, regions: [eu], input_price: 1}, {provider: local}]}
    """
    config, problems = read_files(x=text)
    assert config is not None, problems
    assert [(one.id, one.name, one.group) for one in config.models.values()][-3:] == [
        ("m", "m-1", ""),
        ("m@local", "m-eu", "m"),
        ("m@local#2", "m-1", "m"),
    ]
    assert (config.models["m@local"].regions, config.models["m@local"].quality) == (("eu",), 0.8)
    assert config.models["m@local#2"].input_price == 2


def test_tiers_and_priorities_are_put_in_order(read_files: Read) -> None:
    text = """
        tiers:
        - {tier: complex, utterances: [prove it]}
        - {tier: simple, utterances: [hi]}
        - {tier: complex, utterances: [design it]}
        rules:
        - {name: later, when: {turns: {gt: 1}}, models: [small]}
        - {name: sooner, when: {turns: {gt: 2}}, models: [large], priority: 1}
    """
    config, problems = read_files(x=text)
    assert config is not None, problems
    assert config.tiers == {"simple": ("hi",), "complex": ("prove it", "design it")}
    assert [rule.name for rule in config.rules] == ["sooner", "later"]


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("^.{,20}$", "error: x.yaml:1 $.rules[0].when.regex: got `{,20}`, which RE2 reads as literal text, expected `{0,20}`"),
        ("a{,}", "error: x.yaml:1 $.rules[0].when.regex: got `{,}`, which RE2 reads as literal text, expected `{0,}`"),
        (r"^a$\nb", "warning: x.yaml:1 $.rules[0].when.regex: got a `$` before the end of the pattern"),
        (r"(?i)cost: $5", "warning: x.yaml:1 $.rules[0].when.regex: got a `$` before the end of the pattern"),
        (r"(?m)^a$\nb", ""),
        (r"(?is)(^a$|^b$)", ""),
        (r"[$]5|[^]$]a|\$5|\Q$5{,2}\E|a\{,2\}|[{,2}]|[[:alpha:]$]x", ""),
        ("a{2,}", ""),
    ],
)  # fmt: skip
def test_what_re2_reads_in_its_own_way_is_told(read_files: Read, pattern: str, complaint: str) -> None:
    line = json.dumps({"rules": [{"name": "r", "models": ["small"], "when": {"regex": pattern}}]})
    told = [each for each in said(read_files(x=line)) if "regex" in each]
    assert [each.startswith(complaint) for each in told] == ([True] if complaint else [])


def test_a_keyword_of_white_space_is_an_error(read_files: Read) -> None:
    assert said(read_files(x="rules: [{name: r, models: [small], when: {keywords: [a, ' ']}}]")) == [
        "error: x.yaml:1 $.rules[0].when.keywords[1]: got white space, expected a word or a phrase"
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "false"), ("Yes", "true"), ("on", "true"), ("22:30", "1350"), ("01234", "668"), ("0x1F", "31"),
        ("1_000", "1000"), ("0b11", "3"), ("1.10", "1.1"), ("1_0.5", "10.5"), ("12:30.5", "750.5"), (".5", "0.5"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["metadata: {k: %s}", "metadata: {k: [a, %s]}", "any: [{metadata: {k: %s}}]"])
def test_values_that_yaml_reads_as_something_else_are_told(read_files: Read, place: str, text: str, value: str) -> None:
    """The old rules of YAML 1.1: base 60, octal, `no` for false."""
    [told] = said(read_files(x="rules: [{name: r, models: [small], when: {%s}}]" % (place % text)))
    assert told.startswith("warning: x.yaml:1 $.rules[0].when.")
    assert f': got {text}, which YAML reads as {value}: it does not match the text "{text}"' in told


@pytest.mark.parametrize("text", ["true", "False", "12", "-3", "+3", "0", "1.5", "-0.5", "pro", '"no"', "{gte: 1.10}"])
def test_values_that_are_what_they_look_like_are_not_told(read_files: Read, text: str) -> None:
    assert said(read_files(x=f"rules: [{{name: r, models: [small], when: {{metadata: {{k: {text}}}}}}}]")) == []


def test_a_schemas_values_are_told_too(read_files: Read) -> None:
    schema = "{type: object, properties: {sure: {enum: [yes, no]}, share: {type: number, minimum: 0.10}}}"
    told = said(read_files(x=f"policy: {{cascade: {{checks: {{json_schema: {schema}}}}}}}"))
    assert [line.partition(": got ")[2].partition(",")[0] for line in told] == ["yes", "no"]
