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

from semroute.config.schema.policies import Checks
from semroute.execution.answer_quality import Mended, failures, mended, takes_time
from semroute.messages import Completion

log = logging.getLogger("semroute.checks")

LIMIT_S = 2.0
"""Of a processor's time, for one answer."""
PATIENCE_S = 30.0
"""For one answer by the clock, where the machine is busy; and for a process to start."""
LONG_CHARS = 32_768
"""From here on an answer is a long one."""
MAX_WAITING, MAX_LONG_WAITING = 1024, 64
"""Answers, and long answers, that may wait for their process. Further ones fail their check."""
MEMORY_BYTES = 2 << 30
"""What a process may take."""
READY = b"ready"
"""What a process says first."""


class Question(msgspec.Struct, frozen=True):
    """What a process is asked."""

    checks: Checks
    answer: Completion
    mends: bool
    """Whether the JSON document in the answer is meant, and not all of it."""
    limit_s: float


_decode_question = msgspec.msgpack.Decoder(Question).decode
_decode_reply = msgspec.msgpack.Decoder(Mended).decode


class Examiner:
    """Checks answers. For one event loop; `aclose` it."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._short = _Desk("short answers", MAX_WAITING)
        self._long = _Desk("long answers", MAX_LONG_WAITING)

    async def failures(self, checks: Checks, answer: Completion) -> list[str]:
        """As `quality.failures`. What cannot be checked in time has failed."""
        if not takes_time(checks, answer):
            return failures(checks, answer)
        return (await self._ask(checks, answer, mends=False)).reasons

    async def mended(self, checks: Checks, answer: Completion) -> Mended:
        """As `quality.mended`. What cannot be checked in time has failed."""
        if not takes_time(checks, answer):
            return mended(checks, answer)
        return await self._ask(checks, answer, mends=True)

    async def _ask(self, checks: Checks, answer: Completion, *, mends: bool) -> Mended:
        # Judges and callbacks are others' work, and the answer as it came is of no use here.
        checks, answer = replace(checks, judge=None, callback=None), replace(answer, raw=b"")
        desk = self._short if len(answer.text) < LONG_CHARS else self._long
        return await desk.ask(Question(checks, answer, mends, self._limit_s))

    async def aclose(self) -> None:
        """End the processes."""
        self._short.close()
        self._long.close()


class _Desk:
    """One process, one thread that speaks with it, and who waits for them."""

    def __init__(self, name: str, most: int) -> None:
        self._most = most
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"checks of {name}")
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting = 0
        self._closed = False

    async def ask(self, question: Question) -> Mended:
        """The reply. A caller who leaves meanwhile ends nothing: the next question still finds the process in order."""
        if self._waiting >= self._most:
            return _unchecked(f"it was not checked: {self._most} other answers wait for that")
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

    def _answer(self, question: Question) -> Mended:
        """Blocks."""
        if self._closed:
            return _unchecked("it was not checked: the service ends")
        try:
            process = self._process = self._process or _start()
            with contextlib.suppress(BrokenPipeError):  # it is gone: the reply says so
                _send(process.stdin, msgspec.msgpack.encode(question))
            reply = _receive(process.stdout, PATIENCE_S)
        except OSError as error:
            log.error("the process that checks answers cannot be used: %s", error)
            reply = None
        if reply is not None:
            return _decode_reply(reply)
        status = self._end()
        if status in (-signal.SIGPROF, -signal.SIGKILL):
            return _unchecked(f"it takes over {question.limit_s:g} s to check")
        log.error("the process that checks answers ended with status %s", status)
        return _unchecked("it cannot be checked: the checks end their process")

    def _end(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        return _kill(process)


def _unchecked(reason: str) -> Mended:
    return Mended("", [reason])


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
    _send(replies, READY)
    while (packed := _receive(sys.stdin.buffer)) is not None:
        question = _decode_question(packed)
        signal.setitimer(signal.ITIMER_PROF, question.limit_s)  # nobody handles its signal: the process is ended
        if question.mends:
            reply = mended(question.checks, question.answer)
        else:
            reply = Mended("", failures(question.checks, question.answer))
        signal.setitimer(signal.ITIMER_PROF, 0)
        with contextlib.suppress(BrokenPipeError):  # who asked is gone
            _send(replies, msgspec.msgpack.encode(reply))


def limit_memory() -> None:
    """Let this process take `MEMORY_BYTES` at most. A stricter limit of the system stays: few may raise it."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


if __name__ == "__main__":
    main()
