"""Models past the day on which their provider shuts them down are told, and those near it."""

from __future__ import annotations

import asyncio
import datetime
import json
from typing import Any

import msgspec
import pytest

from semroute.config.check_shutdowns import SOON_DAYS, check_lists, check_shutdowns
from semroute.config.config import Config, Draft
from semroute.config.openai_shutdowns import shutdown_of
from semroute.config.schema.models import Model
from semroute.config.schema.providers import ProviderSettings
from semroute.config.schema.route_file import RouteFile
from semroute.config.schema.routes import Default
from semroute.providers.model_listing import model_lists

TODAY = datetime.date(2026, 11, 30)


def told(today: datetime.date = TODAY, dialect: str = "openai", **model: Any) -> list[tuple[str, str]]:
    entry = {"provider": "p", "name": "x", **model}
    file = {"providers": {"p": {"dialect": dialect, "base_url": "http://x"}}, "models": {"m": entry}}
    merged = msgspec.convert(file, RouteFile)
    problems = check_shutdowns(Draft(folder="routes", merged=merged, sources={}), today)
    return [(problem.code, problem.message) for problem in problems]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"name": "gpt-4-turbo"}, "shut-down"),
        ({"name": "o3-mini-2025-01-31"}, "shut-down"),
        ({"name": "gpt-5-mini"}, "shuts-down"),
        ({"name": "o3", "dialect": "responses"}, "shuts-down"),
        ({"name": "openai/gpt-5"}, "shuts-down"),
        ({"name": "gpt-4o"}, None),  # in January
        ({"name": "gpt-5.1"}, None),
        ({"name": "gpt-6-luna"}, None),
        ({"name": "gpt-4", "dialect": "gemini"}, None),
        ({"name": "gpt-4", "shutdown_date": "2027-06-01"}, None),
        ({"name": "own", "shutdown_date": "2026-11-30"}, "shut-down"),
        ({"name": "own", "shutdown_date": "2026-12-01", "dialect": "anthropic"}, "shuts-down"),
        ({"name": "own", "deployments": [{"provider": "p", "name": "gpt-4"}]}, "shut-down"),
    ],
)
def test_models_near_their_end_are_told(fields: dict[str, Any], code: str | None) -> None:
    assert [each for each, _ in told(**fields)] == ([code] if code else [])


def test_the_message_says_which_model_and_when() -> None:
    gone = "got gpt-4, which its provider has shut down on 2026-10-23: calls of it fail"
    assert told(name="gpt-4") == [("shut-down", gone)]
    soon = "got gpt-5, which its provider shuts down on 2026-12-11, in 11 days"
    assert told(name="gpt-5") == [("shuts-down", soon)]
    assert told(datetime.date(2026, 12, 11) - datetime.timedelta(days=SOON_DAYS + 1), name="gpt-5") == []
    found = shutdown_of("gpt-5-nano")
    assert found is not None
    assert found.instead == "gpt-6-luna"


async def test_the_lists_of_providers_are_read() -> None:
    listed = {"data": [{"id": "a", "shutdown_date": None}, {"id": "b", "shutdown_date": "2026-11-01"}, {"id": "c"}]}
    answers = {"/v1": (200, json.dumps(listed)), "/odd": (200, "[]"), "/no": (401, "{}")}
    keys: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        keys.append(head.partition("authorization: ")[2].partition("\r\n")[0])
        path = head.split()[1]
        assert (head.split()[0], path.endswith("/models")) == ("get", True)
        status, body = answers[path.removesuffix("/models")]
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        providers = {
            name: ProviderSettings(id=name, dialect="responses", base_url=url + path, api_key="sk-1")
            for name, path in (("good", "/v1"), ("odd", "/odd"), ("shut", "/no"))
        }
        providers["other"] = ProviderSettings(id="other", dialect="anthropic", base_url=url)
        models = {name: Model(id=name, provider="good", name=name) for name in ("a", "b", "lost")}
        models["x"] = Model(id="x", provider="shut", name="x")
        config = Config(providers=providers, models=models, default=Default(models=("a",)), routes={}, folder="routes")
        lists, failed = await model_lists(config)
    assert lists == {"good": {"a": None, "b": datetime.date(2026, 11, 1), "c": None}}
    assert failed == {"odd": "its answer is not a list of models", "shut": "status 401"}
    assert set(keys) == {"bearer sk-1"}
    problems = [(problem.code, problem.message) for problem in check_lists(config, lists, TODAY)]
    assert problems == [
        ("shut-down", "got b, which its provider has shut down on 2026-11-01: calls of it fail"),
        ("not-listed", "got lost, which is not in the list of `good`: calls of it may fail"),
    ]
