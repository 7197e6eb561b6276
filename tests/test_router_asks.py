"""A Router decides by what is asked: prompts with a material, conversations, several asks, batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from semroute import Router
from semroute.decision import Decision
from semroute.errors import RequestError
from semroute.messages import ChatRequest, Message, Text
from semroute.semantic.embedder import Features

MAIL = (
    "Hi team,\n\nour order should have been here last Thursday. Please cancel my order and send me a refund.\n\n"
    "Best regards,\nDana"
)
SNIPPET = "```python\ndef total(rows):\n    return sum(row.price for row in rows\n```"
STORY = {"role": "user", "content": "Write a short story about a lighthouse keeper."}
ANSWER = {"role": "assistant", "content": "Tom had kept the light for forty years."}
TOOL = [
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "it left Leeds"}]},
]


@pytest.fixture(scope="module")
def router() -> Router:
    return Router.load(Path(__file__).parent.parent / "routes")


@pytest.mark.parametrize(
    ("prompt", "route"),
    [
        (f"Translate the mail below into German.\n\n{MAIL}", "translation"),
        (f"{MAIL}\n\nGive me the gist of this in one sentence.", "summarization"),
        (f"Fix this\n\n{SNIPPET}", "coding"),
        ("Fix this\n\n> Their going to announce there results tommorow, and nobody have read them.", "rewriting"),
        (f"Why does this fail?\n\n{SNIPPET}", "coding"),
        (
            f"<system-reminder>\nRun the tests.\n</system-reminder>\nWrite a poem about snow.\n\n{MAIL * 900}",
            "creative-writing",
        ),
    ],
)
def test_the_ask_decides_and_not_the_material(router: Router, prompt: str, route: str) -> None:
    assert router.route(prompt).route == route


def test_a_long_material_is_not_embedded(router: Router) -> None:
    class Counting:
        """The router's embedder, which notes what it embeds."""

        def __init__(self) -> None:
            self.texts: list[str] = []

        def __getattr__(self, name: str) -> Any:
            return getattr(router.embedder, name)

        def featurize(self, texts: Sequence[str], *, passages: bool = False) -> Features:
            self.texts += texts
            return router.embedder.featurize(texts, passages=passages)

    embedder = Counting()
    counted = Router(router.config, embedder, router.trained)
    counted.route(f"Translate the text below into German.\n\n{MAIL * 1000}")
    assert embedder.texts == ["Translate into German"]


def test_a_conversation_may_have_the_form_of_either_api(router: Router) -> None:
    assert router.route([STORY]).route == "creative-writing"
    assert (
        router.route([STORY, ANSWER, {"role": "user", "content": "and a happier ending?"}]).route == "creative-writing"
    )
    blocks = [{"role": "user", "content": [{"type": "text", "text": "where is my order"}]}, *TOOL]
    assert router.route(blocks).route == "customer-support"
    assert router.route([STORY, ANSWER, {"role": "user", "content": "where is my order"}]).route == "customer-support"
    said = ChatRequest(id="mine", messages=(Message(role="user", parts=(Text(text="where is my order"),)),))
    assert (router.route(said).id, router.route(said).route) == ("mine", "customer-support")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (3, "got int, expected a prompt"),
        ([1], "got a list of int, expected a prompt"),
        ([], "got an empty list"),
        ([{"role": "poet", "content": "hi"}], r"\$\.messages\[0\]\.role: got \"poet\""),
        ([{"content": "hi"}], r"messages\[0\]"),
    ],
)
def test_what_cannot_be_read_is_said(router: Router, asked: Any, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        router.route(asked)


def test_many_are_decided_as_one_by_one(router: Router) -> None:
    asked: list[str | list[Mapping[str, Any]]] = [
        "where is my order",
        f"Translate the mail below into German.\n\n{MAIL}",
        [STORY],
        "",
        "1. Translate the text below into Greek.\n2. Write a poem about it.\n\n" + SNIPPET,
    ]
    many = router.route_many(asked)
    assert [_same(one) for one in many] == [_same(router.route(one)) for one in asked]
    assert len({one.id for one in many}) == len(asked)
    assert router.route_many([]) == []


def _same(decision: Decision) -> tuple[Any, ...]:
    return decision.route, decision.plan, round(decision.confidence, 2), decision.asks


def test_the_most_demanding_of_several_asks_decides(router: Router) -> None:
    decision = router.route(f"Translate the mail below into German. Then write a short poem about it.\n\n{MAIL}")
    assert decision.asks == ("translation", "creative-writing")
    quality = {
        name: router.config.models[router.config.routes[name].models[0]].quality or 0 for name in decision.asks if name
    }
    assert decision.route == max(quality, key=quality.__getitem__) == "creative-writing"
    assert "asks for several things (translation, creative-writing)" in decision.explanation
    assert router.route("Translate the mail below into German.\n\n" + MAIL).asks == ()


def test_an_ask_that_belongs_nowhere_does_not_decide_beside_one_that_does(router: Router) -> None:
    decision = router.route(f"Translate the mail below into German. Then show me the zqxv of the blorft.\n\n{MAIL}")
    assert decision.route == "translation"


def test_the_explanation_shows_what_counted(router: Router) -> None:
    long = MAIL * 500
    details = router.route(f"Translate the mail below into German.\n\n{long}\n\nThanks", explain=True).details
    assert details is not None
    (asked,) = [piece for piece in details.pieces if piece.asked]
    assert asked.text.strip() == "Translate the mail below into German."
    (material,) = [piece for piece in details.pieces if not piece.asked]
    assert "characters …" in material.text and len(material.text) < 500
    details = router.route([STORY, ANSWER, {"role": "user", "content": "longer"}], explain=True).details
    assert details is not None
    assert [(piece.text, piece.asked, piece.earlier) for piece in details.pieces] == [
        (STORY["content"], True, True),
        ("longer", True, False),
    ]
