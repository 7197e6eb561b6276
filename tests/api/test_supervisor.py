"""The supervisor with real processes, which are smaller than the service: they start within a moment."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from semroute.api import worker_schedule, workers
from semroute.api.worker_pipe import LastGood, Lifeline
from semroute.api.workers import Supervisor
from tests.service import free_port, until

Target = Callable[[int, list[socket.socket], Connection], None]


def small(folder: Path, number: int, listening: list[socket.socket], pipe: Connection) -> None:
    """A worker that writes down who it is and what it starts from, and does what files in its folder say."""
    lifeline = Lifeline.take(pipe)
    if (folder / f"broken-{number}").exists():
        lifeline.fail("the files are broken")
        sys.exit(3)
    asyncio.run(_serve(folder, number, lifeline))


def answering(folder: Path, number: int, listening: list[socket.socket], pipe: Connection) -> None:
    """A worker that sends back what it reads, unless a file says that it cannot start."""
    lifeline = Lifeline.take(pipe)
    (folder / "tries").write_text(str(int(read(folder / "tries") or 0) + 1))
    if (folder / "broken").exists():
        sys.exit(3)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        await writer.drain()
        writer.close()

    async def serve() -> None:
        leave = asyncio.Event()
        async with await asyncio.start_server(echo, sock=listening[number - 1]):
            lifeline.beat(lambda: True, leave.set, lambda _: None)
            (folder / f"pid-{number}").write_text(str(os.getpid()))
            await leave.wait()

    asyncio.run(serve())


async def _serve(folder: Path, number: int, lifeline: Lifeline) -> None:
    leave = asyncio.Event()
    (folder / f"keys-{number}").write_text(repr(lifeline.good.keys))
    lifeline.keep(keys=[(f"of worker {number}",)])
    stood_in: list[tuple[int, ...]] = []
    lifeline.beat(lambda: True, leave.set, lambda numbers: stood_in.append(tuple(numbers)))
    while not leave.is_set():
        (folder / f"pid-{number}").write_text(str(os.getpid()))
        (folder / f"told-{number}").write_text(f"{stood_in[-1:]} {lifeline.notes}")
        if (folder / f"hang-{number}").exists():
            (folder / f"hang-{number}").unlink()
            threading.Event().wait()  # the event loop stands still
        await asyncio.sleep(0.02)


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@contextmanager
def supervised(target: Target, count: int) -> Iterator[tuple[Supervisor, Future[bool]]]:
    listening = [socket.socket() for _ in range(count)]
    for each in listening:
        each.bind(("127.0.0.1", free_port()))  # a port that is not named is lost when a socket is shut down
    supervisor = Supervisor(target, listening, drain_s=1, good=LastGood())
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(supervisor.keep)
        try:
            yield supervisor, running
        finally:
            supervisor.events.put(signal.SIGTERM)
            running.result(60)
    assert all(each.fileno() == -1 for each in listening)


def pid(folder: Path, number: int, other_than: str = "") -> int:
    assert until(lambda: read(folder / f"pid-{number}") not in ("", other_than))
    return int(read(folder / f"pid-{number}"))


def test_where_no_worker_can_start_there_is_no_service(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"broken-{number}").touch()
    with supervised(partial(small, tmp_path), 2) as (_, running):
        assert running.result(60) is False


def test_one_that_cannot_start_leaves_the_others_alone_and_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken-2").touch()
    with supervised(partial(small, tmp_path), 2) as (_, running):
        first = pid(tmp_path, 1)
        assert until(lambda: "worker 2 does not serve: the files are broken" in read(tmp_path / "told-1"))
        assert "[(2,)]" in read(tmp_path / "told-1")  # worker 1 accepts its callers
        (tmp_path / "broken-2").unlink()
        assert until(lambda: read(tmp_path / "told-1") == "[()] ()")
        assert pid(tmp_path, 1) == first
        assert not running.done()
    assert running.result() is True
    said = [record.getMessage() for record in caplog.records if "worker 2" in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("worker 2 could not start: the files are broken; it is started again in ")


def test_callers_are_answered_again_after_no_worker_could_start_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_schedule, "PAUSES_S", (0.2, 0.2))
    with supervised(partial(answering, tmp_path), 1) as (supervisor, running):
        listening = supervisor._listening[0]
        first = pid(tmp_path, 1)
        address = listening.getsockname()
        assert asked(address) == b"hello"
        (tmp_path / "broken").touch()
        os.kill(first, signal.SIGKILL)
        tries = int(read(tmp_path / "tries"))
        assert until(lambda: int(read(tmp_path / "tries") or 0) >= tries + 3)
        assert asked(address) == b""  # refused at once
        (tmp_path / "broken").unlink()
        pid(tmp_path, 1, str(first))
        assert asked(address) == b"hello"
        assert not running.done()


def asked(address: tuple[str, int]) -> bytes:
    """What a worker answers. Empty: nothing."""
    try:
        with socket.create_connection(address, timeout=30) as caller:
            caller.sendall(b"hello")
            return caller.recv(100)
    except OSError:
        return b""


def test_one_that_is_killed_starts_again_from_what_another_knew(tmp_path: Path) -> None:
    with supervised(partial(small, tmp_path), 1) as (supervisor, running):
        first = pid(tmp_path, 1)
        assert read(tmp_path / "keys-1") == "None"
        assert until(lambda: supervisor.good.keys is not None)
        os.kill(first, signal.SIGKILL)
        pid(tmp_path, 1, str(first))
        assert read(tmp_path / "keys-1") == "[('of worker 1',)]"
        assert not running.done()


@pytest.mark.parametrize("how", ["the event loop", "the process"])
def test_one_that_hangs_is_ended_and_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(worker_schedule, "HEALTH_S", 2.0)
    with supervised(partial(small, tmp_path), 2):
        other, first = pid(tmp_path, 1), pid(tmp_path, 2)
        if how == "the process":
            os.kill(first, signal.SIGSTOP)
        else:
            (tmp_path / "hang-2").touch()
        assert until(lambda: read(tmp_path / "told-1").startswith("[(2,)]"))
        pid(tmp_path, 2, str(first))
        assert pid(tmp_path, 1) == other


def test_a_stop_does_not_wait_for_who_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_schedule, "HEALTH_S", 1.0)
    monkeypatch.setattr(workers, "CLOSE_S", 10_000.0)
    with supervised(partial(small, tmp_path), 1) as (supervisor, running):
        os.kill(pid(tmp_path, 1), signal.SIGSTOP)
        supervisor.events.put(signal.SIGTERM)
        assert running.result(60) is True


def test_sighup_replaces_every_worker_one_after_the_other(tmp_path: Path) -> None:
    with supervised(partial(small, tmp_path), 2) as (supervisor, _):
        before = [pid(tmp_path, 1), pid(tmp_path, 2)]
        assert until(lambda: read(tmp_path / "told-1") in ("[()] ()", "[] ()"))  # both serve
        supervisor.events.put(signal.SIGHUP)
        after = [pid(tmp_path, 1, str(before[0])), pid(tmp_path, 2, str(before[1]))]
        assert not set(before) & set(after)


def test_a_second_sighup_while_workers_are_replaced_replaces_them_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "semroute.workers")
    with supervised(partial(small, tmp_path), 2) as (supervisor, running):
        seen = {str(pid(tmp_path, 1))}
        supervisor.events.put(signal.SIGHUP)
        assert until(lambda: caplog.text.count("SIGHUP") == 1)
        supervisor.events.put(signal.SIGHUP)  # no worker starts that fast
        for _ in range(2):
            assert until(lambda: read(tmp_path / "pid-1") not in ({""} | seen) or running.done())
            seen.add(read(tmp_path / "pid-1"))
        assert not running.done()


def test_new_workers_that_cannot_start_replace_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with supervised(partial(small, tmp_path), 1) as (supervisor, _):
        before = pid(tmp_path, 1)
        (tmp_path / "broken-1").touch()
        supervisor.events.put(signal.SIGHUP)
        assert until(lambda: "the new worker 1 could not start, so the old workers stay" in caplog.text)
        assert pid(tmp_path, 1) == before


def test_workers_end_when_their_supervisor_is_gone(tmp_path: Path) -> None:
    script = f"""
import functools, pathlib, socket
from semroute.api.worker_pipe import LastGood
from semroute.api.workers import Supervisor
from tests.api.test_supervisor import small
target = functools.partial(small, pathlib.Path({str(tmp_path)!r}))
Supervisor(target, [socket.socket()], drain_s=1, good=LastGood()).keep()
"""
    process = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
    worker = pid(tmp_path, 1)
    process.kill()
    process.wait()
    assert until(lambda: not _runs(worker))


def _runs(number: int) -> bool:
    try:
        return bool(psutil.Process(number).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
