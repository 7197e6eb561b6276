"""Embeddings of one vendor for callers of the other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from semroute.dialects.gemini.embeddings import GeminiEmbeddings, vectors_of
from semroute.dialects.openai.embeddings import Embeddings
from semroute.errors import BadAnswerError, RequestError, UnsupportedError
from semroute.messages import EMBEDDINGS, ChatRequest, Completion
from tests.dialects.test_round_trips import PROVIDERS, RECORD, model_of

TEXT = {"parts": [{"text": "a"}, {"text": "b"}]}
PICTURE = {"parts": [{"inline_data": {"mime_type": "image/png", "data": "aGk="}}]}


def single(**fields: Any) -> ChatRequest:
    return GeminiEmbeddings().parse_request({"model": "m", "content": TEXT, **fields}, "1")


def batch(*requests: Any) -> ChatRequest:
    return GeminiEmbeddings(batch=True).parse_request({"model": "m", "requests": list(requests)}, "1")


def sent(receiver: str, request: ChatRequest) -> Any:
    wire = PROVIDERS[receiver].render_request(request, model_of(receiver))
    assert wire.endpoint == request.endpoint == EMBEDDINGS
    return json.loads(wire.body), wire.dropped


def test_geminis_settings_are_read_in_both_places_and_cases() -> None:
    for said in (
        {"outputDimensionality": 3, "taskType": "CLUSTERING"},
        {"output_dimensionality": 3, "task_type": "CLUSTERING"},
        {"embedContentConfig": {"outputDimensionality": 3, "taskType": "CLUSTERING"}},
        {"embed_content_config": {"output_dimensionality": 3, "task_type": "CLUSTERING"}},
    ):
        request = single(**said)
        body, dropped = sent("gemini", request)
        meant = {"content": TEXT, "outputDimensionality": 3, "taskType": "CLUSTERING"}
        assert (body, dropped) == ({"requests": [{"model": "models/gemini-2.5-flash", **meant}]}, ())
        body, dropped = sent("openai", request)
        assert body == {"input": ["a\nb"], "dimensions": 3, "encoding_format": "float", "model": "gpt-x"}
        assert dropped == ("taskType",)


def test_openais_texts_are_a_batch_of_geminis() -> None:
    raw = {"model": "m", "input": ["x", "y"], "dimensions": 2, "user": "u", "encoding_format": "base64"}
    body, dropped = sent("gemini", Embeddings().parse_request(raw, "1"))
    texts = [{"parts": [{"text": text}]} for text in "xy"]
    assert [each["content"] for each in body["requests"]] == texts
    assert {each["outputDimensionality"] for each in body["requests"]} == {2}
    assert dropped == ("user",)
    assert sent("openai", Embeddings().parse_request(raw, "1"))[0] == {**raw, "model": "gpt-x"}


def test_what_the_other_vendor_does_not_take_is_told() -> None:
    for tokens in ([1, 2], [[1], [2]], ["a", [1]]):
        with pytest.raises(UnsupportedError, match="take text, not tokens"):
            sent("gemini", Embeddings().parse_request({"model": "m", "input": tokens}, "1"))
    with pytest.raises(UnsupportedError, match="take only text"):
        sent("openai", batch({"content": TEXT}, {"content": PICTURE}))
    with pytest.raises(UnsupportedError, match="one size"):
        sent("openai", batch({"content": TEXT, "outputDimensionality": 3}, {"content": TEXT}))
    for receiver in ("anthropic", "bedrock", "responses"):
        with pytest.raises(UnsupportedError, match="has no embeddings"):
            sent(receiver, single())


@pytest.mark.parametrize(
    ("dialect", "body", "param"),
    [
        (GeminiEmbeddings(), {"model": "auto", "content": TEXT}, "model"),
        (GeminiEmbeddings(), {"model": "auto:law", "content": TEXT}, "model"),
        (GeminiEmbeddings(), {"model": "m"}, "content"),
        (GeminiEmbeddings(), {"model": "m", "content": {"parts": []}}, "content"),
        (GeminiEmbeddings(), {"model": "m", "content": {"parts": "x"}}, "content"),
        (GeminiEmbeddings(), {"model": "m", "content": {"parts": [1]}}, "content.parts[0]"),
        (GeminiEmbeddings(batch=True), {"model": "m"}, "requests"),
        (GeminiEmbeddings(batch=True), {"model": "m", "requests": []}, "requests"),
        (GeminiEmbeddings(batch=True), {"model": "m", "requests": [1]}, "requests[0]"),
        (GeminiEmbeddings(batch=True), {"model": "m", "requests": [{}]}, "requests[0].content"),
    ],
)
def test_a_body_without_sense_is_refused_with_its_place(
    dialect: GeminiEmbeddings, body: dict[str, Any], param: str
) -> None:
    with pytest.raises(RequestError) as refused:
        dialect.parse_request(body, "1")
    assert refused.value.param == param


ANSWERS = {
    "openai": {"object": "list", "data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": "AACAPw=="}]},
    "gemini": {"embeddings": [{"values": [1.0]}, {"values": [2.0]}]},
}


@pytest.mark.parametrize("vendor", ANSWERS)
def test_the_vectors_come_in_the_callers_form_and_order(vendor: str) -> None:
    done = PROVIDERS[vendor].parse_completion(json.dumps(ANSWERS[vendor]).encode())
    assert vectors_of(done) == [[1.0], [2.0]]
    assert json.loads(GeminiEmbeddings(batch=True).render_completion(done, RECORD, single())) == ANSWERS["gemini"]
    assert json.loads(GeminiEmbeddings().render_completion(done, RECORD, single())) == {"embedding": {"values": [1.0]}}
    for encoding, first in (("float", [1.0]), ("base64", "AACAPw==")):
        request = Embeddings().parse_request({"model": "m", "input": "x", "encoding_format": encoding}, "1")
        body = json.loads(Embeddings().render_completion(done, RECORD, request))
        if vendor == "openai":
            assert body == ANSWERS["openai"]
        else:
            assert (body["object"], body["data"][0]["embedding"]) == ("list", first)
            assert [each["index"] for each in body["data"]] == [0, 1]


@pytest.mark.parametrize(
    ("dialect", "raw"),
    [
        ("gemini", b'{"embeddings": []}'), ("gemini", b'{"embeddings": [{}]}'), ("openai", b'{"data": []}'),
        ("openai", b'{"data": [{"embedding": null}]}'), ("openai", b'{"data": [{"embedding": "!"}]}'), ("openai", b""),
    ],
)  # fmt: skip
def test_an_answer_without_vectors_is_a_bad_one(dialect: str, raw: bytes) -> None:
    with pytest.raises(BadAnswerError):
        vectors_of(Completion(parts=(), finish_reason="stop", usage=None, model="m", dialect=dialect, raw=raw))
