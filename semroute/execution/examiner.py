"""Makes those checks of an answer that take time, in processes of their own.

What a model says, its caller decides: an answer can be made that takes a parser minutes, or all memory, or that ends
the interpreter. So a check has `LIMIT_S` of a processor's time, after which the operating system ends its process; the
event loop waits for none of this. Short and long answers have a process each, so that long ones hold up no short ones.
A process starts with the first answer that needs it. Each question and each reply is 4 bytes of length and MessagePack.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import select
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import IO

import msgspec
from msgspec.structs import replace

from semroute.execution.quality import failures, takes_time
from semroute.types import Completion
from semroute.written import Checks

log = logging.getLogger("semroute.checks")

LIMIT_S = 2.0
"""Of a processor's time, for one answer."""
PATIENCE_S = 30.0
"""For one answer by the clock, where the machine is busy; and for a process to start."""
LONG_CHARS = 32_768
"""From here on an answer is a long one."""
MAX_WAITING = 64
"""Answers that may wait for each process. Further ones fail their check."""
MEMORY_BYTES = 2 << 30
"""What a process may take."""


class Question(msgspec.Struct, frozen=True):
    """What a process is asked."""

    checks: Checks
    answer: Completion
    limit_s: float


_decode_question = msgspec.msgpack.Decoder(Question).decode
_decode_reasons = msgspec.msgpack.Decoder(list[str]).decode


class Examiner:
    """Checks answers. For one event loop; `aclose` it."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._short, self._long = _Desk("short answers"), _Desk("long answers")

    async def failures(self, checks: Checks, answer: Completion) -> list[str]:
        """As `quality.failures`. What cannot be checked in time has failed."""
        if not takes_time(checks, answer):
            return failures(checks, answer)
        # Judges and callbacks are others' work, and the answer as it came is of no use here.
        asked = Question(replace(checks, judge=None, callback=None), replace(answer, raw=b""), self._limit_s)
        desk = self._short if len(answer.text) < LONG_CHARS else self._long
        return await desk.ask(asked)

    async def aclose(self) -> None:
        """End the processes."""
        self._short.close()
        self._long.close()


class _Desk:
    """One process, one thread that speaks with it, and who waits for them."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"checks of {name}")
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting = 0
        self._closed = False

    async def ask(self, question: Question) -> list[str]:
        """The reply. A caller who leaves meanwhile ends nothing: the next question still finds the process in order."""
        if self._waiting >= MAX_WAITING:
            return [f"it was not checked: {MAX_WAITING} other answers wait for that"]
        self._waiting += 1
        told = asyncio.get_running_loop().run_in_executor(self._thread, self._answer, question)
        told.add_done_callback(self._done)
        return await told

    def close(self) -> None:
        """End the process, whatever it does."""
        self._closed = True
        if (process := self._process) is not None:
            process.kill()
        self._thread.shutdown(cancel_futures=True)
        self._end()

    def _done(self, _: object) -> None:
        self._waiting -= 1

    def _answer(self, question: Question) -> list[str]:
        """Blocks."""
        if self._closed:
            return ["it was not checked: the service ends"]
        try:
            process = self._process = self._process or _start()
            with contextlib.suppress(BrokenPipeError):  # it is gone: the reply says so
                _send(process.stdin, msgspec.msgpack.encode(question))
            reply = _receive(process.stdout, PATIENCE_S)
        except OSError as error:
            log.error("the process that checks answers cannot be used: %s", error)
            reply = None
        if reply is not None:
            return _decode_reasons(reply)
        status = self._end()
        if status in (-signal.SIGPROF, -signal.SIGKILL):
            return [f"it takes over {question.limit_s:g} s to check"]
        log.error("the process that checks answers ended with status %s", status)
        return ["it cannot be checked: the checks end their process"]

    def _end(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        return _kill(process)


def _start() -> subprocess.Popen[bytes]:
    """Start a process, and wait until it takes questions. Raises `OSError`."""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    command = [sys.executable, "-P", "-m", __name__]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, bufsize=-1, process_group=0
    )
    if _receive(process.stdout, PATIENCE_S) is None:
        raise OSError(f"it does not start (status {_kill(process)})")
    return process


def _kill(process: subprocess.Popen[bytes]) -> int:
    """End a process that does not answer, or has ended; its status."""
    process.kill()
    with contextlib.suppress(BrokenPipeError), process:  # what it was not told yet is lost with it
        pass
    return process.wait()


def _send(stream: IO[bytes] | None, packed: bytes) -> None:
    assert stream is not None
    stream.write(len(packed).to_bytes(4, "big") + packed)
    stream.flush()


def _receive(stream: IO[bytes] | None, timeout_s: float | None = None) -> bytes | None:
    """One message; None: the stream has ended, or nothing came in time."""
    assert stream is not None
    if timeout_s is not None:
        coming = select.poll()
        coming.register(stream, select.POLLIN)
        if not coming.poll(timeout_s * 1000):
            return None
    length = int.from_bytes(stream.read(4), "big")
    packed = stream.read(length)
    return packed if length and len(packed) == length else None


def main() -> None:
    """The process: it ends when its questions do."""
    limit_memory()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no reply
    _send(replies, msgspec.msgpack.encode([]))
    while (packed := _receive(sys.stdin.buffer)) is not None:
        question = _decode_question(packed)
        signal.setitimer(signal.ITIMER_PROF, question.limit_s)  # nobody handles its signal: the process is ended
        reasons = failures(question.checks, question.answer)
        signal.setitimer(signal.ITIMER_PROF, 0)
        with contextlib.suppress(BrokenPipeError):  # who asked is gone
            _send(replies, msgspec.msgpack.encode(reasons))


def limit_memory() -> None:
    """Let this process take `MEMORY_BYTES` at most. A stricter limit of the system stays: few may raise it."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


if __name__ == "__main__":
    main()
