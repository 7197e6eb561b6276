from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest

from semroute.config.check_config import check
from semroute.config.config import Config, Draft
from semroute.config.load import read
from semroute.config.schema.route_file import RouteFile
from semroute.errors import Problem
from tests.config.conftest import BASE

Result = tuple[Config | None, list[Problem]]
Read = Callable[..., Result]


def said(result: Result) -> list[str]:
    return [f"{problem.severity}: {problem}" for problem in result[1]]


def route(name: str = "billing", models: str = "[small]", utterances: str = "[a, b, c, d, e]") -> str:
    return f"routes:\n- name: {name}\n  models: {models}\n  utterances: {utterances}\n"


def rule(text: str) -> str:
    return f"rules:\n- {{name: r, {text}}}\n"


# --- sections ---------------------------------------------------------------------------------------------------------


def test_nothing_at_all_lacks_a_default_models_providers_and_routes() -> None:
    problems = check(Draft(folder="routes", merged=RouteFile(), sources={}), today=datetime.date(2026, 1, 1))
    assert [f"{problem.severity}: {problem.file} {problem.path}: {problem.message}" for problem in problems] == [
        "error: routes $: no `default`: expected the models for prompts that no route matches, "
        "such as `default: {models: [large]}`",
        "error: routes $: no `models`: expected at least one, such as `models: {large: {provider: …, name: …}}`",
        "error: routes $: no `providers`: expected at least one, such as `providers: {openai: {dialect: …}}`",
        "warning: routes $: no `routes`: every prompt that no rule takes goes to the default",
    ]


@pytest.mark.parametrize(
    "origin", ["https://app.example.com", "http://localhost:3000", "http://[::1]:8080", "chrome-extension://abcdef"]
)
def test_origins_as_browsers_send_them(read_files: Read, origin: str) -> None:
    config, problems = read_files(x=f'{route()}cors: {{origins: ["{origin}"]}}')
    assert problems == []
    assert config is not None
    assert config.cors is not None
    assert [config.cors.allows(one) for one in (origin, f"{origin}.evil.example", "null")] == [True, False, False]


@pytest.mark.parametrize(
    "origin",
    [
        "app.example.com",
        "https://app.example.com/",
        "https://App.example.com",
        "https://app.example.com:443",
        "http://app.example.com:80",
        "https://*.example.com",
        "null",
        "",
    ],
)
def test_an_origin_that_no_browser_sends_is_an_error(read_files: Read, origin: str) -> None:
    [problem] = said(read_files(x=f'{route()}cors: {{origins: ["{origin}"]}}'))
    assert problem.startswith("error: x.yaml:5 $.cors.origins[0]: got ")
    assert "such as https://app.example.com, or *" in problem


def test_to_allow_every_page_is_doubtful(read_files: Read) -> None:
    [problem] = said(read_files(x=f'{route()}cors: {{origins: ["*"]}}'))
    assert problem.startswith("warning: x.yaml:5 $.cors.origins[0]: any page in a browser")


@pytest.mark.parametrize("broken", ["- {utterances: [a], models: [small]}", "- {name: a, models: []}", "{}"])
def test_routes_that_are_broken_are_not_said_to_be_missing(write: Callable[..., Path], broken: str) -> None:
    _, problems = read(write(base=BASE, x=f"routes:\n  {broken}\n"), {})
    assert {problem.severity for problem in problems} == {"error"}


def test_a_sound_configuration_has_no_problems(read_files: Read) -> None:
    config, problems = read_files(x=route())
    assert config is not None
    assert problems == []


def test_a_model_that_nothing_uses_is_fine(read_files: Read) -> None:
    assert said(read_files(x=route() + "models: {spare: {provider: local, name: s}}")) == []


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (route(models="[small, smal]"), "x.yaml:3 $.routes[0].models[1]"),
        (rule("when: {metadata: {a: b}}, models: [smal]"), "x.yaml:2 $.rules[0].models[0]"),
    ],
)
def test_an_unknown_model_is_an_error(read_files: Read, text: str, where: str) -> None:
    assert said(read_files(x=text)) == [
        f'error: {where}: got "smal", expected one of `models` (`large`, `small`), did you mean `small`?'
    ]


def test_an_unknown_model_in_the_default_is_an_error(read_files: Read) -> None:
    base = "providers: {e: {dialect: echo}}\nmodels: {m: {provider: e, name: m}}\ndefault:\n  models: [zzz]\n"
    assert said(read_files(base=base)) == [
        'error: base.yaml:4 $.default.models[0]: got "zzz", expected one of `models` (`m`)'
    ]


def test_an_unknown_provider_is_an_error(read_files: Read) -> None:
    assert said(read_files(x="models:\n  m: {provider: locl, name: m}\n")) == [
        'error: x.yaml:2 $.models.m.provider: got "locl", expected one of `providers` (`local`), did you mean `local`?'
    ]


def test_an_unknown_route_in_a_rule_is_an_error(read_files: Read) -> None:
    assert said(read_files(x=rule("when: {metadata: {a: b}}, route: bill") + route())) == [
        'error: x.yaml:2 $.rules[0].route: got "bill", expected one of `routes` (`billing`), did you mean `billing`?'
    ]
    assert said(read_files(x=rule("when: {metadata: {a: b}}, route: bill"))) == [
        'error: x.yaml:2 $.rules[0].route: got "bill", expected one of `routes` (none is defined)'
    ]


def test_of_very_many_names_the_first_are_listed(read_files: Read) -> None:
    models = "models:\n" + "".join(f"  m{number:02}: {{provider: local, name: m}}\n" for number in range(50))
    (line,) = said(read_files(x=models, y=route(models="[zzz]")))
    assert line.endswith("`m37`, `m38` and 12 more)")


def test_a_model_given_twice_in_a_list_is_an_error(read_files: Read) -> None:
    assert said(read_files(x=route(models="[small, large, small]"))) == [
        'error: x.yaml:3 $.routes[0].models[2]: got "small" a second time, expected it once'
    ]


@pytest.mark.parametrize("name", ["billing", "a.b-c_D9", "9"])
def test_names_that_fit_a_request(read_files: Read, name: str) -> None:
    assert said(read_files(x=route(name=f'"{name}"'))) == []


@pytest.mark.parametrize("name", ["a b", "a:b", "a/b", "café", " ", "a\\n"])
def test_a_route_name_unfit_for_a_request_is_an_error(read_files: Read, name: str) -> None:
    assert said(read_files(x=route(name=f'"{name}"'))) == [
        f'error: x.yaml:2 $.routes[0].name: got "{name}", expected letters, digits and `-`, `_`, `.` only'
    ]


def test_a_route_with_the_name_of_a_model_is_an_error(read_files: Read) -> None:
    assert said(read_files(x=route(name="large"))) == [
        'error: x.yaml:2 $.routes[0].name: got "large", which is a model\'s id too, expected another name'
    ]


@pytest.mark.parametrize("id_", ["auto", "auto:billing", "", " "])
def test_a_model_id_that_no_caller_could_ask_for_is_an_error(read_files: Read, id_: str) -> None:
    (line,) = said(read_files(x=f'models: {{"{id_}": {{provider: local, name: m}}}}'))
    assert f'got the id "{id_}", expected another' in line


# --- providers and prices ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "gemini"])
def test_a_provider_needs_an_address(read_files: Read, dialect: str) -> None:
    assert said(read_files(x=f"providers:\n  p: {{dialect: {dialect}}}\n")) == [
        "error: x.yaml:2 $.providers.p: `base_url` is missing, "
        "expected an address such as `base_url: https://api.openai.com/v1`"
    ]


def test_an_address_is_missed_though_the_key_is_unset_as_well(read_files: Read) -> None:
    warning, error = sorted(said(read_files(x='providers: {p: {dialect: openai, api_key: "${K}"}}')), reverse=True)
    assert "`K` is not set" in warning
    assert "`base_url` is missing" in error


def test_an_address_whose_variable_is_unset_is_not_missed(read_files: Read) -> None:
    (line,) = said(read_files(x='providers: {p: {dialect: openai, base_url: "${U}"}}'))
    assert line.startswith("warning")


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://x", "https://", "api.openai.com/v1", "http://[", "http://a:x"]
)
def test_an_address_that_is_not_http_is_an_error(read_files: Read, url: str) -> None:
    assert said(read_files(x=f'providers: {{p: {{dialect: echo, base_url: "{url}"}}}}')) == [
        f'error: x.yaml:1 $.providers.p.base_url: got "{url}", expected an address that starts with http:// or https://'
    ]


@pytest.mark.parametrize("price", ["-0.1", '"NaN"', '"Infinity"'])
def test_a_price_below_nothing_is_an_error(read_files: Read, price: str) -> None:
    (line,) = said(read_files(x=f"models: {{m: {{provider: local, name: m, output_price: {price}}}}}"))
    assert line.endswith(f"$.models.m.output_price: got {price.strip(chr(34))}, expected a price of at least 0")


@pytest.mark.parametrize(
    ("today", "problems"),
    [
        ("2026-01-01", []),
        ("2026-06-30", []),
        ("2026-07-01", ["warning: x.yaml:1 $.prices_as_of: got 2026-01-01, 181 days ago, expected at most 180"]),
        (
            "2025-12-31",
            ["warning: x.yaml:1 $.prices_as_of: got 2026-01-01, expected no date after today, 2025-12-31"],
        ),
    ],
)
def test_prices_age(read_files: Read, today: str, problems: list[str]) -> None:
    assert said(read_files(x="prices_as_of: 2026-01-01", today=today)) == problems


# --- variables --------------------------------------------------------------------------------------------------------

CLOUD = """
providers:
  cloud: {dialect: echo, api_key: "${KEY}", headers: {x-org: "${ORG}"}}
models:
  one: {provider: cloud, name: one}
  two: {provider: cloud, name: two}
"""


def test_a_provider_without_its_variables_is_a_warning_that_names_its_models(read_files: Read) -> None:
    config, problems = read_files(x=CLOUD, environ={"ORG": "acme"})
    assert config is not None
    assert [str(problem) for problem in problems] == [
        "x.yaml:3 $.providers.cloud: `KEY` is not set: these models cannot be called: `one`, `two`"
    ]


def test_a_provider_without_models_is_a_warning_too(read_files: Read) -> None:
    assert said(read_files(x='providers: {p: {dialect: echo, api_key: "${KEY}"}}')) == [
        "warning: x.yaml:1 $.providers.p: `KEY` is not set: it cannot be called"
    ]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (route(models="[one, two]"), "y.yaml:3 $.routes[0].models"),
        (rule("when: {metadata: {a: b}}, models: [one]"), "y.yaml:2 $.rules[0].models"),
    ],
)
def test_a_plan_of_which_no_model_can_be_called_is_a_warning(read_files: Read, text: str, where: str) -> None:
    assert said(read_files(x=CLOUD, y=text))[1:] == [
        f"warning: {where}: none of these models can be called: `KEY`, `ORG` are not set"
    ]


def test_where_no_model_at_all_can_be_called_each_provider_says_so_once(read_files: Read) -> None:
    alone = CLOUD + "default: {models: [one]}\n" + route(models="[two, one]")
    config, problems = read_files(base=alone)
    assert config is not None
    assert [str(problem) for problem in problems if "called" in str(problem)] == [
        "base.yaml:3 $.providers.cloud: `KEY`, `ORG` are not set: these models cannot be called: `one`, `two`"
    ]


def test_a_plan_with_one_model_that_can_be_called_is_fine(read_files: Read) -> None:
    assert len(said(read_files(x=CLOUD, y=route(models="[one, small]")))) == 1


# --- utterances -------------------------------------------------------------------------------------------------------


def test_few_utterances_are_a_warning(read_files: Read) -> None:
    assert said(read_files(x=route(utterances="[a, b, c, d]"))) == [
        "warning: x.yaml:4 $.routes[0].utterances: got 4, expected 5 utterances or more"
    ]


@pytest.mark.parametrize("blank", [" ", "\\t", "\\n"])
def test_a_blank_utterance_is_an_error(read_files: Read, blank: str) -> None:
    assert said(read_files(x=route(utterances=f'[a, b, c, d, "{blank}"]'))) == [
        f'error: x.yaml:4 $.routes[0].utterances[4]: got "{blank}", expected a string that is not blank'
    ]


def test_an_utterance_of_two_routes_is_an_error_that_names_both(read_files: Read) -> None:
    other = route(name="other", utterances='[f, g, h, "MY  Bill ", i]')
    assert said(read_files(x=route(utterances="[a, b, c, d, my bill]"), y=other)) == [
        'error: y.yaml:4 $.routes[0].utterances[3]: got "MY  Bill ", which `billing` has too, at x.yaml:4, '
        "expected it in one route only"
    ]


def test_an_utterance_twice_in_one_route_is_a_warning(read_files: Read) -> None:
    assert said(read_files(x=route(utterances="[my bill, b, c, d, MY BILL]"))) == [
        'warning: x.yaml:4 $.routes[0].utterances[4]: got "MY BILL" a second time, first at x.yaml:4'
    ]


NEGATIVE = 'negatives: [hm, "HM  ", " ", my bill]'


def test_negatives_are_looked_at_like_utterances(read_files: Read) -> None:
    assert said(read_files(x=NEGATIVE, y=route(utterances="[My bill, b, c, d, e]"))) == [
        'warning: x.yaml:1 $.negatives[1]: got "HM  " a second time, first at x.yaml:1',
        'error: x.yaml:1 $.negatives[2]: got " ", expected a string that is not blank',
        'warning: x.yaml:1 $.negatives[3]: got "my bill", also an utterance of `billing` at y.yaml:4: '
        "it still matches that route",
    ]


@pytest.mark.parametrize(
    ("text", "severity", "code"),
    [
        (route(utterances="[a, b]"), "warning", "few-utterances"),
        (route(utterances="[a, b, c, d, A]"), "warning", "duplicate"),
        (route() + "- {name: other, models: [small], utterances: [a, f, g, h, i]}", "error", "ambiguous"),
        (route() + "negatives: [a]", "warning", "contradiction"),
        (route() + rule("when: {}, models: [small]"), "warning", "catch-all"),
        (
            route()
            + rule("when: {turns: {gt: 1}}, models: [small]")
            + "- {name: s, when: {turns: {gt: 2}}, tier: moderate}",
            "warning",
            "unreachable",
        ),
        (route() + "providers: {p: {dialect: echo, api_key: '${K}'}}", "warning", "unavailable"),
        (route() + "prices_as_of: 2020-01-01", "warning", "prices-as-of"),
        (route() + "policy: {difficulty: {by: learned}}", "warning", "no-effect"),
        (route() + "policy: {cascade: {on_judge_error: accept}}", "warning", "no-effect"),
        (
            route() + "policy: {select: best, difficulty: {by: learned, strong_share: 0.3}, learn: {}}",
            "warning",
            "no-effect",
        ),
        (route() + "policy: {learn: {}}", "warning", "no-effect"),
        (route() + "policy: {select: fastest, learn: {}}", "warning", "no-effect"),
        (route() + "policy: {min_quality: 0.9}", "warning", "empty-plan"),
        ("rules: []", "warning", "no-routes"),
    ],
)
def test_a_doubt_has_a_code_and_a_suggestion(write: Callable[..., Path], text: str, severity: str, code: str) -> None:
    _, problems = read(write(base=BASE, x=text), {})
    assert {(problem.severity, problem.code) for problem in problems} == {(severity, code)}
    assert all(problem.suggestion for problem in problems)


@pytest.mark.parametrize("policy", ["select: best", "select: balanced", "select: cheapest, min_quality: 0.1"])
def test_learning_has_an_effect_where_quality_counts(read_files: Read, policy: str) -> None:
    _, problems = read_files(x=f"{route()}policy: {{{policy}, learn: {{floor: 0.2, caution: 1}}}}")
    assert "no-effect" not in {problem.code for problem in problems}


@pytest.mark.parametrize(
    "setting",
    [
        *("explore_usd_per_day: -1", "explore_usd_per_day: .nan", "explore_usd_per_day: .inf", "half_life_days: 0"),
        *("prior_weight: .nan", "equal_within: 2", "caution: 0.5", "floor: low"),
    ],
)
def test_what_learning_cannot_work_with_is_an_error(read_files: Read, setting: str) -> None:
    [problem] = said(read_files(x=f"{route()}policy: {{select: best, learn: {{{setting}}}}}"))
    name, _, _ = setting.partition(": ")
    assert problem.startswith("error: x.yaml:5 ") and f".learn.{name}" in problem and "expected" in problem


UNPRICED = """
providers: {p: {dialect: openai, base_url: "http://p/v1"}}
models: {m: {provider: p, name: m%s}}
"""


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{input_price: 1, output_price: 1}", "got no condition, expected `above_tokens`, `service_tier`, `hours`"),
        ("{hours: '7:00-8:00', input_price: 1, output_price: 1}", 'got "7:00-8:00"'),
        ("{hours: '24:00-08:00', input_price: 1, output_price: 1}", 'got "24:00-08:00"'),
        ("{hours: '08:00-08:00', input_price: 1, output_price: 1}", "got 08:00-08:00, expected two different times"),
        ("{above_tokens: 0, input_price: 1, output_price: 1}", "got 0"),
        ("{above_tokens: 9, input_price: -1, output_price: 1}", "input_price: got -1, expected a price of at least 0"),
        ("{above_tokens: 9, output_price: 1}", "input_price"),
        (
            "{above_tokens: 9, input_price: 1, output_price: 1},"
            " {above_tokens: 10, service_tier: x, input_price: 1, output_price: 1}",
            "never holds, because special_prices[0] comes first and fits the same calls",
        ),
    ],
)
def test_special_prices_are_checked(read_files: Read, entry: str, message: str) -> None:
    priced = f"{{provider: local, name: m, input_price: 1, special_prices: [{entry}]}}"
    line = said(read_files(x=f"models: {{m: {priced}}}"))[0]
    assert message in line and "models.m.special_prices[" in line


@pytest.mark.parametrize(
    ("price", "count"),
    [
        ("", 1),
        (", input_price: 0", 0),
        (", output_price: 1", 0),
        (", prices: [{from: 2026-01-01, input: 1, output: 1}]", 0),
    ],
)
def test_a_model_without_a_price_is_a_warning(read_files: Read, price: str, count: int) -> None:
    expected = "warning: x.yaml:3 $.models.m: got no price: the model counts as free in budgets and comparisons"
    assert said(read_files(x=UNPRICED % price)) == [expected] * count


def test_a_long_utterance_is_cut_in_a_message(read_files: Read) -> None:
    long = "word " * 100
    (line,) = said(read_files(x=route(utterances=f"[a, b, c, {long}, {long}]")))
    assert len(line) < 200
    assert "…" in line


# --- rules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("", "got no target, expected one of `models`, `route`, `tier` or `only`"),
        (", models: [small], route: billing", "got both `models` and `route`, expected one of them"),
    ],
)
def test_a_rule_names_either_models_or_a_route(read_files: Read, target: str, told: str) -> None:
    (line,) = said(read_files(x=rule(f"when: {{metadata: {{a: b}}}}{target}") + route()))
    assert line == f"error: x.yaml:2 $.rules[0]: {told}"


def test_a_rule_without_conditions_is_a_warning(read_files: Read) -> None:
    assert said(read_files(x=rule("when: {}, models: [small]"))) == [
        "warning: x.yaml:2 $.rules[0].when: got no condition: this rule takes every request"
    ]


def test_a_comparison_without_bounds_is_an_error(read_files: Read) -> None:
    assert said(read_files(x=rule("when: {input_tokens: {}}, models: [small]"))) == [
        "error: x.yaml:2 $.rules[0].when.input_tokens: got no bound, expected one of `gt`, `gte`, `lt`, `lte`"
    ]


@pytest.mark.parametrize(
    "bounds",
    ["gt: 5, lt: 5", "gt: 5, lte: 5", "gte: 5, lt: 5", "gte: 6, lte: 5", "gt: 9, lt: 1", "gte: 1, gt: 5, lt: 3"],
)
def test_a_rule_that_never_holds_is_an_error(read_files: Read, bounds: str) -> None:
    assert said(read_files(x=rule(f"when: {{input_tokens: {{{bounds}}}}}, models: [small]"))) == [
        "error: x.yaml:2 $.rules[0].when.input_tokens: got bounds that no number can meet, expected a range"
    ]


@pytest.mark.parametrize("bounds", ["gt: 5", "lt: 5", "gte: 5, lte: 5", "gt: 5, lt: 6.5", "gte: 1, lt: 2", "gt: 0"])
def test_a_rule_that_can_hold_is_fine(read_files: Read, bounds: str) -> None:
    assert said(read_files(x=rule(f"when: {{input_tokens: {{{bounds}}}}}, models: [small]"))) == []


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("1e22", "got 1E+22, expected at most 1,000,000 USD per 1M tokens"),
        ("15000000000000000000000000", "got 15000000000000000000000000, expected at most 1,000,000 USD per 1M tokens"),
        ("0.000000000000000000000000000001", "expected at most 6 decimals"),
        ("0.1234567", "got 0.1234567, expected at most 6 decimals"),
        (f"0.{'1' * 60}", "expected at most 6 decimals"),
        ("1e-7", "expected at most 6 decimals"),
        ("-1e30", "expected a price of at least 0"),
        ("'NaN'", "expected a price of at least 0"),
        ("'1e999999'", "expected at most 1,000,000 USD"),
    ],
)
def test_a_number_at_the_edge_is_a_problem_at_its_place(read_files: Read, written: str, complaint: str) -> None:
    """Decimal arithmetic rounds to 28 digits, and fails beyond."""
    models = f"models: {{dear: {{provider: local, name: d, input_price: {written}}}}}"
    told = [str(problem) for problem in read_files(x=models)[1] if problem.severity == "error"]
    assert len(told) == 1
    assert "$.models.dear.input_price: " in told[0]
    assert complaint in told[0]


@pytest.mark.parametrize("written", ["1.100000000000000000000000000000", "1000000", "0", "1e2", "0.000001"])
def test_a_price_is_not_wrong_for_its_zeros(read_files: Read, written: str) -> None:
    assert not [
        p
        for p in read_files(x=f"models: {{dear: {{provider: local, name: d, input_price: {written}}}}}")[1]
        if p.severity == "error"
    ]


def test_a_budget_is_an_amount_that_can_be_counted(read_files: Read) -> None:
    told = [str(p) for p in read_files(x="budgets: [{name: all, usd: 1e22}]")[1] if p.severity == "error"]
    assert told == ["x.yaml:1 $.budgets[0].usd: got 1E+22, expected an amount from 0 to 9,000,000"]


BILLING = "routes: [{name: billing, models: [small], utterances: [one, two, three, four, five]}]"


@pytest.mark.parametrize(
    ("aliases", "expected"),
    [
        ("{gemini-3-pro*: auto}", None),
        ("{'*': auto, gpt: small, x: 'auto:billing', y: 'auto:difficulty-0.3'}", None),
        ("{gpt: smal}", 'got "smal", expected `auto`, `auto:<route>` or a model\'s id'),
        ("{gpt: 'auto:nowhere'}", 'got "auto:nowhere", expected `auto`'),
        ("{gpt: 'auto:difficulty-7'}", 'got "auto:difficulty-7", expected `auto`'),
        ("{gpt: other, other: auto}", 'got "other", expected `auto`'),
        ("{auto: small}", 'got "auto", expected another name'),
        ("{'auto:x': small}", 'got "auto:x", expected another name'),
        ("{small: large}", 'got "small", which is a model\'s id'),
        ("{' ': large}", "got a blank name"),
        ("{gpt: [small]}", "got a list, expected a string"),
    ],
)
def test_aliases_stand_for_what_there_is(read_files: Read, aliases: str, expected: str | None) -> None:
    problems = said(read_files(a=BILLING, b=f"aliases: {aliases}"))
    if expected is None:
        assert problems == []
    else:
        assert any("$.aliases" in problem and expected in problem for problem in problems), problems
