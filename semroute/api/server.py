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

from semroute.api.http_connection import Connection, Unread
from semroute.api.worker_pipe import Good, Lifeline
from semroute.api.workers import Supervisor
from semroute.config.folder import RouteFiles
from semroute.errors import SettingsError
from semroute.settings import MULTIPROCESS, Settings, variable
from semroute.telemetry.logs import configure, server_config

log = logging.getLogger("semroute.workers")

FILES_PER_CONNECTION = 2
"""Its own, and the one to the provider."""
APP = "semroute.api.app"
"""Imported by the workers alone."""
METRICS_BYTES = 8 * 1024 * 1024
"""What the counts of a worker may take on disk."""
FAILED = 1
"""The exit code of a service that could not start."""
BACKLOG = 1024
"""Connections that wait to be accepted."""
IDLE_S = 75
"""How long a connection is kept that nothing is asked on: for longer than clients and load balancers keep theirs, so
that it is not closed in the moment of a request."""


def listen(settings: Settings) -> list[socket.socket]:
    """Take the port: a socket for each worker. Nobody is let in before the application has started.

    Raises `SettingsError` where it cannot be had.
    """
    only = _bind(settings.host, settings.port)
    if settings.workers == 1:
        return [only]
    port = only.getsockname()[1]
    only.close()  # that nobody else has the port could not be seen where it is shared
    return [_bind(settings.host, port, socket.SO_REUSEPORT) for _ in range(settings.workers)]


def serve(settings: Settings, listening: list[socket.socket], files: RouteFiles | None = None) -> None:
    """Serve until SIGINT or SIGTERM; running requests are then finished, for `drain_s` at most.

    One worker is this process, which a SIGHUP ends as well. Of several, which it replaces, one that ends or hangs is
    started again. `files`: good ones, for a start while somebody edits them. Exits with `FAILED` where none can start.
    """
    _export(settings)
    _allow_files(FILES_PER_CONNECTION * settings.max_connections)
    if settings.workers == 1:
        _serve_here(settings, listening, Lifeline(Good(files=files)))
        return
    # The workers, which inherit it, add up their counts there; it must be empty at the start.
    os.environ[MULTIPROCESS] = tempfile.mkdtemp(prefix="semroute-metrics-")
    configure(settings.log_level, settings.log_format)
    target = functools.partial(work, settings)
    supervisor = Supervisor(target, listening, drain_s=settings.drain_s, good=Good(files=files))
    if not supervisor.run():
        sys.exit(FAILED)


def work(settings: Settings, number: int, listening: list[socket.socket], pipe: Pipe) -> None:
    """Be one of several workers: the one with that number, from 1."""
    _find_room_for_metrics(settings)
    try:
        _server(settings, Lifeline.take(pipe), listening).run([listening[number - 1]])
    except KeyboardInterrupt:  # a terminal tells all processes; the supervisor knows
        sys.exit(0)


def _find_room_for_metrics(settings: Settings) -> None:
    """Count alone where the folder of the common counts cannot be written: a full disk would end this process."""
    folder = Path(os.environ[MULTIPROCESS])
    try:
        folder.mkdir(exist_ok=True)
        free = shutil.disk_usage(folder).free
        reason = "" if free >= METRICS_BYTES else f"{free} bytes are free, expected {METRICS_BYTES}"
    except OSError as error:
        reason = str(error)
    if reason:
        configure(settings.log_level, settings.log_format)
        log.error("%s: this worker counts for itself, and /metrics will not add it to the others: %s", folder, reason)
        del os.environ[MULTIPROCESS]


def _serve_here(settings: Settings, listening: list[socket.socket], lifeline: Lifeline) -> None:
    # After a stop the server raises the signal again, which would make it look like a failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    server = _server(settings, lifeline, listening)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # not where `nohup` has it ignored
        signal.signal(signal.SIGHUP, server.handle_exit)
    try:
        server.run(listening)
    except SystemExit:
        sys.exit(FAILED)


def _server(settings: Settings, lifeline: Lifeline, listening: list[socket.socket]) -> Server:
    def create() -> object:
        lifeline.beat(lambda: server.started, functools.partial(setattr, server, "should_exit", True), stand_in.of)
        return importlib.import_module(APP).create_app(lifeline=lifeline)

    connect = functools.partial(Connection, max_connections=settings.max_connections, unread=Unread())
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
    """Accepts the callers of other workers too, while those cannot.

    Each worker has a socket of its own at the port, among which the system spreads callers evenly: at one for all, who
    wakes first takes all callers that wait.
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
        """Stand in for the workers with these numbers, and for no others. Needs a running event loop."""
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
                # A copy: to close it leaves the worker's own open.
                accepting = await asyncio.get_running_loop().create_server(
                    self._connection, sock=self._listening[number - 1].dup(), backlog=BACKLOG
                )
                self._accepting[number] = accepting
                self._server.servers.append(accepting)  # closed with the others

    def _connection(self) -> Connection:
        server = self._server
        return self._connect(config=server.config, server_state=server.server_state, app_state=server.lifespan.state)


def _allow_files(wanted: int) -> None:
    """Let this process, and the workers that it starts, open so many files, as far as the system lets it.

    Many systems begin with 1,024, which is fewer than the connections that may come.
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
