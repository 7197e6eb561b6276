from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.reading import ROUTE, Read, said, sound

# --- form -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("abstain:\n  threshold: high\n", '2 $.abstain.threshold: got "high", expected a number from 0 to 1'),
        ("abstain:\n  threshold: 2\n", "2 $.abstain.threshold: got 2, expected a number from 0 to 1"),
        ("policy:\n  deadline_s:\n", "2 $.policy.deadline_s: got null, expected a number over 0"),
        ("abstain: 1\n",
         "1 $.abstain: got 1, expected a mapping with keys such as `threshold` and `target_false_abstain`"),
        ("routes: billing\n", '1 $.routes: got "billing", expected a list'),
        ("routes:\n", "1 $.routes: got null, expected a list"),
        ("models: []\n", "1 $.models: got an empty list, expected a mapping"),
        ("routes: [billing]\n",
         '1 $.routes[0]: got "billing", expected a mapping with keys such as `name` and `utterances`'),
        ("embedder: {max_tokens: 7}", "1 $.embedder.max_tokens: got 7, expected a whole number of at least 8"),
        ("embedder: {max_tokens: 8.5}", "1 $.embedder.max_tokens: got 8.5, expected a whole number of at least 8"),
        ("policy: {timeouts: {total_s: 0}}", "1 $.policy.timeouts.total_s: got 0, expected a number over 0"),
        ("prices_as_of: soon", '1 $.prices_as_of: got "soon", expected a date such as 2026-01-31'),
        ("rules: [{name: '', models: [small], when: {metadata: {a: b}}}]",
         '1 $.rules[0].name: got "", expected a string that is not empty'),
        ("rules: [{name: r, models: [small], when: {turns: [1]}}]",
         "1 $.rules[0].when.turns: got a list, expected a mapping with keys such as `gt` and `gte`"),
        ("models: {m: {provider: local, name: m, input_price: cheap}}",
         '1 $.models.m.input_price: got "cheap", expected a number'),
        ("models: {m: {provider: local, name: m, tier: smple}}",
         '1 $.models.m.tier: got "smple", expected one of "complex", "moderate", "simple", did you mean `simple`?'),
        ("models: {m: {provider: local}}", "1 $.models.m: `name` is missing, expected a string"),
        ("abstain: {treshold: 1}",
         "1 $.abstain.treshold: unknown key `treshold`, did you mean `threshold`? "
         "allowed: `target_false_abstain`, `threshold`"),
        ("abstain: {zzz: 1}", "1 $.abstain.zzz: unknown key `zzz`, allowed: `target_false_abstain`, `threshold`"),
        ("defaults: {}", "1 $.defaults: unknown key `defaults`, did you mean `default`? allowed: `abstain`, `adopted`, "
         "`alarms`, `aliases`, `baseline`, `budgets`, `classifier`, `cors`, `default`, `embedder`, `experiments`, "
         "`judge`, `log`, `models`, `more_utterances`, `negatives`, `policy`, `prices_as_of`, `providers`, `route_on`, "
         "`routes`, `rules`, `shadow`, `strip`, `swept`, `tiers`, `tuned`"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_shown_with_what_was_expected(read_files: Read, text: str, problem: str) -> None:
    assert said(read_files(x=text)) == [f"x.yaml:{problem}"]


def test_everything_wrong_is_reported_at_once(read_files: Read) -> None:
    text = """\
        routes:
          - name: billing
            threshold: high
            utterances: [yes, "", fine]
            models: []
            colour: red
          - utterances: [a, b, c, d, e]
        """
    other = """\
        routes:
          - name: other
            utterances: [f, g, h, i, j]
            models: [smal]
        """
    assert [f"{problem.file}:{problem.line} {problem.path}" for problem in read_files(x=text, y=other)[1]] == [
        "x.yaml:3 $.routes[0].threshold",
        "x.yaml:4 $.routes[0].utterances[0]",
        "x.yaml:4 $.routes[0].utterances[1]",
        "x.yaml:5 $.routes[0].models",
        "x.yaml:6 $.routes[0].colour",
        "x.yaml:7 $.routes[1]",
        "x.yaml:7 $.routes[1]",
        "y.yaml:4 $.routes[0].models[0]",
    ]


def test_what_refers_to_a_broken_entry_is_not_blamed(read_files: Read) -> None:
    text = "models: {m: {provider: local, name: 1}}\nrules: [{name: r, when: {metadata: {a: b}}, models: [m]}]"
    assert [problem.path for problem in read_files(x=text)[1]] == ["$.models.m.name"]


def test_what_refers_to_a_broken_section_is_not_blamed(read_files: Read) -> None:
    base = "providers: {p: {dialect: echo}}\nmodels: '${M}'\ndefault: {models: [m]}\nrules: [{name: r}]\n"
    assert [problem.path for problem in read_files(base=base)[1]] == ["$.models", "$.rules[0]"]


def test_what_an_unread_file_may_define_is_not_missed(read_files: Read) -> None:
    assert [problem.file for problem in read_files(base="models: [", x=ROUTE)[1]] == ["base.yaml"]


def test_the_secrets_of_a_provider_are_not_repeated(read_files: Read) -> None:
    result = read_files(x="providers: {p: {dialect: echo, api_key: 123456, headers: {x-key: 654321}}}")
    assert said(result) == [
        "x.yaml:1 $.providers.p.api_key: got a number, expected a string (quote it)",
        "x.yaml:1 $.providers.p.headers.x-key: got a number, expected a string (quote it)",
    ]


# --- merging ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path", "name"),
    [
        (ROUTE.strip(), "$.routes[0]", "billing"),
        ("models: {m: {provider: local, name: m}}", "$.models.m", "m"),
        ("providers: {p: {dialect: echo}}", "$.providers.p", "p"),
        ("rules: [{name: r, when: {metadata: {a: b}}, models: [small]}]", "$.rules[0]", "r"),
        ("embedder: {}", "$.embedder", "embedder"),
        ("abstain: {}", "$.abstain", "abstain"),
        ("policy: {}", "$.policy", "policy"),
        ("prices_as_of: 2026-05-01", "$.prices_as_of", "prices_as_of"),
    ],
)
def test_what_two_files_define_is_an_error_that_names_both(read_files: Read, text: str, path: str, name: str) -> None:
    line = 2 if "\n" in text else 1
    assert said(read_files(x=text, y="# elsewhere\n" + text)) == [
        f"y.yaml:{line + 1} {path}: `{name}` is defined twice, first at x.yaml:{line}"
    ]


def test_a_second_default_is_an_error(read_files: Read) -> None:
    assert said(read_files(x="default: {models: [small]}")) == [
        "x.yaml:1 $.default: `default` is defined twice, first at base.yaml:7"
    ]


def test_two_routes_of_one_file_may_not_share_a_name(read_files: Read) -> None:
    text = "rules:\n- {name: r, when: {metadata: {a: b}}, models: [small]}\n- {name: r}\n"
    assert said(read_files(x=text)) == ["x.yaml:3 $.rules[1]: `r` is defined twice, first at x.yaml:2"]


def test_sources_say_where_everything_stands(read_files: Read) -> None:
    config = sound(
        read_files(
            x="""
            routes:
              - name: billing
                models:
                  - small
                utterances:
                  - one
                  - two
                  - three
                  - four
                  - five
            """
        )
    )
    where = {key: (Path(source.file).name, source.line, source.path) for key, source in config.sources.items()}
    assert where["routes.billing"] == ("x.yaml", 3, "$.routes[0]")
    assert where["routes.billing.models"] == ("x.yaml", 4, "$.routes[0].models")
    assert where["routes.billing.utterances[3]"] == ("x.yaml", 10, "$.routes[0].utterances[3]")
    assert where["models.small.name"] == ("base.yaml", 5, "$.models.small.name")
    assert where["default"] == ("base.yaml", 7, "$.default")
    assert "routes" not in where
