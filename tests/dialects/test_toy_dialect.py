"""A dialect more is a folder and a line: `toy/`, and what `serve_with_toy.py` adds to the table."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from tests.providers.fault_server import FaultServer
from tests.providers.scenarios import TEXT
from tests.service import Service

SAY = {"who": "toy", "lines": [{"by": "me", "say": "hello"}]}
ASK = {"messages": [{"role": "user", "content": "hello"}]}
KEY = {"x-toy-key": "callers-key"}

MODELS = """
providers:
  toys: {{dialect: toy, base_url: "{toys}", api_key: toys-key}}
  faults: {{dialect: openai, base_url: "{faults}"}}
models:
  toy: {{provider: toys, name: bear, input_price: 1, output_price: 2}}
  broken: {{provider: toys, name: broken, input_price: 1, output_price: 2}}
  picky: {{provider: toys, name: picky, input_price: 1, output_price: 2}}
  cut: {{provider: toys, name: cut, input_price: 1, output_price: 2}}
  ok: {{provider: faults, name: ok, input_price: 1, output_price: 2}}
policy:
  retry: {{base_s: 0.01}}
default: {{models: [broken, ok]}}
"""


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class ToyServer(ThreadingHTTPServer):
    """A real provider of the toy dialect. `asked` holds what came, in order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Asked] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        assert isinstance(self.server, ToyServer)
        self.server.asked.append(Asked(self.path, {name.lower(): text for name, text in self.headers.items()}, body))
        if body["who"] == "broken":
            self._answer(500, [{"oops": {"message": "the spring is broken"}}])
        elif body["who"] == "picky":
            self._answer(400, [{"error": {"message": "say it nicely"}}])
        elif body["who"] == "cut":
            self._answer(200, [{"piece": "Hel"}])
        elif body["piecewise"]:
            self._answer(200, [{"piece": "Hel"}, {"piece": "lo."}, {"over": True, "words": [3, 2]}])
        else:
            self._answer(200, [{"said": "Hello.", "words": [3, 2], "mood": "glad"}])

    def _answer(self, status: int, lines: list[dict[str, Any]]) -> None:
        data = "".join(json.dumps(line) + "\n" for line in lines).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the tests' output."""


@pytest.fixture(scope="module")
def toys() -> Iterator[ToyServer]:
    with ToyServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, toys: ToyServer, faults: FaultServer) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("toy") / "routes"
    folder.mkdir()
    (folder / "models.yaml").write_text(MODELS.format(toys=toys.url, faults=faults.url))
    program, key = "tests.dialects.serve_with_toy", KEY["x-toy-key"]
    with Service(folder, folder.parent / "log", program=program, SEMROUTE_API_KEY=key) as running:
        yield running


def say(service: Service, **more: Any) -> httpx.Response:
    return service.client.post("/toy/say", json={**SAY, **more}, headers=KEY)


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_whole_answer_comes_as_the_provider_wrote_it(service: Service, toys: ToyServer) -> None:
    answer = say(service, colour="red")
    assert (answer.status_code, answer.json()) == (200, {"said": "Hello.", "words": [3, 2], "mood": "glad"})
    assert answer.headers["x-semroute-cost-usd"] == "0.000007"
    asked = toys.asked[-1]
    assert (asked.path, asked.headers["x-toy-key"], asked.body["who"]) == ("/say", "toys-key", "bear")
    assert asked.body["colour"] == "red"  # nothing here knows the field, and the provider gets it


def test_a_streamed_answer_is_read_line_by_line(service: Service) -> None:
    assert lines(say(service, piecewise=True)) == [
        {"piece": "Hel"},
        {"piece": "lo."},
        {"over": True, "words": [3, 2]},
    ]


def test_callers_of_other_dialects_are_served_by_a_toy_provider(service: Service, toys: ToyServer) -> None:
    headers = {"authorization": f"Bearer {KEY['x-toy-key']}"}
    body = {**ASK, "model": "toy", "seed": 1}
    whole = service.client.post("/v1/chat/completions", json=body, headers=headers)
    assert whole.json()["choices"][0]["message"]["content"] == "Hello."
    assert toys.asked[-1].body == {"lines": [{"by": "me", "say": "hello"}], "who": "bear", "piecewise": False}
    streamed = service.client.post("/v1/chat/completions", json={**body, "stream": True}, headers=headers)
    events = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
    assert "".join(choice["delta"].get("content") or "" for each in events for choice in each["choices"]) == "Hello."
    assert streamed.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("piecewise", [False, True])
def test_a_toy_provider_that_fails_is_followed_by_one_of_openai(service: Service, piecewise: bool) -> None:
    answer = say(service, who="auto", piecewise=piecewise)
    assert (answer.status_code, answer.headers["x-semroute-model"]) == (200, "ok")
    said = [line.get("piece", "") for line in lines(answer)] if piecewise else [answer.json()["said"]]
    assert "".join(said) == TEXT


def test_errors_have_the_form_of_the_dialect(service: Service) -> None:
    refused = say(service, who="picky")
    assert (refused.status_code, refused.json()) == (400, {"oops": refused.json()["oops"], "how_bad": 400})
    assert "say it nicely" in refused.json()["oops"]
    unread = say(service, lines=[{"by": "nobody", "say": "x"}])
    assert (unread.status_code, unread.json()["how_bad"]) == (400, 400)
    assert "$.lines[0].by" in unread.json()["oops"]
    nowhere = service.client.get("/toy/sing", headers=KEY)
    assert (nowhere.status_code, nowhere.json()["how_bad"]) == (404, 404)


def test_a_stream_that_breaks_off_ends_with_an_error_and_is_never_over(service: Service) -> None:
    first, *rest = lines(say(service, who="cut", piecewise=True))
    assert first == {"piece": "Hel"}
    assert "oops" in rest[-1]
    assert not any(line.get("over") for line in rest)


def test_the_key_of_a_caller_is_read_where_the_dialect_has_it(service: Service, toys: ToyServer) -> None:
    without = service.client.post("/toy/say", json=SAY)
    assert (without.status_code, without.json()["how_bad"]) == (401, 401)
    wrong = service.client.post("/toy/say", json=SAY, headers={"x-toy-key": "guessed"})
    assert wrong.status_code == 401
    say(service)
    assert KEY["x-toy-key"] not in toys.asked[-1].headers.values()


def test_models_are_listed_as_its_callers_expect(service: Service) -> None:
    page = service.client.get("/v1/models", headers={**KEY, "x-toy-client": "1"}).json()
    assert page["everybody"][:1] == ["auto"]
    assert service.client.get("/v1/models/toy", headers={**KEY, "x-toy-client": "1"}).json() == {"who": "toy"}
    assert service.client.get("/v1/models", headers=KEY).json()["object"] == "list"


def test_the_documentation_of_the_service_shows_it(service: Service) -> None:
    described = service.client.get("/schema/openapi.json", headers=KEY).json()["paths"]["/toy/say"]["post"]
    assert described["description"] == "Says something."
    assert "lines" in described["requestBody"]["content"]["application/json"]["schema"]["properties"]
