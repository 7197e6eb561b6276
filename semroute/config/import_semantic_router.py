"""Convert route files of semantic-router, 0.x and 1.x. Nothing that the files name is imported or opened.

0.x (`RouteLayer.to_json`, `SemanticRouter.to_json`): `{encoder_type, encoder_name, routes}`, each route with
`score_threshold`, `function_schemas` and `llm: {module, class, model}`, which its own reader imports. 1.x (`to_json`,
`to_yaml`): `{router_type, encoder: {type, name}, routes}` with `confidence_threshold`; others hold `routers`.
Sources: semantic_router/layer.py 0.0.72, routers/base.py 0.1.0, config.py 1.1.1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml

from semroute.bases import Frozen
from semroute.config.check_config import ROUTE_NAME
from semroute.config.error_wording import got, words
from semroute.config.schema.routes import MAX_ROUTE_NAME
from semroute.errors import RequestError

MAX_DEPTH = 20
"""How deeply routers may be nested."""


class ImportedRoute(Frozen, frozen=True, kw_only=True):
    """A route, and notes on what could not be carried over."""

    name: str
    description: str
    utterances: tuple[str, ...]
    notes: tuple[str, ...]


class Imported(Frozen, frozen=True, kw_only=True):
    """All routes of a file."""

    routes: tuple[ImportedRoute, ...]
    notes: tuple[str, ...]
    """Notes on the file as a whole, and on routes that were left out."""


def read_semantic_router(file: str, text: str) -> Imported:
    """Read a file by its ending: `.json`, `.yaml` or `.yml`. Raises `RequestError`, which says what is wrong."""
    value = _decode(file, text)
    notes: list[str] = []
    entries = list(_entries(file, value, "$", notes))
    merged: dict[str, list[dict[str, Any]]] = {}
    for place, entry in entries:
        merged.setdefault(_string(file, place, entry, "name"), []).append(entry)
    if not merged:
        raise RequestError(f"{file} $.routes: got no routes, expected at least one")
    taken: dict[str, str] = {}
    names: set[str] = set()
    routes = []
    for name, parts in merged.items():
        route = _route(name, parts, taken, names)
        if route.utterances:
            routes.append(route)
            names.add(route.name)
        else:
            told = json.dumps(name, ensure_ascii=False)
            notes.append(f"route {told} is left out because it has no utterances: add some")
    if not routes:
        raise RequestError(f"{file}: none of its {len(merged)} routes has an utterance, so there is nothing to match")
    return Imported(routes=tuple(routes), notes=tuple(dict.fromkeys(notes)))


def render(imported: Imported, source: str, models: Sequence[str]) -> str:
    """Render a semroute route file. Comments say what could not be carried over."""
    lines = [
        "# yaml-language-server: $schema=./schema.json",
        f"# Imported from {_line(source)}, a file of semantic-router.",
    ]
    lines += [f"# {_line(note)}" for note in imported.notes]
    lines.append("routes:")
    plan = ", ".join(map(_quoted, models))
    for route in imported.routes:
        lines += [f"  # {_line(note)}" for note in route.notes]
        lines.append(f"  - name: {_quoted(route.name)}")
        if route.description:
            lines.append(f"    description: {_quoted(route.description)}")
        lines.append("    utterances:")
        lines += [f"      - {_quoted(utterance)}" for utterance in route.utterances]
        lines.append(f"    models: [{plan}]")
    return "\n".join(lines) + "\n"


def _decode(file: str, text: str) -> object:
    try:
        if file.lower().endswith(".json"):
            return json.loads(text)
        if file.lower().endswith((".yaml", ".yml")):
            return yaml.safe_load(text)
    except json.JSONDecodeError as error:
        raise RequestError(f"{file}:{error.lineno}: cannot be read: not valid JSON: {error.msg}") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise RequestError(f"{file}: cannot be read: not valid YAML: {reason}") from None
    except RecursionError:
        raise RequestError(f"{file}: cannot be read: nested too deeply") from None
    raise RequestError(f"{file}: got an unknown ending, expected .json, .yaml or .yml")


def _entries(file: str, value: object, place: str, notes: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each route of all routers, with its place."""
    if place.count(".routers") > MAX_DEPTH:
        raise RequestError(f"{file} {place}: routers nested deeper than {MAX_DEPTH}")
    if isinstance(value, list):  # a bare list of routes
        yield from _items(file, value, place)
        return
    if not isinstance(value, dict):
        raise RequestError(f"{file} {place}: got {got(value)}, expected a mapping with `routes` or `routers`")
    notes += _router_notes(value)
    routers = value.get("routers")
    if isinstance(routers, list):
        for number, router in enumerate(routers):
            yield from _entries(file, router, f"{place}.routers[{number}]", notes)
    elif isinstance(value.get("routes"), list):
        yield from _items(file, value["routes"], f"{place}.routes")
    elif isinstance(value.get("index"), dict) and value.get("routes") is None:
        kind = value["index"].get("type")
        raise RequestError(f"{file} {place}: the routes are stored in an index ({kind}), and the file only names it")
    elif value.get("routes") is not None:
        raise RequestError(f"{file} {place}.routes: got {got(value['routes'])}, expected a list of routes")
    else:
        raise RequestError(f"{file} {place}: got neither `routes` nor `routers`, expected a file of semantic-router")


def _items(file: str, items: Iterable[object], place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            raise RequestError(f"{file} {place}[{number}]: got {got(item)}, expected a route")
        if not isinstance(item.get("utterances", []), list):
            raise RequestError(f"{file} {place}[{number}].utterances: expected a list")
        yield f"{place}[{number}]", item


def _string(file: str, place: str, entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value.strip():
        raise RequestError(f"{file} {place}.{key}: got {json.dumps(value, default=str)}, expected a string")
    return value


def _router_notes(router: dict[str, Any]) -> Iterator[str]:
    """Say which settings of a router are lost, and what replaces its encoder."""
    encoder = router.get("encoder")
    kind, name = router.get("encoder_type"), router.get("encoder_name")
    if isinstance(encoder, dict):
        kind, name = encoder.get("type"), encoder.get("name")
    if kind == "fastembed" and name:
        yield f"its encoder was fastembed's {name}: `embedder: {{model: {name}}}` uses it here too"
    elif kind:
        yield f"its encoder was {_kind(kind, name)}: semroute uses its own embedding model instead"
    sparse, model = router.get("sparse_encoder"), router.get("model")
    if isinstance(sparse, dict):
        named = _kind(sparse.get("type"), sparse.get("name"))
        yield f"its sparse encoder {named} (alpha {router.get('alpha')}) is not carried over"
    if isinstance(model, dict):
        named = _kind(model.get("type"), model.get("name"))
        yield f"its decision model {named} is not carried over: here utterances decide, not descriptions"
    if router.get("router_type") in ("chain", "merge"):
        yield f"it was a {router['router_type']} of routers: here their routes are matched together"
    if router.get("calibrator"):
        yield "its calibrator is not carried over: confidences here are calibrated on the utterances"
    yield from _threshold_notes(router)


def _kind(kind: object, name: object) -> str:
    return f"{kind} {name}" if name else f"{kind}"


def _threshold_notes(part: dict[str, Any]) -> Iterator[str]:
    """Say which thresholds of a router or a route are lost."""
    for key in ("score_threshold", "confidence_threshold"):
        if part.get(key) is not None:
            yield f"{key} {part[key]} is not carried over: confidences here are on another scale (see `semroute tune`)"


def _route(name: str, parts: Sequence[dict[str, Any]], taken: dict[str, str], names: set[str]) -> ImportedRoute:
    """Make one route of all parts with one name. `taken`: by utterance, the route that has it already."""
    notes = []
    ours = _free_name(name, names)
    if ours != name:
        notes.append(f"its name was {json.dumps(name, ensure_ascii=False)}")
    utterances: list[str] = []
    skipped = 0
    for utterance in (utterance for part in parts for utterance in part.get("utterances") or ()):
        if not isinstance(utterance, str) or not utterance.strip():
            skipped += 1
            continue
        owner = taken.setdefault(words(utterance), ours)
        if owner != ours:
            notes.append(f"{json.dumps(utterance, ensure_ascii=False)} left out: {owner} has it too")
        elif utterance not in utterances:
            utterances.append(utterance)
    if skipped:
        notes.append(f"{skipped} utterances left out: they are blank, or not text")
    for part in parts:
        notes += _part_notes(part)
    description = next((part["description"] for part in parts if isinstance(part.get("description"), str)), "")
    return ImportedRoute(name=ours, description=description, utterances=tuple(utterances), notes=tuple(notes))


def _free_name(name: str, names: set[str]) -> str:
    sound = name if ROUTE_NAME.fullmatch(name) else re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "route"
    ours = sound = sound[:MAX_ROUTE_NAME]
    number = 1
    while ours in names:
        number += 1
        ours = f"{sound[: MAX_ROUTE_NAME - len(f'-{number}')]}-{number}"
    return ours


def _part_notes(part: dict[str, Any]) -> Iterator[str]:
    yield from _threshold_notes(part)
    if part.get("function_schemas") or part.get("function_schema"):  # one, until version 0.0.20
        yield "a dynamic route: its function schemas are not carried over, pass `tools` with the request"
    llm = part.get("llm")
    if isinstance(llm, dict):
        named = f"{llm.get('module')}.{llm.get('class')}"
        yield f"its llm {llm.get('model')} ({named}) is not carried over: name it in `models`"
    if part.get("metadata"):
        yield f"its metadata {json.dumps(part['metadata'], ensure_ascii=False, default=str)} are not carried over"


def _quoted(text: str) -> str:
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # JSON may hold a lone surrogate
    return str(yaml.safe_dump(text, default_style='"', allow_unicode=True, width=1_000_000)).strip()


def _line(text: str) -> str:
    """Put the text of a comment on one line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
