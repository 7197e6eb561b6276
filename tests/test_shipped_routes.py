"""The routes that a newcomer starts with."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from semroute import Router
from semroute.config.jsonschema import json_schema
from semroute.config.load import read
from semroute.dialects.registry import provider_dialect
from semroute.evaluation.measure import decide_rows, measure, read_rows
from semroute.messages import ChatRequest, Message, Text
from tests.conftest import ROOT

FOLDER = ROOT / "routes"
ENDPOINTS = {  # as the vendors document them
    "openai": "https://api.openai.com/v1/responses",
    "anthropic": "https://api.anthropic.com/v1/messages",
    "gemini": "https://generativelanguage.googleapis.com/v1beta/models/{name}:generateContent",
    "groq": "https://api.groq.com/openai/v1/chat/completions",
    "mistral": "https://api.mistral.ai/v1/chat/completions",
    "deepseek": "https://api.deepseek.com/chat/completions",
    "openrouter": "https://openrouter.ai/api/v1/chat/completions",
    "local": "http://localhost:11434/v1/chat/completions",
}


@pytest.fixture(scope="module")
def router() -> Router:
    return Router.load(FOLDER)


def test_they_are_many_and_varied(router: Router) -> None:
    routes = router.config.routes.values()
    assert len(routes) >= 8
    assert all(len(route.utterances) >= 10 for route in routes)
    assert all(route.description for route in routes)


def test_they_have_no_problem_but_unset_keys() -> None:
    config, problems = read(FOLDER, {})
    assert config is not None
    assert [p for p in problems if "API_KEY" not in p.message] == []


def test_their_models_are_called_where_the_vendors_serve_them(router: Router) -> None:
    request = ChatRequest(id="1", messages=(Message(role="user", parts=(Text(text="Hi"),)),))
    for model in router.config.models.values():
        provider = router.config.providers[model.provider]
        path = provider_dialect(provider).render_request(request, model).path
        assert provider.base_url + path == ENDPOINTS[provider.id].format(name=model.name)


def test_every_hosted_model_takes_tools_and_json(router: Router) -> None:
    assert all({"tools", "json"} <= set(model.features) for model in router.config.models.values())


def test_their_schema_is_up_to_date_and_holds() -> None:
    schema = json.loads((FOLDER / "schema.json").read_text("utf-8"))
    assert schema == json.loads(json.dumps(json_schema())), "run: semroute schema > routes/schema.json"
    for file in FOLDER.glob("*.yaml"):
        text = file.read_text("utf-8")
        assert text.startswith("# yaml-language-server: $schema=./schema.json")
        jsonschema.validate(yaml.safe_load(text), schema)


def test_the_evaluation_file_is_held_out(router: Router) -> None:
    rows = read_rows(FOLDER / "eval.jsonl", router.config.routes)
    assert len(rows) >= 150
    assert sum(row.route is None for row in rows) >= 30
    utterances = {u.casefold() for route in router.config.routes.values() for u in route.utterances}
    assert not utterances & {row.text.casefold() for row in rows}


def test_they_decide_well(router: Router) -> None:
    evaluation = measure(decide_rows(router, read_rows(Path(FOLDER / "eval.jsonl"), router.config.routes)))
    assert evaluation.accuracy is not None
    assert evaluation.accuracy >= 0.7
    assert evaluation.in_scope_accuracy is not None
    assert evaluation.in_scope_accuracy >= 0.8
    assert evaluation.oos_auroc is not None
    assert evaluation.oos_auroc >= 0.9
