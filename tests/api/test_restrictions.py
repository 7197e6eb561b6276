"""What a key may use: every way to name a route or a model, against every restriction of a key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from semroute.access.api_keys import KeyStore
from semroute.caller import Caller
from semroute.stores.migrations import migrate
from semroute.stores.sqlite import SqliteDatabase
from tests.providers.fault_server import FaultServer
from tests.service import Service, until

MAX_BODY_BYTES = 100_000
LAW, SUPPORT, NEITHER = "draft a merger agreement", "I want my money back", "what rhymes with orange"
SAY = [{"role": "user", "content": LAW}]
ROUTES = """
providers:
  faults: {{dialect: openai, base_url: "{url}", api_key: provider-key-0123456789}}
models:
  cheap: {{provider: faults, name: ok@cheap, input_price: 1, output_price: 2}}
  dear: {{provider: faults, name: ok@dear, input_price: 100, output_price: 200,
          deployments: [{{provider: faults, name: ok@twin}}]}}
  basic: {{provider: faults, name: ok@basic, input_price: 1, output_price: 2}}
default: {{models: [basic]}}
routes:
  - name: support
    utterances: [why was I charged twice, I want my money back, where is my invoice, cancel my plan, refund me]
    models: [cheap]
  - name: law
    utterances: [draft a merger agreement, review this contract, is this clause valid, write a lease, sue them]
    models: [dear]
rules:
  - {{name: by-model, when: {{metadata: {{want: dear}}}}, models: [dear]}}
  - {{name: by-route, when: {{metadata: {{want: law}}}}, route: law}}
aliases:
  gpt-*: auto
  gpt-law: "auto:law"
  gpt-help: "auto:support"
  claude-*: dear
  claude-basic: basic
  "x[1]*": dear@faults
budgets:
  - {{name: all, usd: 1000, per: month}}
  - {{name: for-law, usd: 1000, per: month, route: law}}
  - {{name: for-support, usd: 1000, per: month, route: support}}
  - {{name: for-dear, usd: 1000, per: month, model: dear}}
  - {{name: for-cheap, usd: 1000, per: month, model: cheap}}
"""


class Way(NamedTuple):
    """One way to ask."""

    path: str
    body: dict[str, Any]
    names: str
    """What it leads to: `law` and `support` (routes, each with its only model), `dear` and so on (models), `basic`."""


def gemini(model: str, method: str = "generateContent") -> tuple[str, dict[str, Any]]:
    return f"/v1beta/models/{model}:{method}", {"contents": [{"parts": [{"text": LAW}]}]}


CHAT = "/v1/chat/completions"
AZURE = "/openai/deployments"
PARTS = {"parts": [{"text": "x"}]}
WAYS = {
    "auto": Way("/complete", {"prompt": LAW}, "law"),
    "auto, decided alone": Way("/route", {"prompt": LAW}, "law"),
    "auto, chat": Way(CHAT, {"model": "auto", "messages": SAY}, "law"),
    "auto, streamed": Way(CHAT, {"model": "auto", "messages": SAY, "stream": True}, "law"),
    "auto, messages": Way("/v1/messages", {"model": "auto", "messages": SAY, "max_tokens": 9}, "law"),
    "auto, responses": Way("/v1/responses", {"model": "auto", "input": LAW}, "law"),
    "auto, gemini": Way(*gemini("auto"), "law"),
    "auto, support": Way("/complete", {"prompt": SUPPORT}, "support"),
    "auto, no route": Way("/complete", {"prompt": NEITHER}, "basic"),
    "a rule to a route": Way("/complete", {"prompt": NEITHER, "metadata": {"want": "law"}}, "law"),
    "a rule to a model": Way("/complete", {"prompt": NEITHER, "metadata": {"want": "dear"}}, "dear"),
    "auto:law": Way(CHAT, {"model": "auto:law", "messages": SAY}, "law"),
    "auto:law, decided alone": Way("/route", {"model": "auto:law", "prompt": "x"}, "law"),
    "auto:law, gemini": Way(*gemini("auto:law", "streamGenerateContent"), "law"),
    "auto:law, counted": Way("/v1/messages/count_tokens", {"model": "auto:law", "messages": SAY}, "law"),
    "auto:support": Way(CHAT, {"model": "auto:support", "messages": SAY}, "support"),
    "model": Way(CHAT, {"model": "dear", "messages": SAY}, "dear"),
    "model, streamed": Way(CHAT, {"model": "dear", "messages": SAY, "stream": True}, "dear"),
    "model, native": Way("/complete", {"model": "dear", "prompt": "x"}, "dear"),
    "model, decided alone": Way("/route", {"model": "dear", "prompt": "x"}, "dear"),
    "model, messages": Way("/v1/messages", {"model": "dear", "messages": SAY, "max_tokens": 9}, "dear"),
    "model, counted": Way("/v1/messages/count_tokens", {"model": "dear", "messages": SAY}, "dear"),
    "model, responses": Way("/v1/responses", {"model": "dear", "input": "x"}, "dear"),
    "model, gemini": Way(*gemini("dear"), "dear"),
    "model, gemini streamed": Way(*gemini("dear", "streamGenerateContent"), "dear"),
    "model, gemini v1": Way("/v1/models/dear:generateContent", gemini("")[1], "dear"),
    "model, counted by gemini": Way(*gemini("dear", "countTokens"), "dear"),
    "auto:law, counted by gemini": Way(*gemini("auto:law", "countTokens"), "law"),
    "model, counted for responses": Way("/v1/responses/input_tokens", {"model": "dear", "input": "x"}, "dear"),
    "auto:law, counted for responses": Way("/v1/responses/input_tokens", {"model": "auto:law", "input": "x"}, "law"),
    "auto, compacted": Way("/v1/responses/compact", {"model": "auto", "input": LAW}, "law"),
    "auto:law, compacted": Way("/v1/responses/compact", {"model": "auto:law", "input": "x"}, "law"),
    "model, compacted": Way("/v1/responses/compact", {"model": "dear", "input": "x"}, "dear"),
    "models, compacted": Way("/v1/responses/compact", {"models": ["dear"], "input": "x"}, "dear"),
    "model, embeddings of gemini": Way("/v1beta/models/dear:embedContent", {"content": PARTS}, "dear"),
    "model, batch of embeddings": Way(
        "/v1/models/dear:batchEmbedContents", {"requests": [{"content": PARTS}, {"content": PARTS}]}, "dear"
    ),
    "models, embeddings of gemini": Way(
        "/v1beta/models/cheap:embedContent", {"content": PARTS, "models": ["dear"]}, "dear or cheap"
    ),
    "model, embeddings": Way("/v1/embeddings", {"model": "dear", "input": "x"}, "dear"),
    "provider's name": Way(CHAT, {"model": "ok@dear", "messages": SAY}, "dear"),
    "models": Way(CHAT, {"model": "auto", "models": ["dear"], "messages": SAY}, "dear"),
    "models after model": Way(CHAT, {"model": "dear", "models": ["dear@faults"], "messages": SAY}, "dear"),
    "models, embeddings": Way("/v1/embeddings", {"model": "dear", "models": ["dear"], "input": "x"}, "dear"),
    "deployment": Way(CHAT, {"model": "dear@faults", "messages": SAY}, "dear@faults"),
    "deployment's name": Way(CHAT, {"model": "ok@twin", "messages": SAY}, "dear@faults"),
    "deployment, gemini": Way(*gemini("dear@faults"), "dear@faults"),
    "deployment, counted": Way("/v1/messages/count_tokens", {"model": "ok@twin", "messages": SAY}, "dear@faults"),
    "alias of auto": Way(CHAT, {"model": "gpt-9", "messages": SAY}, "law"),
    "alias of auto, streamed": Way(CHAT, {"model": "gpt-9", "messages": SAY, "stream": True}, "law"),
    "alias of auto, decided alone": Way("/route", {"model": "gpt-9", "prompt": LAW}, "law"),
    "alias of auto, messages": Way("/v1/messages", {"model": "gpt-9", "messages": SAY, "max_tokens": 9}, "law"),
    "alias of auto, support": Way("/complete", {"model": "gpt-9", "prompt": SUPPORT}, "support"),
    "alias of a route": Way(CHAT, {"model": "gpt-law", "messages": SAY}, "law"),
    "alias of a route, gemini": Way(*gemini("gpt-law", "streamGenerateContent"), "law"),
    "alias of a route, counted": Way("/v1/messages/count_tokens", {"model": "gpt-law", "messages": SAY}, "law"),
    "alias of support": Way(CHAT, {"model": "gpt-help", "messages": SAY}, "support"),
    "alias of a model": Way(CHAT, {"model": "claude-9", "messages": SAY}, "dear"),
    "alias of a model, native": Way("/complete", {"model": "claude-9", "prompt": "x"}, "dear"),
    "alias of a model, responses": Way("/v1/responses", {"model": "claude-9", "input": "x"}, "dear"),
    "alias of a model, counted": Way("/v1/messages/count_tokens", {"model": "claude-9", "messages": SAY}, "dear"),
    "alias of a model, embeddings": Way("/v1/embeddings", {"model": "claude-9", "input": "x"}, "dear"),
    "alias of a model, gemini": Way(*gemini("claude-9"), "dear"),
    "alias of a deployment": Way(CHAT, {"model": "x[1]-a", "messages": SAY}, "dear@faults"),
    "alias in models": Way(CHAT, {"model": "auto", "models": ["claude-9"], "messages": SAY}, "dear"),
    "aliases, one of two": Way(CHAT, {"model": "claude-9", "models": ["cheap"], "messages": SAY}, "dear or cheap"),
    "alias of basic": Way(CHAT, {"model": "claude-basic", "messages": SAY}, "basic"),
    "model, older completions": Way("/v1/completions", {"model": "dear", "prompt": "x"}, "dear"),
    "model, several prompts": Way("/v1/completions", {"model": "dear", "prompt": ["x", "y"], "n": 2}, "dear"),
    "model, prompts streamed": Way("/v1/completions", {"model": "ok@dear", "prompt": ["x"], "stream": True}, "dear"),
    "auto, older completions": Way("/v1/completions", {"prompt": LAW}, "law"),
    "auto, prompts of two routes": Way("/v1/completions", {"prompt": [SUPPORT, LAW]}, "law and support"),
    "auto:law, older completions": Way("/v1/completions", {"model": "auto:law", "prompt": "x"}, "law"),
    "auto, ollama": Way("/api/chat", {"model": "auto", "messages": SAY, "stream": False}, "law"),
    "auto:law, ollama": Way("/api/chat", {"model": "auto:law:latest", "messages": SAY}, "law"),
    "model, ollama": Way("/api/chat", {"model": "dear", "messages": SAY}, "dear"),
    "model, ollama's tag": Way("/api/chat", {"model": "dear:latest", "messages": SAY, "stream": False}, "dear"),
    "models, ollama": Way("/api/chat", {"model": "auto", "models": ["dear:latest"], "messages": SAY}, "dear"),
    "model, generated": Way("/api/generate", {"model": "dear", "prompt": "x"}, "dear"),
    "provider's name, generated": Way("/api/generate", {"model": "ok@dear", "prompt": "x", "stream": False}, "dear"),
    "model, ollama's embeddings": Way("/api/embed", {"model": "dear", "input": "x"}, "dear"),
    "model, ollama's older embeddings": Way("/api/embeddings", {"model": "dear:latest", "prompt": "x"}, "dear"),
    "model in azure's path": Way(
        "/openai/deployments/dear/chat/completions", {"model": "cheap", "messages": SAY}, "dear"
    ),
    "route in azure's path": Way("/openai/deployments/auto:law/chat/completions", {"messages": SAY}, "law"),
    "model in azure's path, embeddings": Way(f"{AZURE}/dear/embeddings", {"input": "x"}, "dear"),
    "model behind a prefix": Way("/openai/v1/chat/completions", {"model": "dear", "messages": SAY}, "dear"),
    "model without a prefix": Way("/chat/completions", {"model": "dear", "messages": SAY}, "dear"),
    "model, responses behind a prefix": Way("/api/v1/responses", {"model": "dear", "input": "x"}, "dear"),
    "cheap": Way(CHAT, {"model": "cheap", "messages": SAY}, "cheap"),
    "basic": Way(CHAT, {"model": "basic", "messages": SAY}, "basic"),
    "one of two": Way(CHAT, {"model": "dear", "models": ["cheap"], "messages": SAY}, "dear or cheap"),
}
EVERYTHING = {"law", "support", "law and support", "dear", "dear@faults", "cheap", "basic", "dear or cheap"}
BY_LAW = {"law", "dear", "dear@faults", "basic", "dear or cheap"}
RESTRICTIONS: dict[str, tuple[Caller, set[str]]] = {
    "nothing": (Caller(), EVERYTHING),
    "route support": (Caller(routes=("support",)), {"support", "cheap", "basic", "dear or cheap"}),
    "route law": (Caller(routes=("law",)), BY_LAW),
    "both routes": (Caller(routes=("law", "support")), EVERYTHING),
    "a route that is gone": (Caller(routes=("gone",)), {"basic"}),
    "model cheap": (Caller(models=("cheap",)), {"support", "cheap", "dear or cheap"}),
    "model dear": (Caller(models=("dear",)), {"law", "dear", "dear@faults", "dear or cheap"}),
    "a deployment": (Caller(models=("dear@faults",)), {"law", "dear", "dear@faults", "dear or cheap"}),
    "a model that is gone": (Caller(models=("gone",)), set()),
    "route support, model cheap": (
        Caller(routes=("support",), models=("cheap",)),
        {"support", "cheap", "dear or cheap"},
    ),
    "route law, model cheap": (Caller(routes=("law",), models=("cheap",)), set()),
}


class Served(NamedTuple):
    service: Service
    keys: dict[str, str]
    ids: dict[str, str]

    def call(self, key: str, method: str, path: str, **more: Any) -> httpx.Response:
        return self.service.client.request(method, path, headers={"authorization": f"Bearer {self.keys[key]}"}, **more)


@pytest.fixture(scope="module")
def served(faults: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with a key for each restriction; each may do everything that a scope can allow."""
    folder: Path = tmp_path_factory.mktemp("restrictions")
    (folder / "routes").mkdir()
    (folder / "routes" / "all.yaml").write_text(ROUTES.format(url=faults.url))
    database = SqliteDatabase(folder / "semroute.db")
    migrate(database)
    store = KeyStore(database)
    made = {name: store.create(caller) for name, (caller, _) in RESTRICTIONS.items()}
    database.close()
    keys = {name: token for name, (token, _) in made.items()}
    options = {"SEMROUTE_FEEDBACK_SECRET": "feedback-secret", "SEMROUTE_MAX_BODY_BYTES": str(MAX_BODY_BYTES)}
    with Service(folder / "routes", folder / "log", **options) as running:
        yield Served(running, keys, {name: caller.id for name, (_, caller) in made.items()})


@pytest.mark.parametrize("restriction", RESTRICTIONS)
def test_a_key_is_good_for_its_routes_and_models_however_they_are_named(served: Served, restriction: str) -> None:
    _, allowed = RESTRICTIONS[restriction]
    refused = set()
    for name, way in WAYS.items():
        answer = served.call(restriction, "POST", way.path, json=way.body)
        # The fault server has no embeddings: that it was asked says enough.
        assert answer.status_code in (200, 403) or (answer.status_code >= 400 and "embeddings" in name), answer.text
        if answer.status_code == 403:
            refused.add(name)
            assert "may not use" in answer.text
        elif way.names == "dear or cheap" and answer.status_code == 200:
            usable = {"dear", "cheap", "dear@faults"} if allowed == EVERYTHING else allowed
            assert answer.headers["x-semroute-model"] in usable
    assert refused == {name for name, way in WAYS.items() if way.names not in allowed}


@pytest.mark.parametrize(
    ("restriction", "routes", "models"),
    [
        ("nothing", {"law", "support"}, {"cheap", "dear", "dear@faults", "basic"}),
        ("route support", {"support"}, {"cheap", "basic"}),
        ("route law", {"law"}, {"dear", "dear@faults", "basic"}),
        ("model cheap", {"law", "support"}, {"cheap"}),
        ("a deployment", {"law", "support"}, {"dear@faults"}),
        ("route support, model cheap", {"support"}, {"cheap"}),
    ],
)
def test_a_key_is_shown_what_it_is_good_for(
    served: Served, restriction: str, routes: set[str], models: set[str]
) -> None:
    everything = {"auto:law", "auto:support", "cheap", "dear", "dear@faults", "basic"}
    mine = {f"auto:{route}" for route in routes} | models
    aliases = {"gpt-law": "auto:law", "gpt-help": "auto:support", "claude-basic": "basic"}
    mine |= {alias for alias, target in aliases.items() if target in mine}
    everything |= {*aliases, "claude-9"}
    listed = {model["id"] for model in served.call(restriction, "GET", "/v1/models").json()["data"]}
    google = {model["name"] for model in served.call(restriction, "GET", "/v1beta/models").json()["models"]}
    assert listed == {"auto"} | mine
    assert google == {f"models/{name}" for name in listed}
    mine |= {"claude-9"} if "dear" in mine else set()
    for name in everything:
        for version in ("v1", "v1beta"):
            found = served.call(restriction, "GET", f"/{version}/models/{name}").status_code
            assert found == (200 if name in mine else 404)
    shown = served.call(restriction, "GET", "/routes").json()
    assert {route["name"] for route in shown["routes"]} == routes
    assert {model for route in shown["routes"] for model in route["models"]} <= models
    assert set(shown["default"]) == models & {"basic"}


def test_a_key_builds_on_its_own_responses_alone(served: Served) -> None:
    first = served.call("nothing", "POST", "/v1/responses", json={"model": "cheap", "input": "x"}).json()
    ask = {"model": "cheap", "input": "y", "previous_response_id": first["id"]}
    item = {"type": "item_reference", "id": first["output"][0]["id"]}
    for key, status in (("both routes", 404), ("model cheap", 404), ("nothing", 200)):
        assert served.call(key, "POST", "/v1/responses", json=ask).status_code == status
        named = served.call(key, "POST", "/v1/responses", json={"model": "cheap", "input": [item]})
        assert named.status_code == status
        for path in ("", "/input_items"):
            assert served.call(key, "GET", f"/v1/responses/{first['id']}{path}").status_code == status
    assert served.call("both routes", "DELETE", f"/v1/responses/{first['id']}").status_code == 404
    assert served.call("nothing", "DELETE", f"/v1/responses/{first['id']}").status_code == 200


def test_what_a_request_builds_on_counts_as_its_body(served: Served) -> None:
    long = {"model": "cheap", "input": "x" * 60_000}
    first = served.call("nothing", "POST", "/v1/responses", json=long).json()
    item = {"type": "item_reference", "id": first["output"][0]["id"]}
    bare = {"model": "cheap", "input": "y"}
    assert served.call("nothing", "POST", "/v1/responses", json={**bare, "input": [item] * 3}).status_code == 200
    earlier = {**bare, "previous_response_id": first["id"], "input": "y" * (MAX_BODY_BYTES - 60_000)}
    for body in ({**bare, "input": [item] * (MAX_BODY_BYTES // 100)}, earlier):
        assert len(json.dumps(body)) < MAX_BODY_BYTES
        answer = served.call("nothing", "POST", "/v1/responses", json=body)
        assert answer.status_code == 413
        assert "builds on" in answer.json()["error"]["message"]


def test_a_kept_turn_can_be_counted_and_made_shorter(served: Served) -> None:
    first = served.call("nothing", "POST", "/v1/responses", json={"model": "cheap", "input": "word " * 2000}).json()
    for key, status in (("nothing", 200), ("both routes", 404)):
        ask = {"model": "cheap", "input": "y", "previous_response_id": first["id"]}
        counted = served.call(key, "POST", "/v1/responses/input_tokens", json=ask)
        shorter = served.call(key, "POST", "/v1/responses/compact", json=ask)
        assert (counted.status_code, shorter.status_code) == (status, status)
        if status == 200:
            assert counted.json()["input_tokens"] > 1000
            said = [item["content"][0]["text"] for item in shorter.json()["output"] if item["type"] == "message"]
            assert said == ["word " * 2000, "y"]
            assert served.call(key, "GET", f"/v1/responses/{shorter.json()['id']}").status_code == 404


def test_a_key_for_some_routes_or_models_passes_nothing_on(served: Served) -> None:
    for key in RESTRICTIONS:
        for method, path in (("POST", "/v1/moderations"), ("POST", "/v1/batches"), ("GET", "/v1/files/file-1/content")):
            answer = served.call(key, method, path, **({"json": {}} if method == "POST" else {}))
            assert (answer.status_code == 403) is (key not in ("nothing",))


def test_ollamas_clients_find_the_aliases_that_a_key_may_use(served: Served) -> None:
    for key, name, found in (
        ("nothing", "gpt-law", True),
        ("route support", "gpt-law", False),
        ("nothing", "claude-9", True),
        ("model cheap", "claude-9", False),
    ):
        tags = [model["name"] for model in served.call(key, "GET", "/api/tags").json()["models"]]
        assert (name in tags) is (found and name == "gpt-law")  # a pattern is no name
        status = 200 if found else 404
        assert served.call(key, "POST", "/api/show", json={"model": name}).status_code == status
        loaded = served.call(key, "POST", "/api/generate", json={"model": name})
        assert (loaded.status_code, loaded.json().get("model")) == (status, name if found else None)


def test_a_key_is_not_told_what_else_there_is(served: Served) -> None:
    for name in ("dea", "auto:la"):
        for key, told in (("nothing", True), ("route support", False), ("model cheap", False)):
            answer = served.call(key, "POST", CHAT, json={"model": name, "messages": SAY})
            assert (answer.status_code, "did you mean" in answer.text) == (404, told)
            assert f"{name.removeprefix('auto:')!r} does not exist" in answer.text


def test_an_alias_of_auto_is_no_model_for_embeddings(served: Served) -> None:
    answer = served.call("nothing", "POST", "/v1/embeddings", json={"model": "gpt-9", "input": "x"})
    assert answer.status_code == 400
    assert "model 'gpt-9' is an alias of auto, expected a model's id" in answer.text


def test_a_key_reads_the_log_of_its_routes_and_models_and_its_own(served: Served) -> None:
    service = served.service
    asked = {
        "law": {"prompt": LAW},
        "support": {"prompt": SUPPORT},
        "default": {"prompt": NEITHER},
        "pinned": {"prompt": "x", "model": "dear"},
    }
    ids = {
        name: served.call("nothing", "POST", "/complete", json=body).headers["x-semroute-decision"]
        for name, body in asked.items()
    }
    own = served.call("route support", "POST", "/complete", json={"prompt": NEITHER}).headers["x-semroute-decision"]
    assert until(lambda: served.call("nothing", "GET", f"/decisions/{own}").status_code == 200)
    sees = {
        "nothing": {"law", "support", "default", "pinned"},
        "route support": {"support"},
        "route law": {"law"},
        "model dear": {"law", "pinned"},
        "model cheap": {"support"},
        "route law, model cheap": set(),
        "a model that is gone": set(),
    }
    for key, seen in sees.items():
        rows = served.call(key, "GET", "/decisions?limit=500").json()["decisions"]
        assert {name for name, id_ in ids.items() if id_ in {row["id"] for row in rows}} == seen
        assert (own in {row["id"] for row in rows}) is (key in ("nothing", "route support"))
        if key != "nothing":
            caller = RESTRICTIONS[key][0]
            for row in rows:
                its = (not caller.routes or row["route"] in caller.routes) and (
                    not caller.models or (row["model"] or "").partition("@")[0] in caller.models
                )
                assert its or row["key_id"] == served.ids[key]
        for name, id_ in ids.items():
            statuses = {
                served.call(key, "GET", f"/decisions/{id_}").status_code,
                served.call(key, "POST", "/feedback", json={"decision": id_, "score": 1}).status_code,
                served.call(key, "POST", "/feedback/links", json={"decision": id_}).status_code,
            }
            assert statuses == ({200} if name in seen else {404})
    barred = served.call("route support", "POST", "/feedback", json={"decision": own, "label": "law"})
    assert (barred.status_code, "expected a route (support)" in barred.text) == (400, True)
    link = served.call("nothing", "POST", "/feedback/links", json={"decision": own}).json()["path"]
    told = service.client.post(link, json={"label": "nowhere"})
    assert (told.status_code, "support" in told.text) == (400, False)


def test_a_key_reads_the_sums_of_its_routes_or_models(served: Served) -> None:
    def values(key: str, by: str) -> set[str] | int:
        answer = served.call(key, "GET", f"/stats?by={by}")
        return {row["value"] for row in answer.json()["rows"]} if answer.status_code == 200 else answer.status_code

    for body in ({"prompt": LAW}, {"prompt": SUPPORT}, {"prompt": NEITHER}):
        served.call("nothing", "POST", "/complete", json=body)
    assert until(lambda: isinstance(found := values("nothing", "route"), set) and {"", "law", "support"} <= found)
    assert values("route support", "route") == {"support"}
    assert values("model cheap", "model") == {"cheap"}
    for by in ("all", "day", "tier", "key", "team", "feature"):
        assert values("nothing", by) != 403
        for key in ("route support", "model cheap", "route support, model cheap"):
            assert values(key, by) == 403
    assert {values(key, by) for key, by in (("route support", "model"), ("model cheap", "route"))} == {403}
    graded = {key: {row["route"] for row in served.call(key, "GET", "/learned").json()["rows"]} for key in RESTRICTIONS}
    assert graded["nothing"] == {"", "law", "support"} and "law" not in graded["route support"] | graded["model cheap"]
    for key in RESTRICTIONS:
        assert served.call(key, "GET", "/metrics").status_code == (200 if key == "nothing" else 403)
        budgets = served.call(key, "GET", "/budgets").json()["budgets"]
        shown = {row["name"].removeprefix("the budget ") for row in budgets}
        concerned = {
            "nothing": {"all", "for-law", "for-support", "for-dear", "for-cheap"},
            "route support": {"for-support", "for-cheap"},
            "model dear": {"for-law", "for-support", "for-dear"},
        }
        assert key not in concerned or shown == concerned[key]
