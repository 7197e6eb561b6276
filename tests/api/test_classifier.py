"""A small model as the router: a real one-label server, asked through the gateway."""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from semroute import Router
from semroute.gateway.gateway import Gateway
from semroute.gateway.serving import InService, Serving
from semroute.messages import ChatRequest, Message, Text
from semroute.providers.transport import Transport
from tests.conftest import ROUTES, models_yaml
from tests.providers.fault_server import FaultServer
from tests.service import Service
from tests.vendors.server import Refused, Vendor, VendorServer

DEADLINE_S = 0.5


class Labeller(Vendor):
    """Answers with the label that the prompt names in brackets; `[slow]` never comes, `[broken]` is no label."""

    over = threading.Event()

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        if not path.endswith("/chat/completions") or (body.get("response_format") or {}).get("type") != "json_object":
            raise Refused(400, {"error": {"message": "expected a chat in JSON mode"}})
        said = body["messages"][-1]["content"].partition("[")[2].partition("]")[0]
        if said == "slow":
            self.over.wait()
        if said == "down":
            raise Refused(401, {"error": {"message": "no"}})
        content = "I would say billing." if said == "broken" else json.dumps({"label": said})
        message = {"role": "assistant", "content": content}
        return {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        }


@pytest.fixture(scope="module")
def labeller() -> Iterator[VendorServer]:
    with VendorServer(Labeller()) as server:
        yield server
        Labeller.over.set()


@pytest.fixture(scope="module")
def classified(
    faults: FaultServer, labeller: VendorServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("classified")
    with Service(write(folder / "routes", faults, labeller), folder / "log", FAULTS_KEY="sk-faults-0123") as running:
        yield running


def write(folder: Path, faults: FaultServer, labeller: VendorServer, more: str = "") -> Path:
    folder.mkdir()
    (folder / "models.yaml").write_text(models_yaml(faults.url))
    (folder / "routes.yaml").write_text(ROUTES)
    (folder / "classifier.yaml").write_text(f"""
providers: {{labels: {{dialect: openai, base_url: "{labeller.url}/v1", api_key: sk-labels-0123}}}}
models:
  labeller: {{provider: labels, name: tiny, input_price: 1, output_price: 2, breaker: {{failures: 99, min_calls: 99}}}}
classifier: {{model: labeller, deadline_s: {DEADLINE_S}{more}}}
""")
    return folder


def complete(service: Service, prompt: str, **fields: Any) -> dict[str, Any]:
    response = service.client.post("/complete", json={"prompt": prompt, **fields})
    response.raise_for_status()
    said: dict[str, Any] = response.json()
    return said


def test_its_label_decides_and_its_call_is_in_the_books(classified: Service, labeller: VendorServer) -> None:
    said = complete(classified, "I want my money back [coding]")
    decision = said["decision"]
    assert (decision["route"], decision["reason"]) == ("coding", "classifier")
    assert decision["explanation"] == "the classifier says coding"
    assert decision["candidates"][0]["route"] == "billing"  # what the embedding says is still told
    instruction = labeller.last.body["messages"][0]["content"]
    assert "- billing: Invoices, refunds and payment problems." in instruction
    first = said["attempts"][0]
    assert (first["model"], first["purpose"], first["cost_usd"]) == ("labeller", "classifier", 0.00012)
    assert said["cost_usd"] == pytest.approx(sum(one["cost_usd"] for one in said["attempts"]))


def test_the_same_prompt_is_asked_once(classified: Service, labeller: VendorServer) -> None:
    before = len(labeller.requests)
    said = [complete(classified, "type hints for this, please [billing]") for _ in range(3)]
    assert [one["decision"]["route"] for one in said] == ["billing"] * 3
    assert len(labeller.requests) == before + 1
    assert [len(one["attempts"]) for one in said] == [2, 1, 1]


def test_after_its_deadline_the_semantic_decision_stands(classified: Service, labeller: VendorServer) -> None:
    decision = complete(classified, "why was I charged twice this month [slow]")["decision"]
    assert (decision["route"], decision["reason"]) == ("billing", "semantic")
    before = len(labeller.requests)
    complete(classified, "why was I charged twice this month [slow]")
    assert len(labeller.requests) == before + 1  # what came too late is not remembered


@pytest.mark.parametrize("said", ["broken", "down", "no-such-route"])
def test_without_a_known_label_the_semantic_decision_stands(classified: Service, said: str) -> None:
    decision = complete(classified, f"why was I charged twice this month [{said}]")["decision"]
    assert (decision["route"], decision["reason"]) == ("billing", "semantic")


def test_where_it_says_that_no_route_fits_the_default_takes_it(classified: Service) -> None:
    decision = complete(classified, "why was I charged twice this month [none]")["decision"]
    assert (decision["route"], decision["reason"]) == (None, "default")
    assert decision["explanation"] == "the classifier says that no route fits: the default takes it"
    assert decision["candidates"][0]["route"] == "billing"


@pytest.mark.parametrize("fields", [{"metadata": {"workload": "batch"}}, {"model": "auto:billing"}, {"model": "ok"}])
def test_rules_and_pins_come_first_and_ask_nothing(
    classified: Service, labeller: VendorServer, fields: dict[str, Any]
) -> None:
    before = len(labeller.requests)
    assert complete(classified, "anything [coding]", **fields)["decision"]["reason"] in ("rule", "pinned")
    assert len(labeller.requests) == before


def test_it_may_be_asked_for_certain_routes_alone(faults: FaultServer, labeller: VendorServer, tmp_path: Path) -> None:
    folder = write(tmp_path / "routes", faults, labeller, ", routes: [coding]")
    with Service(folder, tmp_path / "log", FAULTS_KEY="sk-faults-0123") as service:
        before = len(labeller.requests)
        assert complete(service, "I want my money back [coding]")["decision"]["reason"] == "semantic"
        assert len(labeller.requests) == before
        python = "write a python function that merges two sorted lists [billing]"
        assert complete(service, python)["decision"]["route"] == "billing"
        assert len(labeller.requests) == before + 1


async def test_it_costs_what_its_model_does_that_day(labeller: VendorServer, tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(f"""
providers: {{labels: {{dialect: openai, base_url: "{labeller.url}/v1", api_key: sk-labels-0123}}}}
models:
  tiny:
    provider: labels
    name: tiny
    prices: [{{from: 2020-01-01, input: 1, output: 2}}, {{from: 2999-01-01, input: 10, output: 20}}]
default: {{models: [tiny]}}
classifier: {{model: tiny}}
routes: [{{name: billing, utterances: [I want my money back, why was I charged twice], models: [tiny]}}]
""")
    costs, transport = [], Transport()
    gateway = Gateway(InService(Serving.open(Router.load(tmp_path), transport)), lambda _: None, clock=lambda: at)
    for day in (datetime.date(2998, 12, 31), datetime.date(2999, 1, 1)):
        at = datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC).timestamp()
        message = Message(role="user", parts=(Text(text=f"{day} [billing]"),))
        call = await gateway.open(ChatRequest(id="r", messages=(message,)))
        costs.append(call.account.record.cost_usd)
    await gateway.aclose()
    await transport.aclose()
    assert costs == [Decimal("0.00012"), Decimal("0.0012")]
