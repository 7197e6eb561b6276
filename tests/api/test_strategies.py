"""The strategies as a caller sees them: held streams, the dial, contracts, the plan."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.conftest import models_yaml
from tests.providers.fault_server import FaultServer
from tests.providers.scenarios import TEXT
from tests.service import Service

ROUTES = """
models:
  later: {provider: faults, name: slow-150}
  again: {provider: faults, name: "ok@again"}
routes:
  - name: strict
    utterances: [alpha, beta, gamma, delta, epsilon]
    models: [ok, again]
    policy: {cascade: {checks: {contains: [not in any answer]}, on_exhausted: error}}
  - name: lenient
    utterances: [one, two, three, four, five]
    models: [ok]
    policy: {cascade: {checks: {min_chars: 1}}}
  - name: patient
    utterances: [alfa, bravo, charlie, oscar, tango]
    models: [later]
    policy: {timeouts: {first_token_s: 9, stall_s: 9, total_s: 9}, cascade: {checks: {min_chars: 1}}}
  - name: cheap
    utterances: [cent, penny, dime, quarter, nickel]
    models: [status-500, ok]
    policy: {select: cheapest, retry: {base_s: 0.001, cap_s: 0.01}}
  - name: machine
    utterances: [red, green, blue, black, white]
    models: [ok]
    output: {json_schema: {type: object}}
  - name: tiered
    utterances: [north, south, east, west, up]
    models: [ok]
    policy: {difficulty: {by: exemplars}}
tiers:
  - {tier: simple, utterances: [hello there, good morning, thanks a lot]}
  - {tier: complex, utterances: [prove the theorem, derive the equation, analyse the proof]}
"""


@pytest.fixture(scope="module")
def strategies(faults: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("strategies")
    (folder / "routes").mkdir()
    (folder / "routes" / "models.yaml").write_text(models_yaml(faults.url))
    (folder / "routes" / "routes.yaml").write_text(ROUTES)
    with Service(
        folder / "routes", folder / "log", FAULTS_KEY="sk-faults-0123456789", SEMROUTE_KEEPALIVE_S="0.5"
    ) as running:
        yield running


def test_a_stream_is_held_until_its_answer_passed_and_a_header_says_so(strategies: Service) -> None:
    body = {"prompt": "hello", "model": "auto:lenient", "stream": True}
    response = strategies.client.post("/complete", json=body)
    assert response.headers["x-semroute-held"] == "cascade"
    events = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]
    assert events[1]["content"] == TEXT
    plain = strategies.client.post("/complete", json={**body, "model": "ok"})
    assert "x-semroute-held" not in plain.headers


@pytest.mark.parametrize("path", ["/complete", "/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_a_held_stream_knows_what_it_cost_and_another_says_nothing_of_it(strategies: Service, path: str) -> None:
    said = {"input": "hello"} if path == "/v1/responses" else {"messages": [{"role": "user", "content": "hello"}]}
    money = ("x-semroute-cost-usd", "x-semroute-saved-usd")

    def told(model: str, *, stream: bool) -> list[str | None]:
        body = {**said, "model": model, "stream": stream, "max_tokens": 99}
        headers = strategies.client.post(path, json=body).headers
        return [headers.get(name) for name in money]

    assert told("auto:lenient", stream=True) == told("auto:lenient", stream=False) == ["0.000024", "0.000000"]
    assert told("auto:strict", stream=True) == told("auto:strict", stream=False)  # an error, after two calls
    assert told("ok", stream=True) == [None, None]
    assert told("ok", stream=False) == ["0.000024", "0.000000"]


def test_a_held_stream_says_so_before_any_answer_has_come(strategies: Service) -> None:
    body = {"prompt": "hello", "model": "auto:patient", "stream": True}
    with strategies.client.stream("POST", "/complete", json=body) as response:
        assert response.headers["x-semroute-held"] == "cascade"
        assert "x-semroute-model" not in response.headers  # none has answered yet
        assert TEXT in "".join(response.iter_text())


def test_each_attempt_says_why_it_was_not_good_enough(strategies: Service) -> None:
    response = strategies.client.post("/complete", json={"prompt": "hello", "model": "auto:strict"})
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "no_answer_passed"
    assert response.headers["x-semroute-attempts"] == "2"


def test_a_contract_reaches_the_provider(strategies: Service, faults: FaultServer) -> None:
    response = strategies.client.post("/complete", json={"prompt": "hello", "model": "auto:machine"})
    sent = json.dumps(faults.requests[-1], default=str)
    assert "json_schema" in sent
    assert (response.status_code, "breaks the route's `output`" in response.text) == (502, True)  # it says a greeting


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"cost_quality": 0.25}, {}),
        ({"metadata": {"cost_quality": 0.25}}, {}),
        ({}, {"x-semroute-cost-quality": "0.25"}),
    ],
)
def test_the_dial_comes_with_the_request(strategies: Service, body: dict[str, object], headers: dict[str, str]) -> None:
    decision = strategies.client.post("/route", json={"prompt": "hello", **body}, headers=headers).json()
    assert decision["cost_quality"] == 0.25
    assert decision["plan_details"][0]["why"] == "first by quality against cost at 0.25"


def test_a_dial_out_of_range_is_refused_in_the_body(strategies: Service) -> None:
    response = strategies.client.post("/route", json={"prompt": "hello", "cost_quality": 2})
    assert response.status_code == 400
    assert "cost_quality" in response.text


def test_exemplar_tiers_are_matched_as_routes_are(strategies: Service) -> None:
    body = {"prompt": "derive the equation and prove the theorem", "model": "auto:tiered"}
    decision = strategies.client.post("/route", json=body).json()
    assert decision["wants"] == "complex"
    assert decision["contributions"].keys() == {"complex"}


def test_a_conversation_stays_on_the_model_that_answered_also_under_a_policy_that_selects(strategies: Service) -> None:
    def asked(**fields: object) -> dict[str, object]:
        body = {"prompt": "which is worth more, penny or dime, cent or quarter", **fields}
        response = strategies.client.post("/complete", json=body, headers={"x-semroute-session": "coins"})
        decision: dict[str, object] = response.json()["decision"]
        return decision

    first, second = asked(), asked()
    assert (first["route"], first["plan"]) == ("cheap", ["status-500", "ok"])
    assert (second["reason"], second["plan"]) == ("sticky", ["ok", "status-500"])
    assert second["plan_details"][0]["why"].startswith("the conversation already uses it; ")  # type: ignore[index]  # a list
    assert asked(cost_quality=0)["plan"] == ["status-500", "ok"]
