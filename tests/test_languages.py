"""With the embedded model, prompts in other languages go to the default on the shipped routes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from semroute import Router
from semroute.messages import ChatRequest, Message, Text
from tests.conftest import ROOT
from tests.routing.test_english_check import FOREIGN

PROMPTS = {
    "German": "wie kann ich mein Passwort ändern",
    "French": "écris un poème sur la mer et les étoiles",
    "Spanish": "me duele la cabeza y tengo fiebre",
    "Italian": "perché il cielo è blu",
    "Dutch": "ik wil mijn geld terug",
    "Portuguese": "você pode revisar este código",
    "Polish": "dlaczego niebo jest niebieskie",
    "Turkish": "gökyüzü neden mavi",
    "Vietnamese": "làm thế nào để đổi mật khẩu",
    "Russian": "как мне сменить пароль",
    "Chinese": "用python写一个排序函数",
    "Japanese": "注文が届きません",
    "Arabic": "احك لي نكتة",
    "Hindi": "समुद्र पर एक कविता लिखो",
    "Swedish": "sortera listan efter pris",
    "Finnish": "laske keskiarvo",
    "Hungarian": "rendezd ár szerint a listát",
    "Indonesian": "urutkan daftar harga",
    "Swahili": "panga orodha kwa bei",
    "Tagalog": "paano ko maibabalik ang binili ko",
    "Catalan": "ordena la llista per preu",
}


@pytest.fixture(scope="module")
def router() -> Router:
    return Router.load(ROOT / "routes")


@pytest.mark.parametrize("language", PROMPTS)
def test_the_shipped_routes_abstain(router: Router, language: str) -> None:
    for prompt in (PROMPTS[language], *FOREIGN[language]):
        decision = router.route(prompt)
        assert (decision.route, decision.reason) == (None, "default"), prompt
        assert decision.candidates


def test_an_english_request_about_another_language_is_routed(router: Router) -> None:
    for prompt in (
        "translate 'Guten Appetit' to english please",
        "how do you say thank you in japanese",
        "translate: das ist nicht mein Hund",
        "translate 'où est la gare'",
    ):
        assert router.route(prompt).route == "translation", prompt


def test_the_last_turn_tells_the_language_of_a_conversation(router: Router) -> None:
    conversation = router.configured(msgspec.structs.replace(router.config, route_on="conversation"))
    turns = ("Guten Tag, ich habe da mal eine Frage an dich", "write a python function that sorts a list")
    messages = tuple(Message(role="user", parts=(Text(text=turn),)) for turn in turns)
    asked = conversation.route(ChatRequest(id="r", messages=messages))
    assert "not in English" not in asked.explanation
    assert "not in English" in conversation.route(ChatRequest(id="r", messages=messages[::-1])).explanation


def test_utterances_in_another_language_match_what_is_near_them(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(
        "providers: {here: {dialect: echo}}\nmodels: {m: {provider: here, name: m}}\ndefault: {models: [m]}\n"
        "routes:\n  - {name: geld, models: [m], utterances: [ich möchte mein Geld zurück, erstatten Sie den Betrag]}\n"
        "  - {name: wetter, models: [m], utterances: [wie wird das Wetter morgen, regnet es heute]}\n"
    )
    assert Router.load(tmp_path).route("ich möchte mein Geld bitte zurück").route == "geld"
