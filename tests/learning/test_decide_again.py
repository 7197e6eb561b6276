"""What the log keeps is enough to decide again: exactly with features or text, nearly with the vector alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from semroute import Router
from semroute.config.schema.service import LogSettings
from semroute.decision import Signals
from semroute.gateway.request_features import Evidence, packed_features
from semroute.learning.decide_again import Again, Decider
from semroute.learning.logged_decisions import LoggedDecision, LoggedDecisions
from semroute.messages import ChatRequest, Message, Text
from tests.service import Service

POLICY = """
log: {content: CONTENT, features: FEATURES}
rules:
  - {name: urgent, when: {keywords: [urgent]}, models: [status-500, ok]}
  - {name: long, when: {max_tokens: {gt: 5000}}, models: [ok]}
  - {name: eu, when: {headers: {x-region: [eu]}}, only: {models: [ok]}}
  - {name: vip, when: {metadata: {plan: vip}}, only: {models: [status-500]}}
"""
PROMPTS: list[dict[str, Any]] = [
    {"prompt": "why was I charged twice this month"},
    {"prompt": "URGENT: I want my money back"},
    {"prompt": "write a python function that merges two sorted lists and tell me what the pro plan costs"},
    {"prompt": "wie wird das Wetter morgen in der Stadt"},
    {"prompt": "refactor this class", "metadata": {"plan": "vip"}},
    {"prompt": "refactor this class", "max_tokens": 6000},
    {"prompt": "my card was declined", "metadata": {"workload": "batch"}},
    {
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "why does this loop never end"},
            {"role": "assistant", "content": "no idea"},
            {"role": "user", "content": "why?"},
        ]
    },
    {"prompt": "what is the capital of France"},
    {"prompt": "refactor this class please, it cannot be tested", "model": "auto:coding"},
    {"prompt": "where is my invoice", "model": "ok"},
]
OTHER = """
routes:
  - name: money
    description: Invoices, refunds and payment problems.
    utterances: [why was I charged twice this month, I want my money back, what does the pro plan cost per seat]
    models: [status-500]
  - name: programs
    utterances: [write a python function that merges two sorted lists, why does this loop never end, refactor this]
    models: [ok, status-500]
"""


@pytest.fixture(scope="module")
def logs(
    write_routes: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[Path, list[LoggedDecision]]]]:
    """Serve the same requests with two settings of the log. Rows with less are made from these."""
    found = {}
    for name, content in (("features", "none"), ("text", "full")):
        folder = tmp_path_factory.mktemp(name)
        routes = write_routes(folder / "routes")
        features = str(name == "features").lower()
        (routes / "log.yaml").write_text(POLICY.replace("CONTENT", content).replace("FEATURES", features))
        with Service(routes, folder / "log", FAULTS_KEY="sk-faults-0123456789") as service:
            for body in PROMPTS:
                service.client.post("/route", json=body, headers={"x-region": "eu"}).raise_for_status()
        found[name] = routes, list(LoggedDecisions(f"sqlite:///{service.database}"))
        assert len(found[name][1]) == len(PROMPTS)
    routes, rows = found["features"]
    found["vector"] = routes, [msgspec.structs.replace(row, features=None) for row in rows]
    yield found


def told(again: Again) -> tuple[Any, ...]:
    assert again.decision is not None
    return again.row.route, again.row.decision.plan, again.decision.route, again.decision.plan


@pytest.mark.parametrize("kept", ["features", "text"])
def test_the_same_route_files_decide_the_same(logs: Any, kept: str) -> None:
    routes, rows = logs[kept]
    for again in Decider(Router.load(routes)).decide(rows):
        then, now = again.row.decision, again.decision
        assert now is not None
        assert (now.route, now.plan, now.reason, now.confidence, now.rule, now.asks, now.narrowed_by) == (
            then.route,
            then.plan,
            then.reason,
            then.confidence,
            then.rule,
            then.asks,
            then.narrowed_by,
        )
        assert again.missing == frozenset()


@pytest.mark.parametrize("kept", ["features", "text"])
def test_other_route_files_decide_as_they_would_have_then(logs: Any, kept: str, tmp_path: Path) -> None:
    routes, rows = logs[kept]
    (tmp_path / "models.yaml").write_text((routes / "models.yaml").read_text())
    (tmp_path / "routes.yaml").write_text(OTHER)
    router = Router.load(tmp_path)
    decided = Decider(router).decide(rows)
    for body, again in zip(PROMPTS, decided, strict=True):
        if "metadata" in body or "max_tokens" in body or "messages" in body or "model" in body:
            continue
        if kept == "features" and again.row.decision.rule is not None:  # no embedding was made then
            assert again.why_not == "they must be matched now, and neither text nor vector is kept"
            continue
        fresh = router.route(body["prompt"])
        assert again.decision is not None
        assert (again.decision.route, again.decision.confidence, again.decision.plan) == (
            fresh.route,
            fresh.confidence,
            fresh.plan,
        )
        # Whether a text is foreign also depends on the words of the nearest utterance.
        foreign = kept == "features" and body["prompt"].startswith("wie wird")
        assert again.missing == ({"the language of the prompt"} if foreign else frozenset())
    gone = {again.why_not for again in decided if again.decision is None}
    assert "they ask for a model or a route that does not exist now" in gone


def test_a_rule_that_reads_what_is_not_kept_makes_a_guess(logs: Any, tmp_path: Path) -> None:
    routes, rows = logs["features"]
    for file in ("models.yaml", "routes.yaml"):
        (tmp_path / file).write_text((routes / file).read_text())
    (tmp_path / "log.yaml").write_text("rules: [{name: new, when: {keywords: [class]}, models: [ok]}]\n")
    guessed = {missing for again in Decider(Router.load(tmp_path)).decide(rows) for missing in again.missing}
    assert guessed == {"the words of the prompt"}
    (tmp_path / "log.yaml").write_text("rules: [{name: new, when: {metadata: {tier: gold}}, models: [ok]}]\n")
    guessed = {missing for again in Decider(Router.load(tmp_path)).decide(rows) for missing in again.missing}
    assert guessed == {"a key of the metadata"}


def test_a_vector_alone_is_nearly_enough(logs: Any) -> None:
    routes, rows = logs["vector"]
    decider = Decider(Router.load(routes))
    decided = decider.decide(rows)
    assert {again.basis for again in decided} == {"vector", "nothing matched"}
    assert all(again.missing for again in decided if again.basis == "vector")
    same = [told(again)[:2] == told(again)[2:] for again in decided if again.decision is not None]
    assert sum(same) >= len(rows) - 2
    alone = decider.by_vector(rows[0])
    assert alone is not None
    assert decided[0].decision is not None
    assert alone.candidates == decided[0].decision.candidates


def test_features_hold_no_text(logs: Any) -> None:
    _, rows = logs["features"]
    packed = json.dumps([str(row) for row in rows])
    assert "charged" not in packed.replace("why was I charged twice this month", "")  # the utterance, not the prompt
    assert all(row.prompt is None for row in rows)


def test_vectors_of_another_encoder_are_recognised(logs: Any) -> None:
    routes, rows = logs["features"]
    other = [
        msgspec.structs.replace(row, features=msgspec.structs.replace(row.features, encoder="another")) for row in rows
    ]
    decided = Decider(Router.load(routes)).decide(other)
    alone = [msgspec.structs.replace(row, features=None, encoder="another") for row in rows]
    assert all(again.basis != "vector" for again in Decider(Router.load(routes)).decide(alone))
    assert {row.encoder for row in rows if row.vector is not None} == {Router.load(routes).embedder.fingerprint}
    told = {again.why_not for again in decided if again.row.features is not None and again.row.features.asks}
    assert told == {"their vectors are of another encoder, and their text is not kept"}


@pytest.mark.parametrize("value", [10**30, "half of a pair: \ud83d"])
def test_what_cannot_be_packed_keeps_no_features(value: object, logs: Any) -> None:
    routes, _ = logs["features"]
    router = Router.load(routes)
    request = ChatRequest(
        id="r", messages=(Message(role="user", parts=(Text(text="hello"),)),), metadata={"plan": value}
    )
    facts = router.read_facts(request)
    [reading] = router.read([facts.ask])
    keep, evidence = LogSettings(features=True), Evidence(request, Signals(), None, None)
    assert packed_features(router, facts, reading, evidence, keep, None) == b""
    small = msgspec.structs.replace(facts, metadata={"plan": "x" * 10_000})
    assert 0 < len(packed_features(router, small, reading, evidence, keep, None)) < 4000
