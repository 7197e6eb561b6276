"""Answers that are made to hold up a worker: what is looked at in a process is linear, and the rest has a limit."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from semroute.config.json_schemas import SchemaFaultError
from semroute.config.schema.policies import Callback, Checks, Judge
from semroute.execution import check_processes, code_fences
from semroute.execution.answer_quality import SHORT_CHARS, code_error, failures, takes_time
from semroute.execution.check_processes import AnswerChecker
from semroute.execution.json_repair import json_in
from semroute.execution.json_schema_check import schema_error
from semroute.messages import Completion, Text

UNIQUE = {"type": "array", "uniqueItems": True}


def answer(text: str) -> Completion:
    return Completion(parts=(Text(text=text),), finish_reason="stop", usage=None, model="m")


def cpu_s(work: Callable[[], object]) -> float:
    """Of this process, at its best: other processes do not count."""

    def once() -> float:
        begun = time.process_time()
        work()
        return time.process_time() - begun

    return min(once() for _ in range(5))


@pytest.mark.parametrize(
    "piece",
    [
        "```",
        "```a",
        "```a\n",
        "a```",
        '"\\',
        '\\"',
        '"',
        "'",
        "'\\",
        "/*",
        "//",
        "/",
        "*/ /*",
        '"\\\n',
        "(",
        "()",
        "\"a'",
    ],
)
@pytest.mark.parametrize(
    "look", [code_fences.unfenced, code_fences.blocks, code_fences.unbalanced, code_error, json_in]
)
def test_twice_the_text_is_at_most_about_twice_the_work(look: Callable[[str], object], piece: str) -> None:
    short, long = ("```js\n" + piece * count for count in (4_000, 16_000))
    # Of four times the text; were it squared, 16 times.
    assert cpu_s(lambda: look(long)) < 9 * max(cpu_s(lambda: look(short)), 0.0002)


@pytest.mark.parametrize(
    ("schema", "make"),
    [
        (UNIQUE, lambda n: [{"a": i} for i in range(n)]),
        (UNIQUE, lambda n: [[i] for i in range(n)]),
        (UNIQUE, lambda n: [i * (2**61 - 1) for i in range(n)]),
        ({"type": "string", "pattern": "^(a+)+$"}, lambda n: "a" * n + "!"),
        ({"patternProperties": {"^(a|a)*$": {}}}, lambda n: {"a" * n + "!": 1}),
        ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, lambda n: {"a" * n: 1}),
        ({"items": {"type": "string"}}, lambda n: [1] * n),
    ],
)
def test_a_schema_takes_time_that_grows_with_the_document(schema: dict[str, Any], make: Callable[[int], Any]) -> None:
    short, long = make(1_000), make(4_000)
    schema_error(schema, short)
    assert cpu_s(lambda: schema_error(schema, long)) < 9 * max(cpu_s(lambda: schema_error(schema, short)), 0.0002)


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([1, 2, "1", True, None, [1], {"a": 1}], True),
        ([1, 1.0], False),
        ([0, False], True),
        ([{"a": 1, "b": [2.0]}, {"b": [2], "a": 1.0}], False),
        ([[1, 2], [2, 1]], True),
        ([0.1, 0.1], False),
    ],
)
def test_items_are_unique_as_json_schema_has_it(items: list[Any], unique: bool) -> None:
    assert (schema_error(UNIQUE, items) is None) == unique


def test_additional_properties_are_those_that_nothing_names() -> None:
    schema = {"properties": {"a": {}}, "patternProperties": {"^x-": {}}, "additionalProperties": {"type": "integer"}}
    assert schema_error(schema, {"a": "", "x-b": "", "c": 1}) is None
    assert schema_error(schema, {"c": ""}) == "its JSON breaks the schema at $.c: '' is not of type 'integer'"
    closed = schema | {"additionalProperties": False}
    assert "additional properties are not allowed, got 'c'" in str(schema_error(closed, {"c": 1}))


def test_a_pattern_that_re2_does_not_know_still_holds() -> None:
    assert schema_error({"pattern": "^(?=a)"}, "a") is None
    assert "does not match" in str(schema_error({"pattern": "^(?=a)"}, "b"))


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"$ref": "#"}, "refers to itself without end"),
        ({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}, "refers to itself without end"),
        ({"$dynamicAnchor": "x", "allOf": [{"$dynamicRef": "#x"}]}, "refers to itself without end"),
        (
            {"$ref": "http://127.0.0.1:9/schema.json"},
            "got a reference that leads nowhere: http://127.0.0.1:9/schema.json",
        ),
        ({"$ref": "file:///etc/hostname"}, "got a reference that leads nowhere: file:///etc/hostname"),
    ],
)
def test_a_reference_ends(schema: dict[str, Any], said: str) -> None:
    with pytest.raises(SchemaFaultError, match=re.escape(said)):
        schema_error(schema, 1)


def test_a_deep_document_is_not_the_schemas_fault() -> None:
    deep: list[Any] = []
    for _ in range(2_000):
        deep = [deep]
    assert schema_error({"items": {"$ref": "#"}}, deep) == "its JSON is nested too deeply to be checked"


# --- the process ------------------------------------------------------------------------------------------------------


def doubling(depth: int) -> dict[str, Any]:
    """A schema whose references take twice as long with each step."""
    steps = {f"s{n}": {"anyOf": [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(depth)}
    return {"$ref": "#/$defs/s0", "$defs": {**steps, f"s{depth}": {"type": "null"}}}


async def test_a_check_without_end_is_ended_and_the_next_one_made() -> None:
    checker = AnswerChecker(limit_s=0.3)
    endless = Checks(json_schema=doubling(40))
    slow = [checker.failures(endless, answer("1")) for _ in range(2)]
    assert await asyncio.gather(*slow) == [["it takes over 0.3 s to check"]] * 2
    assert await checker.failures(Checks(json_schema={"type": "integer"}), answer("1")) == []
    await checker.aclose()


async def test_deep_code_ends_no_worker() -> None:
    checker = AnswerChecker()
    for opening in ("-", "not ", "(", "[", "{1:", "lambda:", "f(", "x if y else ", "a=", "(yield ", "-(", "a:"):
        text = f"```python\n{opening * 50_000}\n```"
        assert len(await checker.failures(Checks(code_parses=True), answer(text))) == 1, opening
    await checker.aclose()


def test_the_systems_limit_of_memory_is_kept() -> None:
    """Few processes may raise it: in others, trying so would end the process."""
    script = """
import resource
from semroute.execution.check_processes import MEMORY_BYTES, limit_memory
for hard in (4 * MEMORY_BYTES, MEMORY_BYTES - 4096):
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    limit_memory()
    assert resource.getrlimit(resource.RLIMIT_AS) == (min(MEMORY_BYTES, hard), hard)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "text"},
        {"properties": {"a": None}},
        {"pattern": "("},
        {"multipleOf": 0},
        {"$schema": []},
        {"$ref": "#/enum/0", "enum": [5]},
        {"$ref": "#"},
        {"required": {1, 2}},
        {None: {}},
    ],
)
async def test_an_invalid_schema_is_told_and_ends_no_process(schema: dict[Any, Any]) -> None:
    checker = AnswerChecker()
    assert await checker.failures(Checks(json_schema={"maximum": 10**400}), answer("1")) == []
    process = checker._short._process
    with pytest.raises(SchemaFaultError, match=r"^\$|refers to"):
        await checker.failures(Checks(json_schema=schema), answer("{}"))
    with pytest.raises(SchemaFaultError):
        await checker.mended(Checks(json_schema=schema), answer("{}"))
    assert await checker.failures(Checks(json_schema={"type": "integer"}), answer("1")) == []
    assert checker._short._process is process
    await checker.aclose()


async def test_a_caller_who_leaves_leaves_the_process_in_order() -> None:
    checker = AnswerChecker()
    long = answer("x" * (SHORT_CHARS + 1))
    asked = asyncio.create_task(checker.failures(Checks(json=True), long))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert await checker.failures(Checks(forbids=("x",)), long) == ["it holds 'x'"]
    await checker.aclose()


async def test_who_waits_is_bounded() -> None:
    checker = AnswerChecker()
    asked = [checker.failures(Checks(json_schema={}), answer("1")) for _ in range(check_processes.MAX_WAITING + 2)]
    told = await asyncio.gather(*asked)
    assert (
        told[-2:]
        == [[f"it was not checked: {check_processes.MAX_WAITING} other answers are waiting to be checked"]] * 2
    )
    assert told[:-2] == [[]] * check_processes.MAX_WAITING
    await checker.aclose()


async def test_a_process_that_was_killed_is_replaced() -> None:
    checker, checks = AnswerChecker(), Checks(json_schema={"type": "integer"})
    assert await checker.failures(checks, answer("1")) == []
    process = checker._short._process
    assert process is not None
    process.kill()
    process.wait()
    assert len(await checker.failures(checks, answer("1"))) == 1
    assert await checker.failures(checks, answer("1")) == []
    await checker.aclose()


async def test_the_process_says_what_the_function_says() -> None:
    checker = AnswerChecker()
    filler = "lorem ipsum " * 400
    for text in (json.dumps({"a": filler}), filler, f"```python\n{filler}\n```", f"I'm not sure. {filler}"):
        checks = Checks(json=True, code_parses=True, no_hedging=True, contains=("ipsum",), regex="sure")
        graded = Checks(
            **{name: getattr(checks, name) for name in ("json", "regex")}, judge=Judge(model="j", rubric="r")
        )
        assert takes_time(checks, answer(text))
        assert await checker.failures(checks, answer(text)) == failures(checks, answer(text))
        assert await checker.failures(graded, answer(text)) == failures(graded, answer(text))
    called = Checks(callback=Callback(url="http://127.0.0.1:9/"), forbids=("ipsum",))
    assert await checker.failures(called, answer(filler)) == ["it holds 'ipsum'"]
    await checker.aclose()


def test_short_answers_start_no_process() -> None:
    assert not takes_time(Checks(json=True, code_parses=True), answer("x" * SHORT_CHARS))
    assert not takes_time(Checks(min_chars=1, no_refusal=True), answer("x" * 10**6))
    assert takes_time(Checks(json_schema={}), answer("1"))
