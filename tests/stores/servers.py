"""PostgreSQL and Redis of our own, which tests may stop and start."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import psycopg
import pytest

from tests.service import free_port

START_S = 120
_POSTGRES_BIN = ("/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt")


class Server:
    """A server process that runs while its context is open.

    Its folder is none of pytest's, which takes the path to its own away from other users whenever a run begins.
    """

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="semroute-test-")
        self.folder = Path(self._temporary.name)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = itertools.count(1)

    def __enter__(self) -> Self:
        self.start_process()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_process()
        self._temporary.cleanup()

    def start_process(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, **self.user())  # type: ignore[call-overload]
        deadline = time.monotonic() + START_S
        while not self.answers():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.02)

    def stop_process(self) -> None:
        """Stop it at once, and wait."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=30)
            self._process = None

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """All its processes stand still: it takes connections, and answers nothing."""
        assert self._process is not None
        main = psutil.Process(self._process.pid)
        main.suspend()
        while main.status() != psutil.STATUS_STOPPED:  # until then it may start another process
            pass
        stopped = [main, *main.children(recursive=True)]
        for process in stopped[1:]:
            process.suspend()
        try:
            yield
        finally:
            for process in stopped:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def command(self) -> list[str]:
        raise NotImplementedError

    def user(self) -> dict[str, object]:
        return {}

    def answers(self) -> bool:
        raise NotImplementedError


class RedisServer(Server):
    def command(self) -> list[str]:
        options = {
            "--port": str(self.port),
            "--bind": "127.0.0.1",
            "--save": "",
            "--appendonly": "yes",
            "--databases": "10000",
        }
        return [_redis() or "", *itertools.chain(*options.items()), "--dir", str(self.folder)]

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def new_database(self) -> str:
        """The address of a database that nothing used before."""
        return f"redis://127.0.0.1:{self.port}/{next(self._databases)}"

    @classmethod
    def start(cls) -> RedisServer:
        if _redis() is None:
            missing("redis-server or valkey-server")
        return cls()


class PostgresServer(Server):
    """PostgreSQL refuses to run as root: it then runs as the user `postgres`."""

    def __init__(self) -> None:
        super().__init__()
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        command = [_postgres("initdb") or "", "-D", str(self.folder / "data"), "-U", "postgres", "-A", "trust", "-N"]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **self.user())  # type: ignore[call-overload]

    def command(self) -> list[str]:
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        options |= {"max_connections": "50", "shared_buffers": "64MB"}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [_postgres("postgres") or "", "-D", str(self.folder / "data"), "-p", str(self.port), *settings]

    def user(self) -> dict[str, object]:
        return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}

    def answers(self) -> bool:
        try:
            psycopg.connect(self._url("postgres"), connect_timeout=1).close()
        except psycopg.OperationalError:
            return False
        return True

    def new_database(self) -> str:
        """The address of an empty database."""
        name = f"test{next(self._databases)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url(name)

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @classmethod
    def start(cls) -> PostgresServer:
        if _postgres("initdb") is None:
            missing("PostgreSQL's initdb")
        return cls()


def missing(what: str) -> None:
    """Skip a test here; fail where everything must be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed, and CI must have it")
    pytest.skip(f"{what} is not installed")


def _redis() -> str | None:
    return shutil.which("redis-server") or shutil.which("valkey-server")


def _postgres(program: str) -> str | None:
    candidates = [path for folder in _POSTGRES_BIN for path in sorted(Path(folder).glob(f"*/bin/{program}"))]
    return str(candidates[-1]) if candidates else shutil.which(program)
