"""Run the service on uvicorn."""

from __future__ import annotations

import asyncio
import errno
import functools
import importlib
import logging
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from uvicorn import Config, Server

from semroute.api.http_connection import Connection, SlowReaders
from semroute.api.worker_pipe import LastGood, Lifeline
from semroute.api.workers import Supervisor
from semroute.config.folder import RouteFiles
from semroute.errors import SettingsError
from semroute.settings import MULTIPROCESS, Settings, variable
from semroute.telemetry.logs import configure, server_config

log = logging.getLogger("semroute.workers")

FILES_PER_CONNECTION = 2
"""The files that one connection needs: its own, and the connection to the provider."""
APP = "semroute.api.app"
"""The module of the application. Only workers import it."""
METRICS_BYTES = 8 * 1024 * 1024
"""The bytes on disk that the counts of a worker may take."""
FAILED = 1
"""The exit code of a service that could not start."""
BACKLOG = 1024
"""How many connections may wait to be accepted."""
IDLE_S = 75
"""Seconds that an idle connection is kept. Clients and load balancers close theirs earlier, so the service never closes
one just as a request comes."""


def listen(settings: Settings) -> list[socket.socket]:
    """Take the port, with a socket for each worker. No caller is accepted before the application has started.

    Raises `SettingsError` if the port cannot be used.
    """
    only = _bind(settings.host, settings.port)
    if settings.workers == 1:
        return [only]
    port = only.getsockname()[1]
    only.close()  # a shared port would not show that another program has it
    return [_bind(settings.host, port, socket.SO_REUSEPORT) for _ in range(settings.workers)]


def serve(settings: Settings, listening: list[socket.socket], files: RouteFiles | None = None) -> None:
    """Serve until SIGINT or SIGTERM. Running requests then get at most `drain_s` seconds to finish.

    A single worker runs in this process, which a SIGHUP also ends. With several workers, a SIGHUP replaces them, and a
    worker that ends or hangs is started again. `files`: route files that were checked, in case somebody edits them
    during the start. Exits with `FAILED` if no worker can start.
    """
    _export(settings)
    _allow_files(FILES_PER_CONNECTION * settings.max_connections)
    if settings.workers == 1:
        _serve_here(settings, listening, Lifeline(LastGood(files=files)))
        return
    # The workers inherit this folder and add up their counts in it. It must be empty at the start.
    os.environ[MULTIPROCESS] = tempfile.mkdtemp(prefix="semroute-metrics-")
    configure(settings.log_level, settings.log_format)
    target = functools.partial(work, settings)
    supervisor = Supervisor(target, listening, drain_s=settings.drain_s, good=LastGood(files=files))
    if not supervisor.run():
        sys.exit(FAILED)


def work(settings: Settings, number: int, listening: list[socket.socket], pipe: Pipe) -> None:
    """Run one of several workers. `number`: from 1."""
    _find_room_for_metrics(settings)
    try:
        _server(settings, Lifeline.take(pipe), listening).run([listening[number - 1]])
    except KeyboardInterrupt:  # a terminal signals all processes, but the supervisor decides
        sys.exit(0)


def _find_room_for_metrics(settings: Settings) -> None:
    """Count alone if the folder of the common counts cannot be written. A full disk would end this process."""
    folder = Path(os.environ[MULTIPROCESS])
    try:
        folder.mkdir(exist_ok=True)
        free = shutil.disk_usage(folder).free
        reason = "" if free >= METRICS_BYTES else f"{free} bytes are free, expected {METRICS_BYTES}"
    except OSError as error:
        reason = str(error)
    if reason:
        configure(settings.log_level, settings.log_format)
        log.error("cannot use %s, so /metrics does not add up this worker's counts with the others: %s", folder, reason)
        del os.environ[MULTIPROCESS]


def _serve_here(settings: Settings, listening: list[socket.socket], lifeline: Lifeline) -> None:
    # After a stop the server raises the signal again. That would make the stop look like a failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    server = _server(settings, lifeline, listening)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # not if `nohup` made it ignored
        signal.signal(signal.SIGHUP, server.handle_exit)
    try:
        server.run(listening)
    except SystemExit:
        sys.exit(FAILED)


def _server(settings: Settings, lifeline: Lifeline, listening: list[socket.socket]) -> Server:
    def create() -> object:
        lifeline.beat(lambda: server.started, functools.partial(setattr, server, "should_exit", True), stand_in.of)
        return importlib.import_module(APP).create_app(lifeline=lifeline)

    connect = functools.partial(Connection, max_connections=settings.max_connections, unread=SlowReaders())
    server = Server(
        Config(
            create,
            factory=True,
            http=connect,  # type: ignore[arg-type] # called as the class is
            ws="none",
            lifespan="on",
            backlog=BACKLOG,
            timeout_keep_alive=IDLE_S,
            timeout_graceful_shutdown=settings.drain_s,
            proxy_headers=False,
            server_header=False,
            access_log=False,
            reset_contextvars=True,
            log_level=settings.log_level,
            log_config=server_config(settings.log_format),
        )
    )
    stand_in = StandIn(server, listening, connect)
    return server


class StandIn:
    """Accepts the callers of other workers while those cannot.

    Each worker has its own socket at the port, and the operating system spreads callers evenly among the sockets. With
    one socket for all, the worker that wakes first would take all waiting callers.
    """

    def __init__(self, server: Server, listening: list[socket.socket], connect: functools.partial[Connection]) -> None:
        """`listening`: the sockets of all workers, in the order of their numbers."""
        self._connect = connect
        self._server = server
        self._listening = listening
        self._accepting: dict[int, asyncio.Server] = {}
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def of(self, numbers: Sequence[int]) -> None:
        """Accept callers of the workers with these numbers, and of no others. Needs a running event loop."""
        task = asyncio.get_running_loop().create_task(self._accept_for(frozenset(numbers)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept_for(self, numbers: frozenset[int]) -> None:
        async with self._turn:
            for number in [number for number in self._accepting if number not in numbers]:
                accepting = self._accepting.pop(number)
                self._server.servers.remove(accepting)
                accepting.close()
            if not self._server.started or self._server.should_exit:
                return
            for number in numbers - self._accepting.keys():
                # This is a copy: closing it leaves the worker's own socket open.
                accepting = await asyncio.get_running_loop().create_server(
                    self._connection, sock=self._listening[number - 1].dup(), backlog=BACKLOG
                )
                self._accepting[number] = accepting
                self._server.servers.append(accepting)  # closed with the others

    def _connection(self) -> Connection:
        server = self._server
        return self._connect(config=server.config, server_state=server.server_state, app_state=server.lifespan.state)


def _allow_files(wanted: int) -> None:
    """Let this process and its workers open this many files, as far as the operating system allows.

    Many systems start with 1,024 files. That is fewer than the connections that may come.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def _bind(host: str, port: int, *options: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        for option in (socket.SO_REUSEADDR, *options):
            listening.setsockopt(socket.SOL_SOCKET, option, 1)
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        reason = error.strerror or str(error)
        other = "--port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host"
        raise SettingsError(f"cannot listen on {host}:{port}: {reason.lower()}; choose another with {other}") from None
    return listening


def _export(settings: Settings) -> None:
    """Hand the settings to the worker processes."""
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        os.environ[variable(name)] = str(value).lower() if isinstance(value, bool) else str(value)
