"""The real service in a process of its own, for tests that look at it from outside."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

START_S = 120
_PORTS = random.SystemRandom()
"""Not the random source that tests seed."""


def free_port() -> int:
    """A port that nobody listens on.

    It is below those that the system gives to connections and to whoever asks for any port, so that nothing takes it
    before its server does; and drawn, so that test processes side by side do not all try the same ones.
    """
    while True:
        port = _PORTS.randrange(10_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def until(condition: Callable[[], bool], seconds: float = 120) -> bool:
    """Whether a condition comes to hold."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


class Service:
    """`semroute serve` on a free port while the context is open. Its log is what it wrote to either output."""

    def __init__(self, folder: Path, log_file: Path, *options: str, program: str = "semroute", **environ: str) -> None:
        """`program`: the module that is run."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.database = log_file.with_name("semroute.db")
        self._log_file = log_file
        self._command = [sys.executable, "-m", program, "serve", "--routes", str(folder), "--port", str(self.port)]
        self._command += options
        self._environ = {name: value for name, value in os.environ.items() if not name.startswith("SEMROUTE_")} | {
            "SEMROUTE_DATABASE_URL": f"sqlite:///{self.database}",
            **environ,
        }

    def __enter__(self) -> Self:
        self._log = self._log_file.open("wb")
        self.process = subprocess.Popen(
            self._command, env=self._environ, stdout=self._log, stderr=self._log, process_group=0
        )
        self.client = httpx.Client(base_url=self.url, timeout=60, trust_env=False)
        deadline = time.monotonic() + START_S
        while not self._ready():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, f"not ready after {START_S} s:\n{self.log}"
            time.sleep(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self.stop()
        self._log.close()

    @property
    def log(self) -> str:
        return self._log_file.read_text("utf-8", "replace")

    def stop(self) -> int:
        """Ask it to stop, and wait. Returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def _ready(self) -> bool:
        try:
            return self.client.get("/health/live").status_code == 200
        except httpx.TransportError:
            return False
