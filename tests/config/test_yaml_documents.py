from __future__ import annotations

import re
import time
from decimal import Decimal

import pytest

from tests.config.reading import ROUTE, Read, said, sound

# --- YAML -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "advice"),
    [
        ("a: b: c\n", 1, ""),
        ("routes: [", 1, ""),
        ("routes:\n\t- x\n", 2, " (a tab: YAML is indented with spaces)"),
        ("p:\n  a: {b: ${K}}\n", 2, ' (quote a variable within brackets: `"${NAME}"`)'),
        ("a: [b,\n  ${K:-c}]\n", 2, ' (quote a variable within brackets: `"${NAME}"`)'),
        ("a:\n- é\n- @bob, help\n", 3, " (quote a value that begins with '@')"),
        ("aliases:\n  *: auto\n", 2, " (quote a value that begins with '*')"),
        ('a: "x\u2028\x85y"\nb: [1\n2: {', 3, ""),
        (
            "a:\n- b\n- c\u2028d\ne: f\n",
            4,
            " (line 3 holds an invisible line break: U+2028, U+2029 or U+0085)",
        ),
        ("routes:\n  - name: 'x\n", 2, ""),
        ("routes:\n- *nobody\n", 2, ""),
        ("a: 1\n---\nb: 2\n", 2, ""),
        ("a: 1\nb: \x00\n", 2, ""),
    ],
)
def test_a_file_that_yaml_cannot_read_is_a_problem_with_its_line(
    read_files: Read, text: str, line: int, advice: str
) -> None:
    """What the library says in between is its own."""
    (problem,) = said(read_files(x=text))
    assert problem.startswith(f"x.yaml:{line} $: not valid YAML: ")
    assert problem.endswith(advice)


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: &a {<<: *a}\n"])
def test_an_alias_inside_of_what_it_names_is_a_problem(read_files: Read, text: str) -> None:
    assert said(read_files(x=text)) == ["x.yaml:1 $: not valid YAML: an alias is inside the value that it names"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        *[(opening * 100_000, 1) for opening in ("[", "- ", "? ", "{a: ", "[{? ", "!x [")],
        ("[\n" * 2_000, 50),
        ("a: b\nc: " + "[" * 51 + "]" * 51, 2),
        ("a: b\nc: " + "[" * 60 + "}", 2),
    ],
    ids=repr,
)
def test_a_file_that_is_nested_too_deeply_is_told_in_our_words(read_files: Read, text: str, line: int) -> None:
    (problem,) = said(read_files(x=text))
    assert re.fullmatch(r"x\.yaml:\d+ \$: not valid YAML: nested deeper than 50 levels", problem)
    assert problem.startswith(f"x.yaml:{line} ")


def test_a_mistake_below_brackets_that_are_not_deep_is_not_called_deep(read_files: Read) -> None:
    (problem,) = said(read_files(x="a: [" + "[], " * 100 + "b\nc: ["))
    assert "nested" not in problem


def test_a_chain_of_aliases_cannot_nest_deeper_than_a_file_may(read_files: Read) -> None:
    links = [f"a{i}: &a{i} {'[' * 30}{f'*a{i - 1}' if i else 1}{']' * 30}" for i in range(40)]
    (line,) = said(read_files(x="\n".join(links)))
    assert "nested deeper than 50 levels" in line


@pytest.mark.parametrize(
    "bomb",
    [
        "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
        "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12)),
        "u: &u [" + "x," * 1000 + "]\nr: &r {utterances: *u}\nroutes: [" + "*r," * 1000 + "]\n",
    ],
)
def test_an_alias_bomb_is_defused(read_files: Read, bomb: str) -> None:
    start = time.process_time()
    (line,) = said(read_files(x=bomb))
    assert "aliases repeat more than 100000 values" in line
    assert time.process_time() - start < 5


def test_aliases_and_merge_keys_work(read_files: Read) -> None:
    config = sound(
        read_files(
            x="""
            routes:
              - &first
                name: first
                utterances: [a, b, c, d, e]
                models: &models [small, large]
                policy: &policy {expected_output_tokens: 10, timeouts: &slow {total_s: 9}}
              - <<: *first
                name: second
                utterances: [f, g, h, i, j]
              - name: third
                utterances: [k, l, m, n, o]
                models: *models
                policy: {<<: [{expected_output_tokens: 20}, *policy], timeouts: *slow}
            """
        )
    )
    first, second, third = config.routes.values()
    assert second.models == third.models == first.models
    assert second.policy == first.policy
    assert third.policy is not None
    assert (third.policy.expected_output_tokens, third.policy.timeouts.total_s) == (20, 9.0)


def test_a_merge_of_something_else_is_a_problem(read_files: Read) -> None:
    assert said(read_files(x="abstain:\n  <<: 3\n")) == [
        'x.yaml:2 $.abstain["<<"]: expected a mapping, or a list of mappings'
    ]


def test_lines_are_those_of_the_file_whatever_yaml_takes_for_a_break(read_files: Read) -> None:
    text = 'negatives: ["a\u2028b\x85c\u2029d"]\r\nabstain:\r\n  threshold: 0.1\r\n  threshold: 0.2\r\n'
    assert said(read_files(x=text)) == ["x.yaml:4 $.abstain.threshold: key `threshold` given twice, first at line 3"]


def test_a_key_given_twice_in_one_mapping_is_a_problem(read_files: Read) -> None:
    assert said(read_files(x="abstain:\n  threshold: 0.1\n\n  threshold: 0.2\n")) == [
        "x.yaml:4 $.abstain.threshold: key `threshold` given twice, first at line 2"
    ]


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.getcwd []", "!!set {a}", "!mine x", "!!int x", "!!binary x"])
def test_tags_are_refused(read_files: Read, tag: str) -> None:
    (line,) = said(read_files(x=f"abstain:\n  threshold: {tag}\n"))
    assert line.startswith("x.yaml:2 $.abstain.threshold: got the tag `!")
    assert line.endswith("`, expected plain YAML")


@pytest.mark.parametrize(
    ("written", "got"),
    [
        ("yes", "true"),
        ("no", "false"),
        ("on", "true"),
        ("off", "false"),
        ("12", "12"),
        ("1.5", "1.5"),
        ("1:30", "90"),
        ("2026-01-31", "2026-01-31"),
        ("what: this", "a mapping"),
        ("[this]", "a list"),
        ("9" * 99, "a huge number"),
    ],
)
def test_an_utterance_that_yaml_takes_for_something_else_must_be_quoted(
    read_files: Read, written: str, got: str
) -> None:
    text = f"routes:\n- name: x\n  models: [small]\n  utterances:\n  - fine\n  - {written}\n"
    assert said(read_files(x=text)) == [f"x.yaml:6 $.routes[0].utterances[1]: got {got}, expected a string (quote it)"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("routes: [{name: 2026, models: [small], utterances: [a]}]", "$.routes[0].name: got 2026"),
        ("models: {yes: {provider: local, name: a}}", "$.models.yes: got the key true"),
        ("models: {4: {provider: local, name: a}}", '$.models["4"]: got the key 4'),
        ("models: {4o: {provider: local, name: 4.5}}", '$.models["4o"].name: got 4.5'),
    ],
)
def test_a_name_that_yaml_takes_for_something_else_must_be_quoted(read_files: Read, text: str, problem: str) -> None:
    assert said(read_files(x=text)) == [f"x.yaml:1 {problem}, expected a string (quote it)"]


def test_a_key_that_is_a_list_is_a_problem(read_files: Read) -> None:
    assert "x.yaml:1 $: got a list or a mapping as a key, expected a string" in said(read_files(x="? [a]\n: b\n"))


def test_equals_and_merge_signs_are_strings_in_a_list(read_files: Read) -> None:
    config = sound(read_files(x=ROUTE.replace("one, two", "=, <<")))
    assert config.routes["billing"].utterances[:2] == ("=", "<<")


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (".nan", "got .nan, expected a finite number"),
        ("-.inf", "got -.inf, expected a finite number"),
        ("2026-13-45", 'got "2026-13-45", expected a date that exists'),
        ("0x_", 'got "0x_", expected a number (quote it if you mean text)'),
    ],
)
def test_a_value_that_means_nothing_is_a_problem(read_files: Read, written: str, problem: str) -> None:
    (line,) = said(read_files(x=f"rules: [{{name: r, models: [small], when: {{input_tokens: {{gt: {written}}}}}}}]"))
    assert line.startswith(f"x.yaml:1 $.rules[0].when.input_tokens.gt: {problem}")


@pytest.mark.parametrize("price", ["0.15", "0.1", "1e-2", "3", "0.000001", '"0.07"'])
def test_a_price_is_taken_exactly_as_written(read_files: Read, price: str) -> None:
    config = sound(read_files(x=f"models: {{m: {{provider: local, name: m, input_price: {price}}}}}"))
    assert config.models["m"].input_price == Decimal(price.strip('"'))


# --- variables --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${NAME}", "gpt"),
        ("a-${NAME}-b", "a-gpt-b"),
        ("${NAME}${NAME}", "gptgpt"),
        ("${NAME:-other}", "gpt"),
        ("${MISSING:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("x${MISSING:-}", "x"),
        ("$${NAME}", "${NAME}"),
        ("$NAME {NAME} $", "$NAME {NAME} $"),
    ],
)
def test_variables_are_put_in(read_files: Read, written: str, value: str) -> None:
    text = f'models: {{m: {{provider: local, name: "{written}"}}}}'
    config = sound(read_files({"NAME": "gpt", "EMPTY": ""}, x=text))
    assert config.models["m"].name == value


def test_what_a_variable_holds_is_not_looked_through_for_others(read_files: Read) -> None:
    config = sound(read_files({"A": "${B}"}, x='models: {m: {provider: local, name: "${A}"}}'))
    assert config.models["m"].name == "${B}"


def test_an_unquoted_variable_may_hold_a_number(read_files: Read) -> None:
    assert sound(read_files({"T": "0.7"}, x="abstain:\n  threshold: ${T}\n")).abstain.threshold == 0.7


def test_a_quoted_variable_is_a_string(read_files: Read) -> None:
    config = sound(read_files({"N": "4"}, x='models: {m: {provider: local, name: "${N}"}}'))
    assert config.models["m"].name == "4"


def test_a_providers_variables_are_strings_even_unquoted(read_files: Read) -> None:
    config = sound(read_files({"K": "0123"}, x="providers:\n  p:\n    dialect: echo\n    api_key: ${K}\n"))
    assert config.providers["p"].api_key == "0123"


def test_utterances_and_descriptions_hold_no_variables(read_files: Read) -> None:
    text = ROUTE.replace("[one", '["echo ${HOME} in ${"') + '    description: "about ${HOME}"\n'
    route = sound(read_files({"HOME": "/root"}, x=text)).routes["billing"]
    assert route.utterances[0] == "echo ${HOME} in ${"
    assert route.description == "about ${HOME}"


def test_an_unset_variable_is_a_problem(read_files: Read) -> None:
    assert said(read_files({"N": ""}, x='models: {m: {provider: local, name: "${N}"}}')) == [
        "x.yaml:1 $.models.m.name: the environment variable `N` is not set, and `${N:-default}` gives no default"
    ]


@pytest.mark.parametrize("written", ["${", "${1}", "${A", "${A-b}", "${}", "a ${A:-{}}"])
def test_a_variable_written_wrong_is_a_problem(read_files: Read, written: str) -> None:
    (line,) = said(read_files({"A": "a"}, x=f"models: {{m: {{provider: local, name: '{written}'}}}}"))
    assert line == (
        f'x.yaml:1 $.models.m.name: got "{written}", '
        "expected `${NAME}` or `${NAME:-default}` (`$${` stands for a plain `${`)"
    )


def test_an_unset_variable_of_a_provider_is_noted_and_leaves_the_value_empty(read_files: Read) -> None:
    text = """
        providers:
          p:
            dialect: openai
            base_url: "https://${HOST}/v1"
            api_key: "${KEY}"
            headers: {x-org: "${ORG:-acme}", authorization: "Bearer ${KEY}"}
        """
    config, problems = read_files(x=text)
    assert config is not None
    assert {problem.severity for problem in problems} == {"warning"}
    provider = config.providers["p"]
    assert provider.missing_variables == ("HOST", "KEY")
    assert provider.base_url == ""
    assert provider.api_key is None
    assert provider.headers == {"x-org": "acme", "authorization": ""}


def test_an_optional_key_may_be_empty(read_files: Read) -> None:
    provider = sound(read_files(x='providers: {p: {dialect: echo, api_key: "${KEY:-}"}}')).providers["p"]
    assert provider.api_key is None
    assert provider.missing_variables == ()


@pytest.mark.parametrize("text", ['providers: {p: {dialect: "${D}"}}', "providers: '${D}'", "providers: {p: '${D}'}"])
def test_an_unset_variable_in_place_of_a_provider_or_its_dialect_is_a_problem(read_files: Read, text: str) -> None:
    (line,) = said(read_files(x=text))
    assert "the environment variable `D` is not set" in line
