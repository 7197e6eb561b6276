"""Run the checks of answers that may take long in separate processes.

A caller can make a model say anything. Some answers keep a parser busy for minutes, fill the memory, or crash the
interpreter. So each check gets `LIMIT_S` of processor time, after which the operating system ends its process. The
event loop never waits for it. Short answers and long answers have a process each, so that long ones do not delay short
ones. A process starts with the first answer that needs it. Each question is JSON, and each reply is MessagePack, with
its length in 4 bytes before it.
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

from semroute.config.json_schemas import SchemaFaultError, usable
from semroute.config.schema.policies import Checks
from semroute.execution.answer_quality import RepairedJson, failures, mended, takes_time
from semroute.messages import Completion

log = logging.getLogger("semroute.checks")

LIMIT_S = 2.0
"""Seconds of processor time for one answer."""
PATIENCE_S = 30.0
"""Seconds by the clock for one answer, because the machine may be busy. A process may take as long to start."""
LONG_CHARS = 32_768
"""Characters. An answer of this length or more is a long one."""
MAX_WAITING, MAX_LONG_WAITING = 1024, 64
"""How many short answers and how many long ones may wait for their process. Further answers fail their check."""
MEMORY_BYTES = 2 << 30
"""The most memory that a process may take."""
READY = b"ready"
"""The first message of a process."""


class CheckRequest(msgspec.Struct, frozen=True):
    """A question to a process."""

    checks: Checks
    answer: Completion
    mends: bool
    """Whether to check only the JSON document in the answer. False: check the whole answer."""
    limit_s: float


_decode_question = msgspec.json.Decoder(CheckRequest).decode
_decode_reply = msgspec.msgpack.Decoder(RepairedJson).decode


class AnswerChecker:
    """Checks answers, on one event loop. Call `aclose` at the end."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._short = _Desk("short answers", MAX_WAITING)
        self._long = _Desk("long answers", MAX_LONG_WAITING)

    async def failures(self, checks: Checks, answer: Completion) -> list[str]:
        """Do the same as `answer_quality.failures`. An answer that cannot be checked in time fails."""
        if not takes_time(checks, answer):
            return failures(checks, answer)
        return (await self._ask(checks, answer, mends=False)).reasons

    async def mended(self, checks: Checks, answer: Completion) -> RepairedJson:
        """Do the same as `answer_quality.mended`. An answer that cannot be checked in time fails."""
        if not takes_time(checks, answer):
            return mended(checks, answer)
        return await self._ask(checks, answer, mends=True)

    async def _ask(self, checks: Checks, answer: Completion, *, mends: bool) -> RepairedJson:
        # The process neither asks judges nor calls back, and it does not need the provider's own body.
        checks, answer = replace(checks, judge=None, callback=None), replace(answer, raw=b"")
        desk = self._short if len(answer.text) < LONG_CHARS else self._long
        reply = await desk.ask(_packed(CheckRequest(checks, answer, mends, self._limit_s)), self._limit_s)
        if reply.schema_fault:
            raise SchemaFaultError(reply.schema_fault)
        return reply

    async def aclose(self) -> None:
        """End the processes."""
        self._short.close()
        self._long.close()


class _Desk:
    """One process, and the thread that talks to it."""

    def __init__(self, name: str, most: int) -> None:
        self._most = most
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"checks of {name}")
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting = 0
        self._closed = False

    async def ask(self, question: bytes, limit_s: float) -> RepairedJson:
        """Return the reply. If the caller leaves, the process still finishes the check, and is then free again."""
        if self._waiting >= self._most:
            return _unchecked(f"it was not checked: {self._most} other answers are waiting to be checked")
        self._waiting += 1
        told = asyncio.get_running_loop().run_in_executor(self._thread, self._answer, question, limit_s)
        told.add_done_callback(self._done)
        return await told

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._closed = True
        if (process := self._process) is not None:
            process.kill()
        self._thread.shutdown(cancel_futures=True)
        self._end()

    def _done(self, _: object) -> None:
        self._waiting -= 1

    def _answer(self, question: bytes, limit_s: float) -> RepairedJson:
        """Ask the process, and wait for its reply. Blocking."""
        if self._closed:
            return _unchecked("it was not checked: the service is stopping")
        try:
            process = self._process = self._process or _start()
            with contextlib.suppress(BrokenPipeError):  # the process is gone, and the missing reply shows it
                _send(process.stdin, question)
            reply = _receive(process.stdout, PATIENCE_S)
        except OSError as error:
            log.error("the process that checks answers cannot be used: %s", error)
            reply = None
        if reply is not None:
            return _decode_reply(reply)
        status = self._end()
        if status in (-signal.SIGPROF, -signal.SIGKILL):
            return _unchecked(f"it takes over {limit_s:g} s to check")
        log.error("the process that checks answers ended with status %s", status)
        return _unchecked("it cannot be checked: the process that checked it ended")

    def _end(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        return _kill(process)


def _packed(question: CheckRequest) -> bytes:
    """Raises `SchemaFaultError` where JSON cannot say what the schema holds."""
    try:
        return msgspec.json.encode(question)  # MessagePack has no room for the longest numbers
    except (TypeError, RecursionError):
        usable(question.checks.json_schema)  # says what is wrong with it
        raise


def _unchecked(reason: str) -> RepairedJson:
    return RepairedJson("", [reason])


def _start() -> subprocess.Popen[bytes]:
    """Start a process, and wait until it is ready. Raises `OSError`."""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    command = [sys.executable, "-P", "-m", __name__]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, bufsize=-1, process_group=0
    )
    if _receive(process.stdout, PATIENCE_S) is None:
        raise OSError(f"it does not start (status {_kill(process)})")
    return process


def _kill(process: subprocess.Popen[bytes]) -> int:
    """End a process that does not answer or has ended. Returns its exit status."""
    process.kill()
    with contextlib.suppress(BrokenPipeError), process:  # bytes that were not sent yet are lost with the process
        pass
    return process.wait()


def _send(stream: IO[bytes] | None, packed: bytes) -> None:
    assert stream is not None
    stream.write(len(packed).to_bytes(4, "big") + packed)
    stream.flush()


def _receive(stream: IO[bytes] | None, timeout_s: float | None = None) -> bytes | None:
    """Return one message. None: the stream has ended, or no message came in time."""
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
    """Answer questions until there are no more. This runs in the process."""
    limit_memory()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # text that a library prints must not look like a reply
    _send(replies, READY)
    while (packed := _receive(sys.stdin.buffer)) is not None:
        question = _decode_question(packed)
        signal.setitimer(signal.ITIMER_PROF, question.limit_s)  # nothing handles this signal, so it ends the process
        try:
            if question.mends:
                reply = mended(question.checks, question.answer)
            else:
                reply = RepairedJson("", failures(question.checks, question.answer))
        except SchemaFaultError as error:
            reply = RepairedJson("", [], schema_fault=str(error))
        signal.setitimer(signal.ITIMER_PROF, 0)
        with contextlib.suppress(BrokenPipeError):  # the service is gone
            _send(replies, msgspec.msgpack.encode(reply))


def limit_memory() -> None:
    """Limit the memory of this process to `MEMORY_BYTES`. A stricter limit of the system stays in force."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


if __name__ == "__main__":
    main()
