"""Answers that hedge, and prompts that are not simple: on texts that the lists were not widened by."""

from __future__ import annotations

import pytest

from bench.wording import SETS, hedges, is_not_simple, scores


@pytest.mark.parametrize(
    ("name", "precision", "recall"),
    [("answers that hedge", 0.95, 0.9), ("prompts that are not simple", 0.95, 0.7)],
)
def test_most_are_told_and_few_are_told_wrongly(name: str, precision: float, recall: float) -> None:
    rows, told = SETS[name]
    assert len(rows) == 2 * sum(row.wanted for row in rows) == 200
    found = scores([row for row in rows if row.half == "report"], told)
    assert (found.precision >= precision, found.recall >= recall) == (True, True), found


@pytest.mark.parametrize(
    "text",
    [
        "I am not certain about that.",
        "I\u2019m really not sure.",
        "I cannot be 100% sure.",
        "We can't be certain of that.",
        "That I can't say.",
        "I remain uncertain about this.",
        "I'd need to double-check, but probably Paris.",
        "Paris. Hard to say without more context.",
    ],
)
def test_an_answer_that_may_be_wrong_hedges(text: str) -> None:
    assert hedges(text)


@pytest.mark.parametrize(
    "text",
    [
        "I can't find any errors in your code.",
        'The line is "I do not know what it is".',
        "I know that you're not sure.",
        "I would say yes, but only if you pay.",
        "The report does not include VAT.",
    ],
)
def test_an_answer_that_only_speaks_of_doubts_does_not(text: str) -> None:
    assert not hedges(text)


@pytest.mark.parametrize("text", ["Prove Fermat's last theorem.", "please refactor this class", "and then debug it\n"])
def test_a_task_is_not_simple_wherever_it_begins(text: str) -> None:
    assert is_not_simple(f"{text} ")


@pytest.mark.parametrize(
    "text", ["Who proved Fermat's last theorem?", "Reason: wrong size", "Is the design nice?", "why, oh why"]
)
def test_a_word_of_a_task_alone_is_simple(text: str) -> None:
    assert not is_not_simple(text)
