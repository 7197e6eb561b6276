"""One server that speaks every vendor's format and plays a scene: the model's name ends with it.

    text      a greeting, whatever tools are offered
    tools     calls tools until it was told `TOLD`, then says so
    json      an object, as text or as the call of the one tool that is offered
    break     one piece of a greeting; then the connection is cut
    limited   429 to the first request, then a greeting
    unknown   the vendor's word that there is no such model

The same address serves a client directly and semroute as a provider. `POST /forget` forgets what was asked, and answers
with how often something was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.vendors import anthropic, gemini, ollama, openai
from tests.vendors.anthropic import AnthropicVendor
from tests.vendors.gemini import GeminiVendor
from tests.vendors.ollama import OllamaVendor
from tests.vendors.openai import OpenAIVendor
from tests.vendors.responses import ResponsesVendor
from tests.vendors.server import CALLS, GREETING, JSON_ANSWER, RESULT, Cut, Refused, Vendor, require

SCENES = ("text", "tools", "json", "break", "limited")
"""Those that a model has; `unknown` is one that no provider has."""
MODELS = {
    "openai": "gpt-x",
    "responses": "gpt-x",
    "anthropic": "claude-sonnet-4-6",
    "gemini": "gemini-3-flash",
    "ollama": "llama-x",
}
"""What the models of each format are called, before the scene."""
TOLD = "18 degrees"
COMMAND = "printf '%s degrees' 18"
"""Prints `TOLD`, and does not hold it: whoever was told it has run this."""
MARK = "[[ ## {} ## ]]"
"""DSPy asks for a line such as this before each field of an answer."""
NEXT = ("next_thought", "next_tool_name", "next_tool_args")
"""The fields in which DSPy's agents want to be told the next tool: one at a time, and `finish` as the last."""
THOUGHT = ("I look ", "it up.")
RESULTS = {"get_weather": TOLD, "get_time": "12:00"}
"""What the tools of clients answer."""
OWN_TOOLS = {
    "exec_command": {"cmd": COMMAND},  # Codex
    "grep_search": {"pattern": "degrees"},  # Gemini CLI, Qwen Code
    "bash": {"command": COMMAND, "description": "Counts."},  # opencode, pi
}
"""Tools that coding agents bring, and what they are called with.

Qwen Code 0.24.4 at times loses the output of a command that ends at once: its shell answers when the command has ended,
which may be before the output has come. So it searches a file that holds `TOLD`.
"""
STRUCTURED = ("structured_output",)
"""How Qwen Code wants to be told a structured output. It offers this beside its other tools."""
LAST_TOOLS = ("final_answer",)
"""How smolagents wants to be told an agent's answer."""
UNKNOWN = {
    "openai": openai.refused(404, "The model `{}` does not exist or you do not have access to it."),
    "responses": openai.refused(400, "The requested model '{}' does not exist.", code="model_not_found"),
    "anthropic": anthropic.refused(404, "model: {}"),
    "gemini": gemini.refused(404, "models/{} is not found for API version v1beta."),
    "ollama": ollama.refused(404, "model '{}' not found"),
}
LIMITED = {
    "openai": openai.refused(429, "Rate limit reached.", "requests", "rate_limit_exceeded"),
    "responses": openai.refused(429, "Rate limit reached.", "requests", "rate_limit_exceeded"),
    "anthropic": anthropic.refused(429, "This request would exceed your rate limit."),
    "gemini": gemini.refused(429, "Resource has been exhausted."),
    "ollama": ollama.refused(429, "too many requests"),
}


def format_of(path: str) -> str:
    if path.startswith(("/v1beta/models/", "/v1/models/")):
        return "gemini"
    places = {
        "/api/chat": "ollama",
        "/v1/chat/completions": "openai",
        "/v1/messages": "anthropic",
        "/v1/responses": "responses",
    }
    where = path.partition("?")[0]
    require(where in places, Refused(404, {"error": {"message": f"no such path {path}"}}))
    return places[where]


class Stage(Vendor):
    """Plays the scene that a request's model names, in the format of its path."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        """The models that were asked for since `/forget`."""

    def streamed(self, path: str, body: dict[str, Any]) -> bool:
        if path == "/api/chat":
            self.content_type = OllamaVendor.content_type
            return OllamaVendor().streamed(path, body)
        self.content_type = Vendor.content_type
        return ":streamGenerateContent" in path or bool(body.get("stream"))

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        if path == "/forget":
            count, self.asked = len(self.asked), []
            return {"asked": count}
        return self._scene(path, body).answer(*_held(path, headers), body)

    def events(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Iterator[bytes]:
        scene = self._scene(path, body)
        for piece in scene.events(*_held(path, headers), body):
            yield piece
            if scene.name == "break" and GREETING[0].encode() in piece:
                raise Cut

    def _scene(self, path: str, body: dict[str, Any]) -> Scene:
        kind = format_of(path)
        model = path.split("/models/")[1].split(":")[0] if kind == "gemini" else body["model"]
        name = model.rpartition("-")[2]
        self.asked.append(model)
        require(name in SCENES, _filled(UNKNOWN[kind], model))
        require(name != "limited" or len(self.asked) > 1, LIMITED[kind])
        return PLAYS[kind](name, body)


def _held(path: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
    """What the vendors' own servers take as well: other versions and queries, a bearer's token for the key."""
    where = path.partition("?")[0].replace("/v1/models/", "/v1beta/models/")
    key = headers.get("authorization", "").removeprefix("Bearer ")
    return where, {**({"x-api-key": key, "x-goog-api-key": key} if key else {}), **headers}


def _filled(refused: Refused, model: str) -> Refused:
    return Refused(refused.status, json.loads(json.dumps(refused.body).replace("{}", model)))


class Scene(Vendor):
    """A vendor's own format, and what a scene says in it."""

    def __init__(self, name: str, body: dict[str, Any]) -> None:
        self.name = name
        self.calls = self._called(body)
        self.given = json.dumps(body)

    def _calls(self, body: dict[str, Any]) -> bool:
        return bool(self.calls)

    def _text(self, body: dict[str, Any]) -> tuple[str, ...]:
        said = {"tools": RESULT, "json": JSON_ANSWER}.get(self.name, GREETING)
        fields = {**dict(zip(NEXT, self._next(), strict=True)), "reasoning": THOUGHT, "answer": said}
        wanted = {name: text for name, text in fields.items() if MARK.format(name) in self.given}
        return _marked(wanted) if wanted else said

    def _next(self) -> tuple[tuple[str, ...], ...]:
        """A thought, a tool and its arguments: the first tool whose result the request does not hold."""
        calls = [call for call in CALLS if RESULTS[call[0]] not in self.given]
        name, arguments = calls[0] if calls else ("finish", ("{}",))
        return THOUGHT, (name,), arguments

    def _called(self, body: dict[str, Any]) -> Any:
        """The tools that it calls, with pieces of their arguments: of those that a client offers, what fits."""
        offered = list(_offered(body.get("tools") or ()))
        if self.name == "json":
            alone = offered if len(offered) == 1 else ()
            return [(name, JSON_ANSWER) for name in offered if name in alone or name in STRUCTURED]
        if self.name != "tools":
            return []
        if TOLD in json.dumps(body):
            return [(name, (json.dumps({"answer": "".join(RESULT)}),)) for name in offered if name in LAST_TOOLS]
        own = [(name, (json.dumps(given),)) for name, given in OWN_TOOLS.items() if name in offered]
        return [call for call in CALLS if call[0] in offered] or own[:1]


def _marked(fields: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Fields of an answer, as DSPy reads them."""
    told = {**fields, "completed": ()}
    return tuple(piece for name, said in told.items() for piece in (f"{MARK.format(name)}\n", *said, "\n\n"))


def _offered(tools: Any) -> Iterator[str]:
    for tool in tools:
        yield from (function["name"] for function in tool.get("functionDeclarations", ()))
        named = tool.get("function") or tool
        if "name" in named:
            yield named["name"]


class _OpenAI(Scene, OpenAIVendor):
    pass


class _Responses(Scene, ResponsesVendor):
    pass


class _Anthropic(Scene, AnthropicVendor):
    pass


class _Gemini(Scene, GeminiVendor):
    pass


class _Ollama(Scene, OllamaVendor):
    pass


PLAYS: dict[str, type[Scene]] = {
    "openai": _OpenAI,
    "responses": _Responses,
    "anthropic": _Anthropic,
    "gemini": _Gemini,
    "ollama": _Ollama,
}
