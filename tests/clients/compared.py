"""What a client must see through semroute, given what it sees at the provider: the same, or better."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.clients.theatre import DIRECT, Seen
from tests.vendors.server import GREETING, RESULT, WRITTEN

TEXT, TOLD = "".join(GREETING), "".join(RESULT)
VALUE = {"city": "Paris", "population": 2100000}
DONE = [["get_time", "CET"], ["get_weather", "Paris"]]
WANTED: dict[str, dict[str, Any]] = {
    "text": {"text": TEXT, "error": ""},
    "stream": {"text": TEXT, "error": ""},
    "tools": {"text": TOLD, "error": ""},
    "json": {"error": ""},
    "json_stream": {"error": ""},
    "continued": {"text": TEXT, "error": ""},
    "limited": {"text": TEXT, "error": ""},
}
"""What a scene is that goes well."""
CAUSE = "the provider closed the connection"


def problems(seen: Seen) -> dict[tuple[str, str, str], str]:
    """By wire, provider and scene, what is not as good as directly."""
    found = {}
    for (wire, run, scene), got in seen.items():
        direct = seen.get((wire, DIRECT, scene), got)
        wrong = list(_own(scene, got) if run == DIRECT else _through(wire, run, scene, got, direct))
        if wrong:
            found[wire, run, scene] = "; ".join(wrong)
    return found


def _own(scene: str, got: dict[str, Any]) -> Iterator[str]:
    """Directly: what shows that the client was driven rightly."""
    if scene == "limited" and got["error"]:
        return  # it does not ask again
    for name, value in WANTED.get(scene, {}).items():
        if got[name] != value:
            yield f"{name}: got {got[name]!r}, expected {value!r}; it said {got['said'][:300]!r}"
    if scene in ("json", "json_stream") and str(VALUE) not in str(got["value"]):
        yield f"value: got {got['value']!r}, expected {VALUE!r}"
    if scene == "tools" and _sorted(got["done"]) not in ([], DONE):  # a coding agent runs tools of its own
        yield f"done: got {got['done']!r}, expected {DONE!r}"
    if scene in ("break", "unknown") and not got["error"]:
        yield "no error"


def _through(wire: str, run: str, scene: str, got: dict[str, Any], direct: dict[str, Any]) -> Iterator[str]:
    if scene == "break":
        yield from _broken(got, direct)
    elif scene == "unknown":
        if not got["error"] or f"{run}-unknown" not in got["said"]:
            yield f"no error that names the model: got {got['error']!r}, {got['said'][:300]!r}"
    else:
        for name, value in WANTED[scene].items():
            if got[name] != value:
                yield f"{name}: got {got[name]!r}, expected {value!r}; it said {got['said'][:300]!r}"
        for name in ("value", "usage", "done"):
            if scene != "limited" and _sorted(got[name]) not in _same(wire, run, name, direct):
                yield f"{name}: got {got[name]!r}, expected {direct[name]!r}"


def _broken(got: dict[str, Any], direct: dict[str, Any]) -> Iterator[str]:
    if not got["text"].startswith(direct["text"]):
        yield f"text: got {got['text']!r}, expected {direct['text']!r}"
    if not got["error"]:
        yield "no error"
    elif CAUSE not in got["said"]:
        yield f"an error that names no cause: {got['error']} {got['said'][:300]!r}"


def _same(wire: str, run: str, name: str, direct: dict[str, Any]) -> list[Any]:
    """What counts as the same. Gemini does not tell what it wrote to its cache: there that is plain input."""
    value = _sorted(direct[name])
    if name == "usage" and value and wire == "anthropic" and run == "gemini":
        return [value, [value[0] + WRITTEN, *value[1:]]]
    return [value]


def _sorted(value: Any) -> Any:
    """Tools may run in any order."""
    return sorted(value) if value and isinstance(value[0] if isinstance(value, list) else None, list) else value
