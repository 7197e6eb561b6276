"""Run the service on uvicorn."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import tempfile

from uvicorn import Config, Server
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from semroute.api.connection import Connection
from semroute.errors import SettingsError
from semroute.settings import MULTIPROCESS, Settings, variable
from semroute.telemetry.logs import server_config

APP = "semroute.api.app:create_app"
FAILED = 1
"""The exit code of a service that could not start."""
BACKLOG = 1024
"""Connections that wait to be accepted."""
IDLE_S = 75
"""How long a connection is kept that nothing is asked on: for longer than clients and load balancers keep theirs, so
that it is not closed in the moment of a request."""
HEALTH_S = 20
"""A worker that gives no sign of life for so long is ended, and started again. It gives none before it has imported."""


def listen(settings: Settings) -> list[socket.socket]:
    """Take the port, for each worker. Nobody is let in before the application has started.

    Raises `SettingsError` where it cannot be had.
    """
    only = _bind(settings.host, settings.port)
    if settings.workers == 1:
        return [only]
    port = only.getsockname()[1]
    only.close()  # that nobody else has the port could not be seen where it is shared
    return [_bind(settings.host, port, socket.SO_REUSEPORT) for _ in range(settings.workers)]


def serve(settings: Settings, listening: list[socket.socket]) -> None:
    """Serve until SIGINT or SIGTERM; running requests are then finished, for `drain_s` at most.

    One worker is this process, which a SIGHUP ends as well; of several, which it replaces, one that ends is started
    again. Exits with `FAILED` where none can start.
    """
    _export(settings)
    if settings.workers > 1:
        # The workers, which inherit it, add up their counts there; it must be empty at the start.
        os.environ[MULTIPROCESS] = tempfile.mkdtemp(prefix="semroute-metrics-")
    config = Config(
        APP,
        factory=True,
        workers=settings.workers,
        http=Connection,
        ws="none",
        lifespan="on",
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=settings.drain_s,
        timeout_worker_healthcheck=HEALTH_S,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        reset_contextvars=True,
        log_level=settings.log_level,
        log_config=server_config(settings.log_format),
    )
    if settings.workers == 1:
        _serve_here(config, listening)
    else:
        _serve_apart(config, listening)


def _serve_here(config: Config, listening: list[socket.socket]) -> None:
    # After a stop the server raises the signal again, which would make it look like a failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    server = Server(config)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # not where `nohup` has it ignored
        signal.signal(signal.SIGHUP, server.handle_exit)
    try:
        server.run(listening)
    except SystemExit:
        sys.exit(FAILED)


def _serve_apart(config: Config, listening: list[socket.socket]) -> None:
    workers = _Workers(config, listening)
    workers.run()
    if any(worker.exitcode == STARTUP_FAILURE for worker in workers.processes):
        sys.exit(FAILED)


class _Workers(Multiprocess):
    """Each worker has a socket of its own at the port: at one for all, who wakes first takes all callers that wait.

    One that is started again listens at all of them.
    """

    def init_processes(self) -> None:
        """Start them."""
        self.processes = [Process(self.config, [listening]) for listening in self.sockets]
        for worker in self.processes:
            worker.start()


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
