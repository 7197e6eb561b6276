"""What vendors say when they refuse, read in every dialect, whole and inside a stream. The bodies: `refusals.toml`."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from semroute.config.regular_expressions import compiled
from semroute.config.schema.resilience import FaultName
from semroute.dialects.anthropic.provider import AnthropicProviderDialect
from semroute.dialects.bedrock.provider import BedrockProviderDialect
from semroute.dialects.gemini.provider import GeminiProviderDialect
from semroute.dialects.openai.provider import OpenAIProviderDialect
from semroute.dialects.protocols import ProviderDialect
from semroute.dialects.responses.provider import ResponsesProviderDialect
from semroute.dialects.shared import error_bodies, refusals
from semroute.dialects.shared.error_bodies import answered_error
from semroute.dialects.shared.refusals import MEANINGS, REFUSALS, Name
from semroute.dialects.sse import Event
from semroute.errors import (
    BadAnswerError,
    ContextLengthError,
    ProviderError,
    ProviderModelError,
    ProviderRequestError,
    ProviderServerError,
)
from semroute.execution.faults import FAULTS, fault_of, name_of
from semroute.providers.bad_answers import classify_bad_answer

DIALECTS: dict[str, ProviderDialect] = {
    "openai": OpenAIProviderDialect(),
    "anthropic": AnthropicProviderDialect(),
    "gemini": GeminiProviderDialect(),
    "responses": ResponsesProviderDialect(),
    "bedrock": BedrockProviderDialect(),
}
FAULT_OF: dict[Name, FaultName] = {
    "account": "forbidden",
    "over_limit": "unsupported",
    "rate_limited": "rate_limited",
    "overloaded": "overloaded",
    "policy": "content_policy",
    "too_long": "context_length",
    "unsupported": "unsupported",
    "model": "unknown_model",
    "region": "forbidden",
    "key": "auth",
}


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One real answer."""

    vendor: str
    means: Name
    dialect: str = "openai"
    kind: str = ""
    """AWS tells the type of an error in a header."""
    status: int
    body: str
    wait_s: float | None = None
    source: str
    seen: date

    @property
    def headers(self) -> dict[str, str]:
        return {"x-amzn-errortype": self.kind} if self.kind else {}


class _Said(msgspec.Struct):
    said: list[Said]


SAID = msgspec.toml.decode(Path(__file__).with_name("refusals.toml").read_bytes(), type=_Said).said
every = pytest.mark.parametrize("said", SAID, ids=lambda said: f"{said.vendor}-{said.means}")


def raised(dialect: str, event: Event) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        DIALECTS[dialect].stream_parser().event(event)
    return caught.value


def events(said: Said) -> list[Event]:
    """How the vendor says the same inside a stream."""
    document = json.loads(said.body)
    document = document[0] if isinstance(document, list) else document
    data = json.dumps(document).encode()
    match said.dialect:
        case "anthropic":
            return [Event(name="error", data=data), Event(data=data)]
        case "bedrock":
            return [Event(name=said.kind[:1].lower() + said.kind[1:], data=data)]
        case "responses":
            failed = {"type": "response.failed", "response": {"status": "failed", "error": document["error"]}}
            told = {**document["error"], "type": "error"}
            return [Event(data=json.dumps(each).encode()) for each in (failed, told)]
        case _:
            return [Event(data=data)]


@every
def test_a_refusal_is_what_it_means(said: Said) -> None:
    error = DIALECTS[said.dialect].parse_error(said.status, said.headers, said.body.encode())
    assert (name_of(error), error.retry_after_s) == (FAULT_OF[said.means], said.wait_s)
    assert str(error).startswith(f"status {said.status}: ")
    assert error.body == said.body.encode()


@every
def test_a_refusal_inside_a_stream_is_the_same(said: Said) -> None:
    for event in events(said):
        error = raised(said.dialect, event)
        assert (name_of(error), error.retry_after_s) == (FAULT_OF[said.means], said.wait_s)


@every
def test_a_refusal_with_status_200_is_the_same(said: Said) -> None:
    with pytest.raises(ProviderError) as caught:
        DIALECTS[said.dialect].parse_completion(json.dumps(json.loads(said.body)).encode())
    name = name_of(classify_bad_answer(caught.value))
    assert name == FAULT_OF[said.means] or (name, said.means) == ("error_body", "overloaded")


@pytest.mark.parametrize("code", ["invalid_prompt", "failed_to_download_image", "server_error", "rate_limit_exceeded"])
def test_a_response_that_failed_fails_for_the_same_reason_as_its_stream(code: str) -> None:
    response = {
        "object": "response",
        "status": "failed",
        "output": [],
        "error": {"code": code, "message": "It failed."},
    }
    streamed = raised("responses", Event(data=json.dumps({"type": "response.failed", "response": response}).encode()))
    with pytest.raises(ProviderError) as caught:
        DIALECTS["responses"].parse_completion(json.dumps(response).encode())
    whole = classify_bad_answer(caught.value)
    assert fault_of(whole, {}).ours == fault_of(streamed, {}).ours
    assert fault_of(whole, {}).ours == (code == "server_error")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_reads_every_vendors_words(dialect: str) -> None:
    wrong = []
    for said in SAID:
        error = DIALECTS[dialect].parse_error(said.status, {}, said.body.encode())
        if name_of(error) != FAULT_OF[said.means]:
            wrong.append((said.vendor, said.means, name_of(error)))
    assert wrong == []


@pytest.mark.parametrize("shape", ["quoted", "detail", "string", "list", "nested"])
def test_a_vendor_behind_another_is_heard(shape: str) -> None:
    wrong = []
    for said in SAID:
        inner, status = json.loads(said.body), said.status
        body: Any = {
            "quoted": {
                "error": {
                    "message": "Provider returned error",
                    "code": status,
                    "metadata": {"raw": said.body, "provider_name": "Vendor"},
                }
            },
            "detail": {"detail": inner},
            "string": {"error": said.body},
            "list": [inner],
            "nested": {"message": "Upstream failed", "error": {"error": inner}},
        }[shape]
        error = DIALECTS["openai"].parse_error(status, {}, json.dumps(body).encode())
        if name_of(error) != FAULT_OF[said.means]:
            wrong.append((said.vendor, said.means, name_of(error)))
    assert wrong == []


def test_what_a_vendor_behind_another_says_is_told() -> None:
    raw = json.dumps({"error": {"message": "Your account is empty"}})
    body = {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": raw}}}
    error = DIALECTS["openai"].parse_error(400, {}, json.dumps(body).encode())
    assert str(error) == "status 400: Provider returned error: Your account is empty"


@pytest.mark.parametrize("row", REFUSALS, ids=lambda row: f"{row.vendor}-{row.means}")
def test_every_row_of_the_table_is_what_somebody_was_told(row: refusals.RefusalWording) -> None:
    told = []
    for said in SAID:
        failure = error_bodies.read_failure(said.body.encode())
        codes = {code.lower() for code in (*failure.codes, said.kind)}
        text = refusals._plain("\n".join((*codes, *failure.texts)))
        pattern = compiled("(?ms)" + "|".join(row.words)) if row.words else None
        if said.means == row.means and (codes & set(row.codes) or (pattern is not None and pattern.search(text))):
            told.append(said)
    assert told


def test_the_meanings_are_all_there() -> None:
    assert set(MEANINGS) == set(FAULT_OF) == {said.means for said in SAID}
    assert all(name in FAULTS for name in FAULT_OF.values())


@pytest.mark.parametrize(
    "text",
    [
        "The model output was not found in the given choices",
        "The model was given a tool call whose id was not found",
        "Invalid model output: the JSON does not parse",
        "The model gpt-5 was asked for a file that does not exist",
        "The model parameter `functions` has been removed, use `tools`",
        "With this model the header x-beta is no longer supported",
        "The model card was removed from the request",
        "#/stop_sequences/0: expected maxLength: 40, actual: 52, please reformat your input and try again.",
        "The value is not supported for us-east-1",
        "The field is not supported in API-version 2024-05-01",
        "The model output is not available",
        "The tool_result content must be a string",
        "'response_format.type' must be a string",
        "Extra usage is not enabled for this model",
    ],
)
def test_words_that_only_stand_near_each_other_mean_nothing(text: str) -> None:
    body = json.dumps({"error": {"message": text, "type": "invalid_request_error"}}).encode()
    for dialect in DIALECTS.values():
        assert type(dialect.parse_error(400, {}, body)) is ProviderRequestError


@pytest.mark.parametrize(
    "text",
    [
        "The model `gpt-4o-2026` does not exist or you do not have access to it.",
        "The requested model 'gpt-4-1106-preview' does not exist.",
        "The model gpt-4o-2024-11-20 does not exist or you do not have access to it.",
        'model "mistral" not found, try pulling it first',
        "Model does not exist. Please check it carefully.",
        "Model not found: llama-9",
        "Unknown model gpt-9",
        "Unknown model: haiku",
        "Invalid model name",
        "The model (gpt-9) could not be found",
        "The model `text-davinci-003` has been deprecated, learn more here",
        "This model is no longer available.",
        "Model 'mistral' you requested was not found",
        "models/gemini-1.5-pro is no longer supported: model gemini-1.5-pro was retired",
    ],
)
def test_a_model_that_is_unknown_or_gone_is_told_in_many_words(text: str) -> None:
    body = json.dumps({"error": {"message": text, "type": "invalid_request_error"}}).encode()
    for dialect in DIALECTS.values():
        assert type(dialect.parse_error(400, {}, body)) is ProviderModelError


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "#/texts/0: expected maxLength: 2048, actual: 19882, please reformat your input and try again",
            "context_length",
        ),
        ("You need positive balance to do inference. Please add balance manually or setup top-up", "forbidden"),
    ],
)
def test_words_whose_body_nobody_quoted_are_known(text: str, fault: FaultName) -> None:
    body = json.dumps({"message": text}).encode()
    assert name_of(DIALECTS["bedrock"].parse_error(400, {}, body)) == fault


def test_a_country_that_is_not_served_is_no_missing_feature() -> None:
    body = json.dumps({"error": {"message": "This service is not supported in your country/region"}}).encode()
    for dialect in DIALECTS.values():
        assert name_of(dialect.parse_error(400, {}, body)) == "forbidden"


@pytest.mark.parametrize(
    "text",
    [
        "Logprobs are not supported with this model",
        "Images are not supported by the `llama-3` model",
        "top_k is not supported for your requested model",
        "Audio is unsupported for model: gpt-5-mini",
        "Audio is not supported by models/gemini-9",
    ],
)
def test_a_feature_that_the_model_lacks_is_told_in_many_words(text: str) -> None:
    body = json.dumps({"error": {"message": text, "type": "invalid_request_error"}}).encode()
    for dialect in DIALECTS.values():
        assert name_of(dialect.parse_error(400, {}, body)) == "unsupported"


# --- what is in no table ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 405, 410, 413, 422, 451])
def test_unknown_words_are_told_by_their_status(status: int) -> None:
    body = b'{"error": {"message": "The moon is in the wrong house", "type": "invalid_request_error"}}'
    for dialect in DIALECTS.values():
        assert type(dialect.parse_error(status, {}, body)) is ProviderRequestError


@pytest.mark.parametrize(
    ("error", "error_type"),
    [
        ({"message": "m", "type": "invalid_request_error"}, ProviderRequestError),
        ({"message": "m", "code": "a_code_of_tomorrow"}, ProviderRequestError),
        ({"message": "m", "code": 422}, ProviderRequestError),
        ({"message": "m", "type": "BadRequestError", "code": 400}, ProviderRequestError),
        ({"message": "m", "code": "invalid_prompt"}, ProviderRequestError),
        ({"message": "m", "code": 404}, ProviderRequestError),
        ({"message": "m", "code": "server_error", "type": "invalid_request_error"}, ProviderServerError),
        ({"message": "m", "type": "InternalServerError", "code": 500}, ProviderServerError),
        ({"message": "m", "type": "upstream_error"}, ProviderServerError),
        ({"message": "m"}, BadAnswerError),
        ({"message": "m", "code": None, "type": "error"}, BadAnswerError),
        ("an unexpected failure", BadAnswerError),
    ],
)
def test_an_error_with_a_code_inside_a_stream_is_a_refusal_unless_it_is_the_servers(
    error: object, error_type: type[ProviderError]
) -> None:
    data = json.dumps({"type": "error", "error": error}).encode()
    for dialect in ("openai", "anthropic", "gemini", "responses"):
        told = raised(dialect, Event(name="error", data=data))
        assert type(told) is error_type
        assert FAULTS[name_of(told)].ours == (error_type is not ProviderRequestError)


@pytest.mark.parametrize(
    "data",
    [
        b'{"message": "The prompt is too long: 9, model maximum context length: 8", "code": 400}',
        b'{"detail": "This model\'s maximum context length is 8 tokens."}',
        b'{"code": "InvalidParameter", "message": "Range of input length should be [1, 6000]"}',
        b'{"error": "prompt too long; exceeded max context length by 4 tokens"}',
        b'{"errors": [{"message": "prompt is too long: 9 tokens > 8 maximum", "code": 1}]}',
        b'{"object": "error", "message": "Input is too long for requested model."}',
    ],
)
def test_an_event_that_does_not_call_itself_an_error_is_read_as_one(data: bytes) -> None:
    for dialect in ("openai", "anthropic", "gemini", "responses"):
        assert isinstance(raised(dialect, Event(data=data)), ContextLengthError)
        with pytest.raises(ContextLengthError):
            DIALECTS[dialect].parse_completion(data)


@pytest.mark.parametrize(
    "event",
    [
        b'{"id": "1", "object": "chat.completion.chunk", "choices": []}',
        b'{"choices": null, "usage": {"prompt_tokens": 1}}',
        b'{"id": "1", "x": {"message": "prompt is too long"}}',
        b'{"choices": [{"delta": {"content": "The error said: prompt is too long"}}]}',
    ],
)
def test_an_answer_that_speaks_of_errors_is_none(event: bytes) -> None:
    parser = DIALECTS["openai"].stream_parser()
    parser.event(Event(data=event))  # it raises nothing
    assert not parser.finished


def test_an_answer_without_content_is_no_refusal() -> None:
    for dialect, body in (
        ("openai", {"id": "1", "object": "chat.completion", "choices": []}),
        ("anthropic", {"id": "1", "type": "message", "role": "assistant", "content": None}),
        ("responses", {"id": "1", "object": "response", "status": "completed", "output": None}),
        ("gemini", {"responseId": "1", "candidates": []}),
        ("bedrock", {"stopReason": "end_turn"}),
    ):
        with pytest.raises(BadAnswerError):
            DIALECTS[dialect].parse_completion(json.dumps(body).encode())


def test_of_a_page_nothing_is_read() -> None:
    page = b"<html><body>model not found; your credit balance is too low; prompt is too long</body></html>"
    assert type(DIALECTS["openai"].parse_error(400, {}, page)) is ProviderRequestError
    assert type(DIALECTS["openai"].parse_error(404, {}, page)) is ProviderModelError
    assert type(DIALECTS["openai"].parse_error(502, {}, page)) is ProviderServerError


def test_a_text_that_is_no_json_is_read() -> None:
    error = DIALECTS["openai"].parse_error(
        400, {"content-type": "text/plain"}, b"Input is too long for requested model."
    )
    assert type(error) is ContextLengthError


def test_a_rate_limit_is_not_a_prompt_that_is_too_long() -> None:
    words = b'{"error": {"message": "exceed the rate limit: too many input tokens, prompt is too long"}}'
    assert name_of(DIALECTS["openai"].parse_error(429, {}, words)) == "rate_limited"


def test_what_a_caller_wrote_decides_nothing() -> None:
    said = {"type": "missing", "loc": ["body", "x"], "msg": "Field required", "input": "my credit balance is too low"}
    for body in ({"detail": [said]}, {"error": {"message": "Bad field", "flagged_input": "prompt is too long"}}):
        error = DIALECTS["openai"].parse_error(422, {}, json.dumps(body).encode())
        assert type(error) is ProviderRequestError


@pytest.mark.parametrize("body", [b"[" * 200, b"{" * 9, b'{"error": ' * 90, b"\xff\xfe", b'{"error": "\\ud800"}'])
def test_what_cannot_be_read_is_told_by_its_status(body: bytes) -> None:
    assert type(DIALECTS["openai"].parse_error(400, {}, body)) is ProviderRequestError


def test_a_body_without_end_is_read_in_part() -> None:
    deep: Any = "prompt is too long"
    for _ in range(60):
        deep = {"error": deep, "message": ["x"] * 50}
    error = DIALECTS["openai"].parse_error(400, {}, json.dumps(deep).encode())
    assert type(error) is ProviderRequestError
    assert len(str(error)) < 400


# --- when to ask again ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Please try again in 6m0s.", 360.0),
        ("Please try again in 250ms.", 0.25),
        ("Please try again in 1h2m3.5s. Visit https://x", 3723.5),
        ("Please retry after 22 seconds. Please go here", 22.0),
        ("please try again after 1 minute", 60.0),
        ("please wait 30 sec before", 30.0),
        ("Please retry in 34.07s.", 34.07),
        ("try again in 3 hours", 10800.0),
        ("Please try again later.", None),
        ("Please try again in 900 hours", None),
        ("try again with 5 smaller requests", None),
        ("Limit 6000, Used 5034", None),
    ],
)
def test_a_pause_in_words(text: str, seconds: float | None) -> None:
    assert refusals.wait_s([text]) == seconds


def test_a_pause_is_read_in_the_body_and_its_fields() -> None:
    for body in ({"error": {"message": "m", "retry_after": 7}}, {"error": {"details": [{"retryDelay": "7s"}]}}):
        assert DIALECTS["openai"].parse_error(429, {}, json.dumps(body).encode()).retry_after_s == 7


QUOTED = [
    (400, "Invalid value: 'explain to me: rate limit exceeded'. Supported values are: 'text'."),
    (400, "messages.0.content: Input should be a valid list; got 'my insufficient balance at the bank'"),
    (400, "Error parsing tool call arguments: unexpected token in 'the error is: invalid api key'"),
    (400, "Invalid 'messages[0].name': \"what's the maximum context length of it\" does not match the pattern"),
    (400, "Invalid 'tools[0].function.name': 'content_policy_check'"),
    (400, 'tools.0.custom.description: "Says whether it is an invalid api key" is too short'),
    (400, "Invalid value: \u201cexplain the rate limit exceeded error\u201d"),
    (400, "Invalid value: \u300cexplain the rate limit exceeded error\u300d"),
    (400, "Invalid value: \u00bbwhat is an invalid api key\u00ab"),
    (400, "Invalid value: 'tell me what it's about when the rate limit exceeded err"),
    (422, "[{'type': 'missing', 'loc': ('body', 'role'), 'input': {'content': 'rate limit reached, wait 9s'}}]"),
    (400, 'Value error, got "{\\"content\\": \\"your credit balance is too low\\"}"'),
]  # fmt: skip


@pytest.mark.parametrize(("status", "message"), QUOTED)
def test_what_an_error_quotes_of_the_request_says_nothing_about_us(status: int, message: str) -> None:
    """Otherwise a caller could open breakers, and raise alarms, by the text of a prompt."""
    body = json.dumps({"error": {"message": message, "type": "invalid_request_error"}}).encode()
    error = answered_error(status, {}, body)
    assert (type(error), error.status, error.retry_after_s) == (ProviderRequestError, status, None)


@pytest.mark.parametrize(
    "message",
    [
        "Error code: 400 - {'error': {'message': \"This model's maximum context length is 8192 tokens.\"}}",
        'AzureException - {"error": {"message": "This model\'s maximum context length is 8192 tokens."}}',
        'upstream said: error: "This model has a maximum context length of 8192 tokens"',
        "You've asked for too much, it's over the model's maximum context length, which can't be raised.",
    ],
)
def test_what_an_error_quotes_of_another_error_is_read(message: str) -> None:
    assert isinstance(answered_error(400, {}, json.dumps({"error": {"message": message}}).encode()), ContextLengthError)


@pytest.mark.parametrize(
    "message",
    [
        "Internal Server Error: content_filter service unavailable",
        "The server had an error: the content management policy service timed out",
        "Internal error: invalid api key for the cache backend",
        "Account check failed, the service for insufficient balance is down",
    ],
)
def test_a_server_whose_own_parts_fail_refuses_nothing(message: str) -> None:
    error = answered_error(500, {}, json.dumps({"error": {"message": message, "type": "server_error"}}).encode())
    assert (type(error), error.status) == (ProviderServerError, 500)
