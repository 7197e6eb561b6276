"""Check whether an answer is good enough, by its text alone. Pure: an answer in, reasons out.

A caller can make a model say anything, so checks that may take long run in another process: see `check_processes`.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable, Iterator

import msgspec
from msgspec.structs import replace

from semroute.config.regular_expressions import contains_match
from semroute.config.schema.policies import Checks
from semroute.execution.code_fences import FENCE, blocks, unbalanced, unfenced
from semroute.execution.json_repair import json_in
from semroute.execution.json_schema_check import schema_error
from semroute.execution.uncertain_wording import hedges
from semroute.json_errors import UNREADABLE, why_unreadable
from semroute.messages import Completion, Text, ToolCall

_NOT = r"(?:can't|cannot|can not|won't|am unable|am not able|must decline|refuse|don't feel comfortable)"
REFUSALS = "|".join(
    (
        rf"(?i)^\W*(?:sorry|unfortunately|i apologi[sz]e)?,?\W*(?:but )?i {_NOT}\b",
        r"^\W*i'?m (?:very |really |so )?sorry\b.{0,40}\b(?:can't|cannot|unable|not able|won't)",
        r"^\W*as an ai\b.{0,80}\b(?:can't|cannot|unable|not able)",
        r"^\W*(?:es tut mir leid|je suis désolé|lo siento).{0,60}\b(?:nicht|kann|peux|puedo)\b",
    )
)
"""Patterns of the first words of an answer that declines."""
SHORT_CHARS = 4000
"""Characters. An answer of up to this length is checked at once, because no check then takes more than milliseconds."""
_PYTHON = frozenset({"python", "py", "python3"})
_PROSE = frozenset({"", "text", "txt", "markdown", "md", "console", "output", "diff", "sh", "bash", "shell"})


def failures(checks: Checks, answer: Completion) -> list[str]:
    """Return why an answer fails those checks that need no further call. Empty: it passes.

    Raises `SchemaFaultError` if `json_schema` is not a usable schema.
    """
    made = _CHECKS if answer.text.strip() or not _calls(answer) else _OF_ANY
    return [reason for check in made for reason in check(checks, answer)]


class RepairedJson(msgspec.Struct, frozen=True):
    """The JSON document in an answer, and why it fails the checks."""

    text: str
    reasons: list[str]
    schema_fault: str = ""
    """Why the checks' schema cannot be used, so that the answer is not checked. Empty: it was."""


def mended(checks: Checks, answer: Completion) -> RepairedJson:
    """Check the JSON document in an answer, as `failures` does. A code fence or further text may surround it."""
    text = json_in(answer.text)
    return RepairedJson(text, failures(checks, replace(answer, parts=(Text(text=text),))))


def takes_time(checks: Checks, answer: Completion) -> bool:
    """Return whether the checks could hold up an event loop. A long text can, and a schema that refers to itself."""
    if checks.json_schema is not None:
        return True
    weighty = checks.json or checks.code_parses or checks.no_hedging or checks.contains or checks.forbids
    return bool(weighty or checks.regex is not None) and sum(map(len, _texts(answer))) > SHORT_CHARS


def _texts(answer: Completion) -> Iterator[str]:
    return (part.text for part in answer.parts if isinstance(part, Text))


def wording(answer: Completion) -> str:
    """Return an answer in the form that a judge reads: its text, and the tools that it calls with their arguments."""
    return "\n".join([*filter(None, [answer.text]), *(f"{call.name} {call.arguments}" for call in _calls(answer))])


def _calls(answer: Completion) -> list[ToolCall]:
    return [part for part in answer.parts if isinstance(part, ToolCall)]


def _said_enough(checks: Checks, answer: Completion) -> Iterator[str]:
    text = answer.text.strip()
    if checks.non_empty and not text:
        yield "it is empty"
    if checks.min_chars is not None and len(text) < checks.min_chars:
        yield f"it has {len(text)} characters, expected at least {checks.min_chars}"


def _ended(checks: Checks, answer: Completion) -> Iterator[str]:
    if checks.finish_reasons and answer.finish_reason not in checks.finish_reasons:
        yield f"it ended with {answer.finish_reason}, expected {' or '.join(checks.finish_reasons)}"


def _willing(checks: Checks, answer: Completion) -> Iterator[str]:
    text = answer.text.strip().replace("\u2019", "'")
    if checks.no_refusal and (answer.finish_reason == "content_filter" or contains_match(REFUSALS, text[:400])):
        yield "it declines"
    if checks.no_hedging and hedges(text):
        yield "it says that it may be wrong"


def _form(checks: Checks, answer: Completion) -> Iterator[str]:
    if checks.json or checks.json_schema is not None:
        text = unfenced(answer.text)
        try:
            document = msgspec.json.decode(text)
        except UNREADABLE as error:
            yield f"it is not JSON: got {why_unreadable(error, text)}"
        else:
            if checks.json_schema is not None and (reason := schema_error(checks.json_schema, document)):
                yield reason
    if checks.code_parses and (reason := code_error(answer.text)):
        yield reason


def _wording(checks: Checks, answer: Completion) -> Iterator[str]:
    folded = answer.text.casefold()
    if checks.regex is not None and not contains_match(checks.regex, answer.text.strip()):
        yield "it does not match the regex"
    yield from (f"it lacks {text!r}" for text in checks.contains if text.casefold() not in folded)
    yield from (f"it holds {text!r}" for text in checks.forbids if text.casefold() in folded)


def mean_logprob(answer: Completion) -> float | None:
    """Return the mean log-probability of the tokens. None: the provider gave none."""
    if not answer.logprobs:
        return None
    return sum(token.logprob for token in answer.logprobs) / len(answer.logprobs)


def _likely(checks: Checks, answer: Completion) -> Iterator[str]:
    if checks.min_logprob is None:
        return
    if not answer.logprobs:
        yield "the provider gave no log-probabilities"
        return
    mean = mean_logprob(answer)
    if mean is not None and mean < checks.min_logprob:
        yield f"its mean log-probability is {mean:.2f}, expected at least {checks.min_logprob:g}"


_OF_ANY: tuple[Callable[[Checks, Completion], Iterator[str]], ...] = (_ended, _likely)
"""The checks that also apply to an answer which only calls tools, and so has no text yet."""
_CHECKS = (_said_enough, _willing, _form, _wording, *_OF_ANY)


def code_error(text: str) -> str | None:
    """Return what is wrong with the fenced code in a text. None: no fault was found, or there is no code."""
    for language, code in blocks(text):
        if language in _PYTHON:
            try:
                ast.parse(textwrap.dedent(code))
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                return f"its Python does not parse: {error}"
        elif language not in _PROSE and (reason := unbalanced(code)):
            return f"its {language} code is not balanced: {reason}"
    return "a code fence is not closed" if text.count(FENCE) % 2 else None
