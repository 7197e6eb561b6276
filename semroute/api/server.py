"""Run the service on granian."""

from __future__ import annotations

import os
import socket
import sys
import tempfile

from granian.constants import Interfaces, Loops
from granian.log import LogLevels
from granian.server import Server

from semroute.errors import SettingsError
from semroute.settings import MULTIPROCESS, Settings, variable
from semroute.telemetry.logs import server_config

APP = "semroute.api.app:create_app"
SWITCH_S = 0.0005
"""How long a thread that wants the interpreter's lock waits before it is handed over. At Python's 5 ms, threads that
have embedded a prompt wait for the busy event loop for longer than the embedding took."""


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM; running requests are then finished, for `drain_s` at most.

    Raises `SettingsError` where the port cannot be had.
    """
    sys.setswitchinterval(SWITCH_S)
    _require_port(settings)
    _export(settings)
    if settings.workers > 1:
        # The workers, which inherit it, add up their counts there; it must be empty at the start.
        os.environ[MULTIPROCESS] = tempfile.mkdtemp(prefix="semroute-metrics-")
    Server(
        APP,
        factory=True,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        workers=settings.workers,
        websockets=False,
        backlog=1024,
        workers_kill_timeout=settings.drain_s,
        respawn_failed_workers=True,
        log_level=LogLevels(settings.log_level),
        log_dictconfig=server_config(settings.log_format),
    ).serve()


def _require_port(settings: Settings) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            reason = error.strerror or str(error)
            raise SettingsError(
                f"cannot listen on {settings.host}:{settings.port}: {reason.lower()}; choose another with --port"
            ) from None


def _export(settings: Settings) -> None:
    """Hand the settings to the worker processes."""
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        os.environ[variable(name)] = str(value).lower() if isinstance(value, bool) else str(value)
