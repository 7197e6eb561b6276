"""Where the code reaches behind a library's interface: each test says what breaks if a release changes it.

The library's release is then to be looked at, the one module that reaches in is to be mended, and the upper bound in
pyproject.toml is to be raised.
"""

from __future__ import annotations

import ast
import asyncio
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import aiohttp
import fastembed.common.model_management as fastembed_cache
import numpy as np
import pytest
import uvicorn
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import StreamReader
from litestar import Request, Response, get
from loguru import logger as fastembed_logger
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from prometheus_client import CollectorRegistry, generate_latest
from tokenizers import Tokenizer
from yaml.nodes import Node
from yarl import URL

from bench.intent import open_fastembed
from semroute.api.fast_path import DIRECT, Service
from semroute.api.http_connection import Connection
from semroute.api.request_intake import BodyLimits, RequestPlaces
from semroute.config.yaml_documents import TAG, _Loader, _plain_tag
from semroute.semantic.embedder import OnnxEmbedder
from semroute.settings import MULTIPROCESS
from semroute.telemetry.prometheus import _Histogram
from tests.conftest import ROOT

ADAPTERS = {
    "aiohttp": {f"providers/{name}.py" for name in ("transport", "transport_errors", "streamed_upload")},
    "yarl": {"providers/transport.py"},
    "fastembed": {"semantic/named_models.py"},
    "loguru": {"semantic/named_models.py"},
    "onnxruntime": {"semantic/bundled_models.py", "semantic/embedder.py"},
    "tokenizers": {"semantic/bundled_models.py", "semantic/embedder.py", "semantic/named_models.py"},
    "prometheus_client": {"telemetry/prometheus.py"},
    "uvicorn": {"api/http_connection.py", "api/server.py"},
    "detect_secrets": {"stores/log_content.py"},
}
CAPPED = {*"aiohttp botocore detect-secrets fastembed litestar prometheus-client pyyaml uvicorn yarl".split()}


@pytest.fixture(scope="module")
def embedder() -> OnnxEmbedder:
    return OnnxEmbedder()


def test_what_is_reached_into_is_imported_in_one_place() -> None:
    found: dict[str, set[str]] = {name: set() for name in ADAPTERS}
    for file in (ROOT / "semroute").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for name in {module.partition(".")[0] for module in modules} & found.keys():
                found[name].add(file.relative_to(ROOT / "semroute").as_posix())
    assert found == ADAPTERS


def test_what_is_reached_into_has_an_upper_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    requirements = map(Requirement, [*project["dependencies"], *extras])
    bounded = {canonicalize_name(each.name) for each in requirements if "<" in str(each.specifier)}
    assert CAPPED - bounded == set()


def test_prometheus_histograms_count_many_amounts_at_once() -> None:
    """`Histogram._sum`, `_upper_bounds` or `_buckets` changed: `/metrics` would show wrong histograms."""
    shown = []
    for at_once in (True, False):
        registry = CollectorRegistry()
        histogram = _Histogram("took", "How long it took.", buckets=(1, 2, 5), registry=registry)
        amounts = (0.5, 1, 1.5, 4.9, 5, 100)
        if at_once:
            histogram.observe_all(amounts)
        else:
            for amount in amounts:
                histogram.observe(amount)
        shown.append([line for line in generate_latest(registry).splitlines() if b"_created" not in line])
    assert shown[0] == shown[1]


def test_prometheus_gauges_of_workers_lie_in_files_of_their_process(tmp_path: Path) -> None:
    """`gauge_live*_<pid>.db` changed: the gauges of workers that have ended would be added up for ever."""
    code = (
        "from prometheus_client import Gauge\n"
        "Gauge('g', 'g', multiprocess_mode='livesum').set(1)\n"
        "import os; print(os.getpid())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {MULTIPROCESS: str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [file.name for file in tmp_path.iterdir()] == [f"gauge_livesum_{done.stdout.strip()}.db"]


def test_fastembed_gives_its_tokenizer(embedder: OnnxEmbedder) -> None:
    """`TextEmbedding.model` or its `tokenizer` changed: no model by name could be loaded."""
    loaded = open_fastembed()
    inner: Any = loaded.model
    assert isinstance(inner.tokenizer, Tokenizer)
    theirs = next(iter(loaded.embed(["I want my money back"])))
    assert float(np.dot(embedder.embed(["I want my money back"])[0], theirs)) == pytest.approx(1, abs=1e-3)


def test_fastembed_tells_where_a_model_lies() -> None:
    """`_model_dir` changed: another model of the same name would not be noticed by its hashes."""
    inner: Any = open_fastembed().model
    assert (Path(inner._model_dir) / "tokenizer.json").is_file()


def test_fastembed_logs_under_its_name() -> None:
    """fastembed's logger changed: a model that is not in the cache yet would be logged as an error."""
    heard: list[str] = []
    sink = fastembed_logger.add(heard.append, format="{name}")
    try:
        exec(compile("from loguru import logger\nlogger.error('x')", "x", "exec"), {"__name__": "fastembed.common"})
        fastembed_logger.disable("fastembed")
        exec(compile("from loguru import logger\nlogger.error('x')", "x", "exec"), {"__name__": "fastembed.common"})
    finally:
        fastembed_logger.enable("fastembed")
        fastembed_logger.remove(sink)
    assert [line.strip() for line in heard] == ["fastembed.common"]
    assert vars(fastembed_cache)["logger"] is fastembed_logger


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application that is never called."""


async def test_uvicorn_hands_a_connection_its_steps() -> None:
    """The steps of uvicorn's `HttpToolsProtocol` changed: heads of requests would have no limit in time and size."""
    config = uvicorn.Config(_nothing, http=Connection, lifespan="off", log_config=None)
    config.load()
    served = Connection(config=config, server_state=uvicorn.Server(config).server_state, app_state={})
    base = Connection.__mro__[1]
    for step in ("connection_made", "connection_lost", "data_received", "on_message_begin", "on_headers_complete"):
        assert step in vars(base), step
    assert served.loop is asyncio.get_running_loop()


def test_uvicorn_keeps_what_is_under_way_in_a_cycle() -> None:
    """uvicorn's `RequestResponseCycle` changed: a whole answer that is written at once would leave it open."""
    base = Connection.__mro__[1]
    cycle = sys.modules[base.__module__].RequestResponseCycle
    used = {
        *"access_log default_headers disconnected flow keep_alive message_event on_response response_complete".split(),
        *"response_started scope transport waiting_for_100_continue".split(),
    }
    assert used <= set(cycle.__init__.__code__.co_names) | set(cycle.__init__.__code__.co_varnames)
    assert sys.modules[base.__module__].STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"


async def test_aiohttp_lends_a_connection_for_a_request_that_is_never_sent() -> None:
    """`TCPConnector.connect`, `Connection` or `ResponseHandler` changed: no provider could be called."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/path")
    request = aiohttp.ClientRequest("POST", url, loop=asyncio.get_running_loop(), proxy=None)
    async with server, aiohttp.TCPConnector() as connector:
        connection = await connector.connect(request, [], aiohttp.ClientTimeout(connect=5))
        protocol, wire = connection.protocol, connection.transport
        assert isinstance(protocol, ResponseHandler)
        assert wire is not None
        assert isinstance(protocol.closed, asyncio.Future)
        wire.write(b"GET /other HTTP/1.1\r\nhost: x\r\n\r\n")
        protocol.set_response_params(read_until_eof=True, max_line_size=1000, max_field_size=1000)
        message, content = await protocol.read()
        assert isinstance(content, StreamReader)
        assert (message.code, await content.readany(), content.is_eof()) == (200, b"ok", True)
        ended: list[bool] = []
        content.on_eof(lambda: ended.append(True))
        assert ended == [True]
        connection.release()
    assert asked == [b"GET /other HTTP/1.1\r\nhost: x\r\n\r\n"]


async def test_litestar_answers_a_request_past_its_layers() -> None:
    """`HTTPRoute.route_handlers`, `handler.fn` or `to_asgi_response` changed: prompts could not be answered."""

    @get("/direct", opt={DIRECT: True})
    async def handler(request: Request[Any, Any, Any]) -> Response[dict[str, str]]:
        return Response({"path": request.url.path, "app": type(request.app).__name__})

    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {"type": "http", "method": "GET", "path": "/direct", "raw_path": b"/direct", "headers": []}
    scope |= {"query_string": b"", "root_path": "", "scheme": "http", "server": ("x", 80), "client": None}
    limits = BodyLimits(RequestPlaces(9, 9_000, 9_000), 9_000, 9.0)
    service = Service(bodies=limits, route_handlers=[handler], openapi_config=None)
    scope["litestar_app"] = service
    await service._answer(service._direct["GET", "/direct"], scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[1]["body"] == b'{"path":"/direct","app":"Service"}'


def test_yaml_goes_down_and_up_again_with_each_level() -> None:
    """PyYAML's `descend_resolver` or `ascend_resolver` changed: a file that is nested deeply could end the process."""
    levels: list[int] = []

    class Watched(_Loader):
        def descend_resolver(self, current_node: Node | None, current_index: object) -> None:
            super().descend_resolver(current_node, current_index)
            levels.append(self.depth)

    loader = Watched("[[a], [[b]]]")
    loader.get_single_node()
    assert levels == [1, 2, 3, 2, 3, 4]
    assert loader.depth == 0


def test_yaml_takes_plain_text_for_what_it_looks_like() -> None:
    """PyYAML's `Resolver.resolve` changed: variables in route files would be strings where numbers are meant."""
    assert [_plain_tag(text) for text in ("7", "0.5", "yes", "x")] == [
        f"{TAG}{kind}" for kind in "int float bool str".split()
    ]


def test_detect_secrets_names_what_it_finds() -> None:
    """detect-secrets' plugins changed: keys of callers would be kept in the log where it promises to redact them."""
    from semroute.stores.log_content import redact

    assert "[SECRET]" in redact("my key is AKIAIOSFODNN7EXAMPLX, keep it")
    assert redact("password = hunter2hunter2") == "password = [SECRET]"
