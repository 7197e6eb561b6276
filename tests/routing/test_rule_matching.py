from __future__ import annotations

import time
from typing import Any, get_args

import msgspec
import pytest

from semroute.config.regular_expressions import compiled, contains_match, encodable
from semroute.config.schema.rules import Language, Only, When
from semroute.decision import Match, Signals
from semroute.errors import RequestError
from semroute.messages import ChatRequest, Image, JsonSchema, Message, Params, Text, Tool
from semroute.routing import language_guess
from semroute.routing.decide import choose_semantic, choose_static, decide
from semroute.routing.facts import Facts, read_facts
from semroute.routing.language_guess import guess_language, guess_script
from semroute.routing.lexical_cues import any_of, looks_like_code
from semroute.routing.rule_matching import exclusion_reason, holds, incomparable, narrowing_rules, targeting_rule
from tests.routing.build import LARGE, SMALL, config, facts, model, request, rule


def when(**written: Any) -> When:
    """Conditions as a route file has them."""
    return msgspec.convert(written, When)


def full() -> Facts:
    """A request with a bit of everything."""
    return read_facts(
        ChatRequest(
            id="r",
            messages=(
                Message(role="user", parts=(Text(text="earlier"),)),
                Message(role="assistant", parts=(Text(text="yes"),)),
                Message(role="user", parts=(Image(url="https://x/y.png"), Text(text="Refund ORDER-123 please"))),
            ),
            tools=(Tool(name="t"),),
            params=Params(max_tokens=500, json_output=True, json_schema=JsonSchema(document={})),
            metadata={"plan": "pro", "beta": True, "seats": 12, "retrieval_score": 0.9},
            headers={"x-team": "research"},
        )
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({}, True),
        ({"metadata": {"plan": "pro"}}, True),
        ({"metadata": {"plan": "free"}}, False),
        ({"metadata": {"plan": ["free", "pro"]}}, True),
        ({"metadata": {"plan": ["free"]}}, False),
        ({"metadata": {"seats": {"gte": 10, "lt": 13}}}, True),
        ({"metadata": {"seats": {"gt": 12}}}, False),
        ({"metadata": {"plan": {"gt": 1}}}, False),
        ({"metadata": {"beta": True}}, True),
        ({"metadata": {"beta": 1}}, False),
        ({"metadata": {"beta": {"gte": 0}}}, False),
        ({"metadata": {"seats": 12}}, True),
        ({"metadata": {"missing": "x"}}, False),
        ({"headers": {"X-Team": "research"}}, True),
        ({"headers": {"x-team": ["sales", "research"]}}, True),
        ({"headers": {"x-team": "sales"}}, False),
        ({"keywords": ["refund"]}, True),
        ({"keywords": ["fund"]}, False),
        ({"keywords": ["parcel", "invoice"]}, False),
        ({"keywords": ["order-123"]}, True),
        ({"regex": "ORDER-[0-9]+"}, True),
        ({"regex": "order-[0-9]+"}, False),
        ({"regex": "(?i)order-[0-9]+"}, True),
        ({"input_tokens": {"gt": 10}}, True),
        ({"input_tokens": {"lte": 10}}, False),
        ({"prompt_tokens": {"lt": 7}}, True),
        ({"prompt_tokens": {"gte": 7}}, False),
        ({"turns": {"gte": 2}}, True),
        ({"turns": {"gt": 2}}, False),
        ({"max_tokens": {"lte": 500}}, True),
        ({"max_tokens": {"gt": 500}}, False),
        ({"retrieval_score": {"gte": 0.85}}, True),
        ({"retrieval_score": {"lt": 0.85}}, False),
        ({"has": ["images", "tools", "json", "json_schema"]}, True),
        ({"has": ["code"]}, False),
        ({"language": ["en"]}, True),
        ({"language": ["de"]}, False),
        ({"script": ["latin"]}, True),
        ({"script": ["han", "kana"]}, False),
        ({"all": [{"turns": {"gte": 2}}, {"has": ["tools"]}]}, True),
        ({"all": [{"turns": {"gte": 2}}, {"has": ["code"]}]}, False),
        ({"any": [{"has": ["code"]}, {"has": ["tools"]}]}, True),
        ({"any": [{"has": ["code"]}, {"turns": {"gt": 5}}]}, False),
        ({"not": {"has": ["code"]}}, True),
        ({"not": {"has": ["tools"]}}, False),
    ],
    ids=str,
)
def test_a_condition(written: dict[str, Any], expected: bool) -> None:
    assert holds(when(**written), full()) is expected


@pytest.mark.parametrize("written", [{"max_tokens": {"gte": 0}}, {"retrieval_score": {"gte": 0}}], ids=str)
def test_what_was_not_given_keeps_no_bounds(written: dict[str, Any]) -> None:
    assert not holds(when(**written), facts())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *(("0.9", True), ("high", False), (True, False), ("1e999", True), ("nan", False)),
        *(([0.1, 0.9], True), (["high", "0.9"], True), ([0.1], False), ([], False), ([[0.9]], False)),
    ],
)
def test_a_number_of_the_metadata_may_be_a_text(value: object, expected: bool) -> None:
    for condition in ({"retrieval_score": {"gte": 0.5}}, {"metadata": {"retrieval_score": {"gte": 0.5}}}):
        assert holds(when(**condition), facts(metadata={"retrieval_score": value})) is expected


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        ("pro", ["free", "pro"], True),
        ("pro", ["free"], False),
        ("pro", [], False),
        (["pro", "team"], ["free", "team"], True),
        (["pro", "team"], ["free", 1], False),
        ({"gte": 3, "lt": 5}, [1, 4], True),
        ({"gte": 3, "lt": 5}, [2, 6], False),
        (True, [1, "true"], False),
        (1, [True, 1], True),
    ],
    ids=str,
)
def test_of_a_list_in_the_metadata_one_element_is_enough(wanted: object, value: object, expected: bool) -> None:
    assert holds(when(metadata={"x": wanted}), facts(metadata={"x": value})) is expected


BOUNDS, SCORE = {"metadata": {"x": {"gte": 3}}}, {"retrieval_score": {"gte": 0.85}}


@pytest.mark.parametrize(
    ("conditions", "metadata", "told"),
    [
        (SCORE, {"retrieval_score": "abc"}, 'rule r: metadata.retrieval_score: got "abc", expected a number'),
        (SCORE, {"retrieval_score": "nan"}, 'rule r: metadata.retrieval_score: got "nan", expected a number'),
        (SCORE, {"retrieval_score": ["a", "b"]}, "rule r: metadata.retrieval_score: got a list, expected a number"),
        (SCORE, {"retrieval_score": ["a", 0]}, None),
        (SCORE, {"retrieval_score": "0.9"}, None),
        (SCORE, {"retrieval_score": None}, None),
        (SCORE, {"retrieval_score": []}, None),
        (SCORE, {"else": "abc"}, None),
        (BOUNDS, {"x": True}, "rule r: metadata.x: got true, expected a number"),
        (BOUNDS, {"x": {"y": 1}}, "rule r: metadata.x: got a mapping, expected a number"),
        ({"not": BOUNDS}, {"x": "abc"}, 'rule r: metadata.x: got "abc", expected a number'),
        ({"any": [{"all": [BOUNDS]}]}, {"x": "abc"}, 'rule r: metadata.x: got "abc", expected a number'),
        ({"metadata": {"x": "pro"}}, {"x": {"name": "pro"}}, "rule r: metadata.x: got a mapping, expected a text"),
        ({"metadata": {"x": [1, True]}}, {"x": "1"}, 'rule r: metadata.x: got "1", expected a number or true or false'),
        ({"metadata": {"x": "pro"}}, {"x": "free"}, None),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_told_in_the_decision(
    conditions: dict[str, Any], metadata: dict[str, Any], told: str | None
) -> None:
    configured = config(SMALL, rules=(rule(when=when(**conditions), models=("small",)),))
    asked = request(metadata=metadata)
    seen = read_facts(asked)
    choice = choose_static(configured, asked, seen) or choose_semantic(configured, Match(), seen)
    decision = decide(configured, asked, seen, choice, Signals())
    assert decision.not_compared == (() if told is None else (told,))


def test_what_cannot_be_compared_is_told_of_ten_rules_at_most() -> None:
    rules = [rule(f"r{number}", when(**SCORE), models=("small",)) for number in range(99)]
    assert len(incomparable(rules, {"retrieval_score": "abc"})) == 10


def test_the_first_target_by_priority_wins_and_every_narrowing_applies() -> None:
    first = rule("first", models=("small",), priority=1)
    second = rule("second", route="x", only=Only(regions=("eu",)))
    third = rule("third", only=Only(tiers=("complex",)))
    never = rule("never", when(turns={"gt": 99}), only=Only(tiers=("simple",)))
    rules = (never, third, first, second)
    assert targeting_rule(rules, facts()) == first
    assert narrowing_rules(rules, facts()) == (third, second)
    assert (targeting_rule((never, third), facts()), narrowing_rules((never,), facts())) == (None, ())


@pytest.mark.parametrize(
    ("only", "reason"),
    [
        (Only(models=("large",)), "rule r allows only models large"),
        (Only(providers=("q",)), "rule r allows only providers q"),
        (Only(regions=("eu", "ch")), "rule r allows only regions eu, ch"),
        (Only(features=("vision",)), "rule r allows only models with vision"),
        (Only(tiers=("complex",)), "rule r allows only tiers complex"),
        (Only(models=("small",), providers=("p",), features=("tools",), tiers=("simple",)), None),
        (None, None),
    ],
)
def test_narrowing_says_what_it_allows(only: Only | None, reason: str | None) -> None:
    assert exclusion_reason(SMALL, rule(only=only)) == reason


def test_narrowing_to_a_model_keeps_its_deployments_and_narrowing_by_region_looks_at_each() -> None:
    deployment = model("large@eu", group="large", regions=("eu",))
    assert exclusion_reason(deployment, rule(only=Only(models=("large",), regions=("eu",)))) is None
    assert exclusion_reason(LARGE, rule(only=Only(regions=("eu",)))) is not None


# --- text -------------------------------------------------------------------------------------------------------------


def test_a_catastrophic_pattern_takes_linear_time() -> None:
    started = time.process_time()
    assert not contains_match(r"(a+)+$", "a" * 20_000 + "b")
    assert time.process_time() - started < 5  # a backtracking engine would need longer than the universe has had


@pytest.mark.parametrize("pattern", ["(", "(?=x)", r"\1", "(?:x{1000}){1000}"])
def test_what_re2_does_not_know_is_a_value_error(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        compiled(pattern)


def test_lone_surrogates_do_no_harm() -> None:
    assert contains_match("x", "\ud800x")
    assert encodable("\ud800x") == "?x"


@pytest.mark.parametrize(
    ("word", "text", "expected"),
    [
        ("refund", "REFUND!", True),
        ("refund", "refunds", False),
        ("größe", "Die Größe.", True),
        ("größe", "Größenwahn", False),
        ("退款", "我要退款吗", True),
        ("c++", "in C++ please", True),
        ("a.b", "axb", False),
        ("can't", "I CAN\u2019T log in", True),
        ("can\u2019t", "I can't log in", True),
        ("can't", "I cant log in", False),
    ],
)
def test_a_keyword_is_a_whole_word(word: str, text: str, expected: bool) -> None:
    assert contains_match(any_of((word,)), text) is expected


@pytest.mark.parametrize(
    ("text", "code", "script"),
    [
        ("where is my invoice and how do I pay it", "en", "latin"),
        ("wie kann ich meine Rechnung bezahlen und wann", "de", "latin"),
        ("comment est-ce que je peux payer ma facture", "fr", "latin"),
        ("¿cómo puedo pagar mi factura y dónde está?", "es", "latin"),
        ("come posso pagare la mia fattura, è possibile?", "it", "latin"),
        ("где мой заказ", "ru", "cyrillic"),
        ("де моє замовлення, його ще немає", "uk", "cyrillic"),
        ("我的订单在哪里", "zh", "han"),
        ("注文はどこですか", "ja", "kana"),
        ("주문이 어디에 있나요", "ko", "hangul"),
        ("أين طلبي", "ar", "arabic"),
        ("ༀབོད", None, "other"),
        ("12345 !!", None, None),
        ("12345 …", None, None),
        ("zzz qqq", None, "latin"),
        ("I had a rough day", "en", "latin"),
        ("congratulate a colleague on her promotion", "en", "latin"),
        ("idę do domu i śpię, bo jestem chory", "pl", "latin"),
        ("comprar um bilhete para a festa", "pt", "latin"),
    ],
)
def test_languages_and_scripts(text: str, code: str | None, script: str | None) -> None:
    assert (guess_language(text), guess_script(text)) == (code, script)


def test_every_language_that_a_rule_may_name_is_told_and_no_other() -> None:
    by_letters = {"ru", "uk"}
    assert {*get_args(Language)} == {*language_guess._WORDS, *language_guess._BY_SCRIPT.values(), *by_letters}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("def add(a, b):\n    return a + b", True),
        ("why? ```js\nx\n```", True),
        ("KeyError: 'id'", True),
        ("SELECT name FROM users", True),
        ("class Stack:\n    pass", True),
        ("class Stack extends Base {", True),
        ("from os import path", True),
        ("import numpy as np", True),
        ("import os\nprint(os.name)", True),
        ("package main", True),
        ("public static void main(String[] args) {", True),
        ("package arrived damaged", False),
        ("from Monday on I cannot log in", False),
        ("import duties (from China), please", False),
        ("class notes: what did I miss?", False),
        ("private lessons (near me) and what they cost", False),
        ("public transport is late again", False),
        ("static electricity; how does it come about?", False),
        ("please select a gift from your shop", False),
        ("what shall we have for dinner?", False),
    ],
)
def test_code_is_seen(text: str, code: bool) -> None:
    assert looks_like_code(text) is code
    assert ("code" in facts(text).traits) is code


# --- facts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "dial"),
    [
        ({}, None),
        ({"cost_quality": 0.2, "metadata": {"cost_quality": 0.9}}, 0.2),
        ({"metadata": {"cost_quality": "0.9"}, "headers": {"x-semroute-cost-quality": "0.1"}}, 0.9),
        ({"headers": {"x-semroute-cost-quality": "0.1"}}, 0.1),
        ({"metadata": {"cost_quality": None}, "headers": {"x-semroute-cost-quality": "1"}}, 1.0),
    ],
)
def test_the_dial_comes_from_body_metadata_or_header(fields: dict[str, Any], dial: float | None) -> None:
    assert facts(**fields).cost_quality == dial


@pytest.mark.parametrize("value", [7, -0.1, "nan", "high", True, [0.5]])
def test_a_dial_that_is_none_is_told_by_its_place(value: object) -> None:
    with pytest.raises(RequestError, match=r"metadata\.cost_quality: got .*, expected a number from 0 to 1"):
        facts(metadata={"cost_quality": value}, headers={"x-semroute-cost-quality": "1"})


def test_without_user_text_there_is_nothing_to_match() -> None:
    assert read_facts(request("")).text == ""
    assert read_facts(request("   ")).text == ""


KEYWORDS = {
    # Beside scripts that put no spaces between words. Korean puts none before particles.
    ("python", "用python写一个函数"): True,
    ("Python", "このPythonコードを直して"): True,
    ("SQL", "请把这个SQL查询改快"): True,
    ("SQL", "SQL을 빠르게"): True,
    ("SQL", "ช่วยแก้SQLนี้"): True,
    ("SQL", "SQLーを"): True,
    ("python", "a pythonic style"): False,
    ("SQL", "NoSQL databases"): False,
    ("SQL", "ПSQL"): False,
    # In such scripts themselves; a mark of tone or voice makes another word.
    ("账单", "我想看我的账单详情"): True,
    ("บิล", "ฉันอยากดูบิลของฉัน"): True,
    ("ที", "ที่นี่"): False,
    ("청구서", "청구서를 보여줘"): True,
    # Marks belong to the letter before them.
    ("बिल", "मेरा बिल गलत है"): True,
    ("बिल", "मेरी बिल्ली बीमार है"): False,
    ("कर", "कृपया इसे ठीक करें"): False,
    ("கல்", "எங்கள் கல்லூரி எங்கே"): False,
    ("की", "राम की किताब"): True,  # ends in a mark
    # Accents may be characters of their own.
    ("café", "a cafe\u0301 in Rome"): True,
    ("cafe\u0301", "a café in Rome"): True,
    ("cafe", "a cafe\u0301 in Rome"): False,
    # White space of any kind stands between the words of a phrase.
    ("credit card", "my credit\ncard"): True,
    ("credit card", "my credit \u00a0 card"): True,
    ("credit  card", "Credit Card"): True,
    ("credit card", "credit\u3000card"): True,
    ("credit card", "creditcard"): False,
    ("信用 卡", "信用\u3000卡"): True,
    (" python ", "in Python?"): True,
    (" ", "a b"): True,
}


@pytest.mark.parametrize(("keyword", "text"), KEYWORDS)
def test_a_keyword_is_a_whole_word_in_any_script(keyword: str, text: str) -> None:
    assert holds(when(keywords=[keyword]), facts(text=text)) is KEYWORDS[keyword, text]


PASTED = "Translate the mail below into Greek.\n\n```\nplease refund ORDER-77 now, def f(): return 1;\n```"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"keywords": ["translate"]}, True),
        ({"keywords": ["refund"]}, False),
        ({"regex": "ORDER-[0-9]+"}, False),
        ({"keywords": ["refund"], "look_at": "prompt"}, True),
        ({"regex": "ORDER-[0-9]+", "look_at": "prompt"}, True),
        ({"keywords": ["chargeback"], "look_at": "prompt"}, False),
        ({"any": [{"regex": "ORDER-[0-9]+", "look_at": "prompt"}, {"keywords": ["never"]}]}, True),
        ({"all": [{"regex": "ORDER-[0-9]+"}, {"keywords": ["refund"], "look_at": "prompt"}]}, False),
        ({"has": ["code"]}, True),
        ({"prompt_tokens": {"gt": 20}}, True),
        ({"language": ["en"]}, True),
    ],
    ids=str,
)
def test_words_are_looked_for_in_the_ask_unless_a_rule_wants_the_prompt(
    written: dict[str, Any], expected: bool
) -> None:
    assert holds(when(**written), facts(PASTED)) is expected
