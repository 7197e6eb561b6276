"""Files as semantic-router writes them (0.0.72, 0.1.0 and 1.1.1)."""

from __future__ import annotations

import json
import sys

import pytest
import yaml

from semroute.config.import_semantic_router import read_semantic_router, render
from semroute.errors import RequestError

OLD_ROUTE: dict[str, object] = {
    "name": "politics",
    "utterances": ["isn't politics the best thing ever", "they will save the country!"],
    "description": None,
    "function_schemas": None,
    "llm": None,
    "score_threshold": 0.3,
    "metadata": {},
}
OLD: dict[str, object] = {"encoder_type": "openai", "encoder_name": "text-embedding-3-small", "routes": [OLD_ROUTE]}
NEW_ROUTE: dict[str, object] = {
    "name": "chit chat",
    "utterances": ["how's the weather: today", "lovely # day"],
    "description": "Small talk.",
    "confidence_threshold": 0.7,
    "metadata": {"team": "x"},
}
NEW: dict[str, object] = {
    "router_type": "indexed",
    "encoder": {"type": "fastembed", "name": "BAAI/bge-small-en-v1.5"},
    "sparse_encoder": None,
    "alpha": 0.7,
    "top_k": 5,
    "aggregation": "mean",
    "index": {"type": "local"},
    "confidence_threshold": None,
    "calibrator": None,
    "refresh_interval": None,
    "routes": [NEW_ROUTE],
}


def ours(value: object, file: str = "layer.json") -> dict[str, list[dict[str, object]]]:
    text = json.dumps(value) if file.endswith("json") else yaml.safe_dump(value)
    loaded: dict[str, list[dict[str, object]]] = yaml.safe_load(
        render(read_semantic_router(file, text), file, ["small", "large"])
    )
    return loaded


@pytest.mark.parametrize("file", ["layer.json", "layer.yaml", "layer.yml"])
def test_both_generations_are_read_in_both_formats(file: str) -> None:
    assert ours(OLD, file)["routes"] == [
        {"name": "politics", "utterances": OLD_ROUTE["utterances"], "models": ["small", "large"]}
    ]
    assert ours(NEW, file)["routes"] == [
        {
            "name": "chit-chat",
            "description": "Small talk.",
            "utterances": NEW_ROUTE["utterances"],
            "models": ["small", "large"],
        }
    ]


def test_what_cannot_be_carried_over_stands_as_comments() -> None:
    text = render(read_semantic_router("x.json", json.dumps(OLD)), "x\n.json", ["m"])
    assert "# Imported from x .json, a file of semantic-router." in text
    assert "# its encoder was openai text-embedding-3-small: semroute uses its own embedding model instead" in text
    assert "# score_threshold 0.3 is not carried over" in text
    new = render(read_semantic_router("x.json", json.dumps(NEW)), "x.json", ["m"])
    assert "`embedder: {model: BAAI/bge-small-en-v1.5}` uses it here too" in new
    assert '# its name was "chit chat"' in new
    assert "# confidence_threshold 0.7 is not carried over" in new


def test_what_routers_lose_stands_as_comments() -> None:
    hybrid = NEW | {"sparse_encoder": {"type": "bm25", "name": "stemmed"}, "confidence_threshold": 0.6}
    decision = {"router_type": "decision", "model": {"type": "gliner2"}, "routes": [OLD_ROUTE]}
    chain = {"router_type": "chain", "calibrator": {"method": "platt"}, "routers": [hybrid, decision]}
    text = render(read_semantic_router("x.json", json.dumps(chain)), "x.json", ["m"])
    assert "\n# it was a chain of routers: here their routes are matched together" in text
    assert "\n# its calibrator is not carried over" in text
    assert "\n# its sparse encoder bm25 stemmed (alpha 0.7) is not carried over" in text
    assert "\n# confidence_threshold 0.6 is not carried over" in text
    assert "\n# its decision model gliner2 is not carried over" in text
    assert '\n  # its metadata {"team": "x"} are not carried over' in text


def test_the_module_of_an_llm_is_not_imported() -> None:
    llm = {"module": "antigravity", "class": "Popen", "model": "gpt-4"}
    dynamic = OLD_ROUTE | {"llm": llm, "function_schemas": [{"name": "get_time"}]}
    text = render(read_semantic_router("x.json", json.dumps(OLD | {"routes": [dynamic]})), "x.json", ["m"])
    assert "antigravity" not in sys.modules
    assert "# its llm gpt-4 (antigravity.Popen) is not carried over" in text
    assert "# a dynamic route" in text


def test_the_one_function_of_an_early_dynamic_route_is_told() -> None:
    """Until version 0.0.20 a route held `function_schema`, a mapping."""
    dynamic = OLD_ROUTE | {"function_schema": {"name": "get_time"}}
    text = render(read_semantic_router("x.json", json.dumps(OLD | {"routes": [dynamic]})), "x.json", ["m"])
    assert "# a dynamic route" in text


def test_routers_within_routers_and_routes_given_twice_are_merged() -> None:
    again = NEW_ROUTE | {"utterances": ["lovely # day", "hello"]}
    chain = {"router_type": "chain", "routers": [NEW, {"router_type": "merge", "routers": [NEW | {"routes": [again]}]}]}
    (route,) = ours(chain)["routes"]
    assert route["utterances"] == ["how's the weather: today", "lovely # day", "hello"]


def test_a_bare_list_of_routes_is_read() -> None:
    assert ours([OLD_ROUTE, NEW_ROUTE])["routes"][1]["name"] == "chit-chat"


def test_names_and_utterances_are_made_unique() -> None:
    routes = [
        {"name": "a b", "utterances": ["one", "ONE ", "", 7, "two"]},
        {"name": "a-b", "utterances": ["Two", "three"]},
        {"name": "日本", "utterances": ["four"]},
        {"name": "empty", "utterances": []},
        {"name": "echo", "utterances": ["two"]},
    ]
    imported = read_semantic_router("x.json", json.dumps({"routes": routes}))
    assert [(route.name, route.utterances) for route in imported.routes] == [
        ("a-b", ("one", "ONE ", "two")),
        ("a-b-2", ("three",)),
        ("route", ("four",)),
    ]
    assert "2 utterances left out: they are blank, or not text" in imported.routes[0].notes
    assert '"Two" left out: a-b has it too' in imported.routes[1].notes
    assert imported.notes == tuple(
        f'route "{name}" is left out because it has no utterances: add some' for name in ("empty", "echo")
    )


def test_any_text_survives() -> None:
    odd = ['"quoted"', "tab\there", "line\nbreak", "\u2028separator", "😀", "# not a comment", "${HOME}", "- x: [y"]
    (route,) = ours({"routes": [{"name": "odd", "utterances": odd}]})["routes"]
    assert route["utterances"] == odd


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("x.toml", "", "unknown ending, expected .json, .yaml or .yml"),
        ("x.json", "{", "x.json:1: cannot be read: not valid JSON"),
        ("x.yaml", "a: [", "x.yaml: cannot be read: not valid YAML"),
        ("x.yaml", "!!python/object/apply:os.system [id]", "x.yaml: cannot be read: not valid YAML"),
        ("x.json", "[" * 100_000, "nested too deeply"),
        ("x.json", "3", "$: got 3, expected a mapping with `routes` or `routers`"),
        ("x.json", "{}", "got neither `routes` nor `routers`"),
        ("x.json", '{"routes": []}', "$.routes: got no routes"),
        ("x.JSON", '{"routes": 5}', "$.routes: got 5, expected a list of routes"),
        ("x.json", '{"routes": [null]}', "$.routes[0]: got null, expected a route"),
        ("x.json", '{"routes": [{"utterances": ["a"]}]}', "$.routes[0].name: got null, expected a string"),
        ("x.json", '{"routes": [{"name": "a", "utterances": "b"}]}', "$.routes[0].utterances: expected a list"),
        ("x.json", '{"routes": [{"name": "a", "utterances": []}]}', "none of its 1 routes has an utterance"),
        (
            "x.json",
            '{"router_type": "indexed", "index": {"type": "pinecone"}}',
            "the routes are stored in an index (pinecone), and the file only names it",
        ),
        ("x.json", '{"routers": [' * 22 + "]}" * 22, "routers nested deeper than 20"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_with_its_place(file: str, text: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_semantic_router(file, text)
    assert message in str(caught.value)
