"""What becomes of a request that one model refuses: who is asked next, and what the caller is told in the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from semroute.api.app import create_app
from semroute.settings import Settings
from tests.vendors.server import Refused, Vendor, VendorServer, event

pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")

Client = TestClient[Litestar]
PATHS = {"openai": "/v1", "responses": "/v1", "anthropic": "", "gemini": "/v1beta"}
WEIRD = "The moon is in the wrong house"
LONG = {
    "openai": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
    "responses": "Your input exceeds the context window of this model.",
    "anthropic": "prompt is too long: 250000 tokens > 200000 maximum",
    "gemini": "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).",
}
SAID: dict[str, tuple[int, str, str]] = {
    "weird": (400, WEIRD, "a_code_of_tomorrow"),
    "weird404": (404, WEIRD, "a_code_of_tomorrow"),
    "weird422": (422, WEIRD, "a_code_of_tomorrow"),
    "gone": (404, "The model `x` does not exist", "model_not_found"),
    "policy": (400, "Your request was rejected as a result of our safety system.", "content_policy_violation"),
    "empty": (400, "Insufficient Balance", "invalid_request_error"),
    "down": (500, "The engine failed", "server_error"),
}
"""What a model of that name says: status, message, code."""
PATIENT = "breaker: {failures: 10000, min_calls: 10000}"


def error_of(dialect: str, status: int, message: str, code: str) -> dict[str, Any]:
    """An error as such a vendor writes it."""
    kind = "invalid_request_error" if status < 500 else code
    if dialect == "anthropic":
        return {"type": "error", "error": {"type": kind, "message": message}}
    if dialect == "gemini":
        name = "INVALID_ARGUMENT" if status < 500 else "INTERNAL"
        return {"error": {"code": status, "message": message, "status": name}}
    return {"error": {"message": message, "type": kind, "code": code}}


class Refusing(Vendor):
    """Every vendor at once: its dialect is in the path, what it says in the model's name. `-late`: inside a stream."""

    def _said(self, path: str, body: dict[str, Any]) -> tuple[str, dict[str, Any], int, bool]:
        dialect = {"messages": "anthropic", "responses": "responses"}.get(path.rpartition("/")[2], "openai")
        name = str(body.get("model") or "")
        if "/models/" in path:
            dialect, name = "gemini", path.rpartition("/")[2].partition(":")[0]
        case = name.removesuffix("-late")
        if case == "fine":
            return dialect, {}, 200, False
        long = (400, LONG[dialect], "context_length_exceeded")
        status, message, code = long if case == "long" else SAID[case]
        return dialect, error_of(dialect, status, message, code), status, name.endswith("-late")

    def streamed(self, path: str, body: dict[str, Any]) -> bool:
        return bool(body.get("stream")) or "streamGenerateContent" in path

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        _, error, status, late = self._said(path, body)
        if status != 200:
            raise Refused(200 if late else status, error)
        choice = {"index": 0, "message": {"role": "assistant", "content": "fine"}, "finish_reason": "stop"}
        return {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice]}

    def events(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Iterator[bytes]:
        dialect, error, status, late = self._said(path, body)
        if status == 200:
            choice = {"index": 0, "delta": {"content": "fine"}, "finish_reason": "stop"}
            yield event({"id": "c", "object": "chat.completion.chunk", "choices": [choice]})
            yield b"data: [DONE]\n\n"
        elif not late:
            raise Refused(status, error)
        elif dialect == "responses":
            yield event({"type": "response.created", "response": {"id": "r", "status": "in_progress"}})
            failed = {"id": "r", "status": "failed", "error": error["error"]}
            yield event({"type": "response.failed", "response": failed})
        else:
            yield event(error, "error" if dialect == "anthropic" else "")


@pytest.fixture(scope="module")
def vendor() -> Iterator[VendorServer]:
    with VendorServer(Refusing()) as server:
        yield server


@pytest.fixture(scope="module")
def client(vendor: VendorServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A model for each dialect and case, such as `anthropic-weird`; `other` and `third` are other providers."""
    folder = tmp_path_factory.mktemp("refusals")
    providers = {name: (name, path) for name, path in PATHS.items()} | {
        "other": ("openai", "/v1"),
        "third": ("openai", "/v1"),
    }
    lines = ["providers:"]
    lines += [
        f"  {name}: {{dialect: {dialect}, base_url: '{vendor.url}{path}', api_key: key-0123}}"
        for name, (dialect, path) in providers.items()
    ]
    lines += ["models:", "  tight: {provider: other, name: fine, context_tokens: 5000}"]
    rules = ["rules:"]
    for provider in providers:
        for case in ("fine", "long", *SAID):
            for name in (case, f"{case}-late"):
                model = f"{provider}-{name}"
                lines.append(f"  {model}: {{provider: {provider}, name: {name}, {PATIENT if case == 'down' else ''}}}")
                plan = ", ".join(dict.fromkeys((model, f"{provider}-fine", "other-fine")))
                rules.append(f"  - {{name: {model}, when: {{metadata: {{case: {model}}}}}, models: [{plan}]}}")
    rules += [
        "  - {name: all, when: {metadata: {case: all}}, models: [openai-weird, anthropic-weird422, third-weird404]}",
        "  - {name: mixed, when: {metadata: {case: mixed}}, models: [openai-weird, anthropic-long, third-weird404]}",
        "  - {name: hope, when: {metadata: {case: hope}}, models: [openai-weird, third-down]}",
        "  - {name: gone, when: {metadata: {case: gone}}, models: [openai-gone, third-gone]}",
        "  - {name: last, when: {metadata: {case: down-third-gone}}, models: [openai-down, third-gone]}",
        "  - {name: claude, when: {metadata: {case: down-anthropic-gone}}, models: [openai-down, anthropic-gone]}",
        "  - {name: narrow, when: {metadata: {case: narrow}}, models: [tight]}",
        "  - {name: ours, when: {metadata: {case: ours}}, models: [openai-weird, third-empty]}",
    ]
    lines += ["default: {models: [tight]}", "policy: {retry: {base_s: 0.001}}", *rules]
    routes = folder / "routes"
    routes.mkdir()
    (routes / "all.yaml").write_text("\n".join(lines))
    settings = Settings(routes=str(routes), database_url="memory:", access="insecure")
    with TestClient(create_app(settings)) as ready:
        yield ready


def ask(client: Client, dialect: str = "openai", **body: Any) -> Any:
    """A request in a caller's dialect."""
    model = body.get("model", "auto")
    said = body.pop("text", "Hello there")
    if dialect == "gemini":
        verb = "streamGenerateContent?alt=sse" if body.get("stream") else "generateContent"
        contents = [{"role": "user", "parts": [{"text": said}]}]
        return client.post(f"/v1beta/models/{model}:{verb}", json={**body, "contents": contents})
    if dialect == "responses":
        return client.post("/v1/responses", json={**body, "model": model, "input": said})
    path = "/v1/messages" if dialect == "anthropic" else "/v1/chat/completions"
    turn = {"role": "user", "content": said}
    return client.post(path, json={"max_tokens": 9, "messages": [turn], **body, "model": model})


def names(vendor: VendorServer) -> list[str]:
    """Which models were asked, since it was last looked at."""
    asked = [str(seen.body.get("model") or seen.path.rpartition("/")[2].partition(":")[0]) for seen in vendor.requests]
    vendor.requests.clear()
    return asked


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("case", ["weird", "weird404", "weird422", "weird-late"])
def test_what_one_vendor_refuses_is_put_to_another(
    client: Client, vendor: VendorServer, dialect: str, case: str, stream: bool
) -> None:
    names(vendor)
    answer = ask(client, stream=stream, metadata={"case": f"{dialect}-{case}"})
    assert (answer.status_code, "fine" in answer.text) == (200, True)
    assert names(vendor) == [case, "fine"]
    assert answer.headers["x-semroute-model"] == "other-fine"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("case", ["gone", "empty", "gone-late", "empty-late"])
def test_what_is_known_not_to_be_the_callers_fault_goes_to_the_next_model(
    client: Client, vendor: VendorServer, dialect: str, case: str, stream: bool
) -> None:
    if dialect != "openai" or case == "gone":  # the healthy one speaks OpenAI's dialect alone
        case, dialect = case, "third"
    names(vendor)
    answer = ask(client, stream=stream, metadata={"case": f"{dialect}-{case}"})
    assert (answer.status_code, names(vendor)) == (200, [case, "fine"])
    assert answer.headers["x-semroute-model"] == f"{dialect}-fine"


@pytest.mark.parametrize("stream", [False, True])
def test_a_list_of_the_callers_own_is_tried_to_its_end(client: Client, vendor: VendorServer, stream: bool) -> None:
    names(vendor)
    models = ["openai-weird", "openai-weird-late", "openai-fine"]
    answer = ask(client, model=models[0], models=models, stream=stream)
    assert (answer.status_code, answer.headers["x-semroute-model"]) == (200, "openai-fine")
    assert names(vendor) == ["weird", "weird-late", "fine"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("case", ["weird", "weird-late", "long-late", "policy-late"])
def test_a_refusal_is_not_asked_for_again_and_opens_no_breaker(
    client: Client, vendor: VendorServer, dialect: str, case: str, stream: bool
) -> None:
    names(vendor)
    told = [ask(client, model=f"{dialect}-{case}", stream=stream) for _ in range(7)]
    assert [answer.status_code for answer in told] == [400] * 7
    assert names(vendor) == [case] * 7


@pytest.mark.parametrize("stream", [False, True])
def test_where_all_refuse_the_first_is_told(client: Client, vendor: VendorServer, stream: bool) -> None:
    names(vendor)
    answer = ask(client, stream=stream, metadata={"case": "all"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, WEIRD)
    assert names(vendor) == ["weird", "weird422", "weird404"]


def test_a_refusal_that_says_why_is_told_before_others(client: Client) -> None:
    error = ask(client, metadata={"case": "mixed"}).json()["error"]
    assert error["code"] == "context_length_exceeded"
    assert LONG["anthropic"] in error["message"]


def test_where_a_later_try_may_help_that_is_told(client: Client) -> None:
    assert ask(client, metadata={"case": "hope"}).status_code == 502


def test_what_is_ours_to_mend_does_not_hide_a_refusal(client: Client) -> None:
    answer = ask(client, metadata={"case": "ours"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, WEIRD)


@pytest.mark.parametrize("dialect", ["openai", "responses", "anthropic"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_only_one_vendor_does_not_know_is_ours_to_mend(client: Client, dialect: str, stream: bool) -> None:
    last = "anthropic-gone" if dialect == "anthropic" else "third-gone"
    answer = ask(client, dialect, metadata={"case": f"down-{last}"}, stream=stream)
    assert (answer.status_code, "not_found" in answer.text) == (502, False)
    assert "every model of the plan failed" in answer.text


@pytest.mark.parametrize("case", ["auto", "pinned"])
def test_a_model_that_no_vendor_knows_is_not_found(client: Client, case: str) -> None:
    fields: dict[str, Any] = {"metadata": {"case": "gone"}} if case == "auto" else {"model": "gemini-gone"}
    answer = ask(client, **fields)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


TOLD = {
    "openai": {
        "long": (400, "context_length_exceeded"),
        "gone": (404, "model_not_found"),
        "policy": (400, "content_policy_violation"),
    },
    "anthropic": {
        "long": (400, "prompt is too long"),
        "gone": (404, "not_found_error"),
        "policy": (400, "content filtering policy"),
    },
    "gemini": {
        "long": (400, "exceeds the maximum number of tokens"),
        "gone": (404, "is not found for API version"),
        "policy": (400, "INVALID_ARGUMENT"),
    },
}
"""What the frameworks of each vendor's callers look for."""


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("behind", PATHS)
@pytest.mark.parametrize("dialect", ["openai", "responses", "anthropic", "gemini"])
@pytest.mark.parametrize("case", ["long", "gone", "policy", "long-late"])
def test_a_refusal_is_told_in_the_callers_words(
    client: Client, dialect: str, behind: str, case: str, stream: bool
) -> None:
    status, sign = TOLD["openai" if dialect == "responses" else dialect][case.removesuffix("-late")]
    answer = ask(client, dialect, model=f"{behind}-{case}", stream=stream)
    error = answer.json()["error"]
    assert answer.status_code == status
    if dialect in ("openai", "responses"):
        assert error["code"] == sign
    else:
        assert sign in json.dumps(error)


@pytest.mark.parametrize(
    ("dialect", "sign"),
    [
        ("openai", "context_length_exceeded"),
        ("responses", "context_length_exceeded"),
        ("anthropic", "prompt is too long"),
        ("gemini", "exceeds the maximum number of tokens"),
    ],
)
def test_what_no_window_holds_is_told_in_the_callers_words(
    client: Client, vendor: VendorServer, dialect: str, sign: str
) -> None:
    names(vendor)
    answer = ask(client, dialect, text="word " * 9000, metadata={"case": "narrow"})
    assert (answer.status_code, sign in answer.text, names(vendor)) == (400, True, [])


def test_embeddings_are_refused_in_the_same_words(client: Client) -> None:
    for model, status, code in (
        ("openai-long", 400, "context_length_exceeded"),
        ("openai-gone", 404, "model_not_found"),
        ("openai-empty", 502, "all_models_failed"),
    ):
        answer = client.post("/v1/embeddings", json={"model": model, "input": "x"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
