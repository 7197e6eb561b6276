"""Turns that say nothing by themselves, and turns that change the subject."""

from __future__ import annotations

import pytest

from semroute.messages import ChatRequest, Message, Text
from semroute.routing.facts import MAX_BACK, Facts, read_facts
from semroute.routing.follow_ups import says_nothing

FOLLOW = (
    "yes|yes, do it|go on|why?|how did you get that|now in French|and for Python?|what about Spain?|"
    "shorter|2|the blue one|"
    "can you make it rhyme?|make it shorter|a bit more formal|no, funnier|looks good, commit it|"
    "that doesn't work|try again|"
    "as a table please|add comments|fix it|rename the variable|"
    "what if x is 5?|does it work with strings?|since monday|in Hebrew too"
)
CHANGE = (
    "write a poem about the sea|what is the capital of mongolia|how do vaccines work|I was charged twice this month|"
    "now write me a cover letter|ok thanks. what is the derivative of ln x?|tell me a joke|why is the sky blue|"
    "fix the null pointer exception in my java class|sql query for average order value|cancel my subscription please|"
    "and now a python script that sorts files|will it rain tomorrow|" + "yes, do it " * 20
)


def turns(*texts: str) -> ChatRequest:
    """A conversation of these user turns, with an answer behind each but the last."""
    messages = [message for text in texts for message in (said("user", text), said("assistant", "Here it is."))]
    return ChatRequest(id="r", messages=tuple(messages[:-1]))


def said(role: str, text: str) -> Message:
    return Message(role=role, parts=(Text(text=text),))  # type: ignore[arg-type]  # one of its roles


def facts(*texts: str) -> Facts:
    return read_facts(turns(*texts))


@pytest.mark.parametrize("turn", FOLLOW.split("|"))
def test_a_turn_that_says_nothing_is_read_with_the_ask_before_it(turn: str) -> None:
    assert says_nothing(turn)
    found = facts("write a short story about a lighthouse", turn)
    assert found.ask.before == "write a short story about a lighthouse"
    assert found.text == f"write a short story about a lighthouse\n{turn}"
    assert found.ask.matched[0].startswith("write a short story about a lighthouse")
    assert (found.last_turn, found.prompt) == (turn, turn)


@pytest.mark.parametrize("turn", CHANGE.split("|"))
def test_a_turn_with_a_subject_changes_the_topic(turn: str) -> None:
    assert not says_nothing(turn)
    assert facts("write a short story about a lighthouse", turn).text == turn.strip()


def test_what_adds_nothing_is_not_matched() -> None:
    assert facts("write a story", "yes, do it").ask.matched == ("write a story",)
    assert facts("write a story", "now in French").ask.matched == ("write a story now in French",)


def test_several_follow_ups_lead_back_to_one_ask() -> None:
    assert (
        facts("write a story about a fox", "longer", "and in German?", "yes").ask.before == "write a story about a fox"
    )
    assert facts("write a story about a fox", *["yes"] * (MAX_BACK + 1)).ask.before == ""
    assert facts("yes", "no").text == "no"


def test_an_ask_that_says_little_beside_its_material_is_followed_up_as_well() -> None:
    assert facts("fix this loop: for i in range(3) print(i)", "looks good, commit it").ask.before == "fix this loop:"
    assert facts("hi", "thanks", "yes").ask.before == ""


def test_the_ask_before_a_follow_up_is_that_of_a_turn_with_a_material() -> None:
    found = facts("Translate the text below into Greek.\n\n```\nplease cancel my order\n```", "and into Latin?")
    assert found.text == "Translate the text below into Greek.\nand into Latin?"


def test_the_last_turn_alone_and_the_whole_conversation_can_be_asked_for() -> None:
    asked = turns("write a story about a fox", "yes, do it")
    assert read_facts(asked, "last_user").text == "yes, do it"
    assert read_facts(asked, "conversation").text == "write a story about a fox\nyes, do it"


def test_what_a_client_adds_can_be_stripped() -> None:
    patterns = (r"(?s)^Today is .*?\.\n", "(?m)^Sent from my .*$")
    found = read_facts(turns("Today is Monday.\nwhere is my order\nSent from my telephone"), "auto", patterns)
    assert found.text == found.prompt == "where is my order"
    assert read_facts(turns("Sent from my telephone"), "auto", patterns).text == "Sent from my telephone"
