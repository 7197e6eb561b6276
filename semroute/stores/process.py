"""A process of its own that writes the decision log: to pack and write a record holds up no request.

Orders go to its standard input and answers come from its standard output, each as 4 bytes of length and MessagePack. It
ends when its input does, and writes before that what has come whole: a service that is killed loses less.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO

import msgspec

from semroute.errors import SettingsError, StoreError
from semroute.record import Record
from semroute.stores.base import Database
from semroute.stores.log import SqlLog
from semroute.stores.open import open_database

CHUNK = 64
"""Records that are packed at once: the interpreter's lock is held for half a millisecond."""
CLOSE_S = 5.0


class Open(msgspec.Struct, frozen=True, tag=True):
    """The first order. Not on the command line, which all users of the machine may read."""

    url: str


class Take(msgspec.Struct, frozen=True, tag=True):
    """Records of the next commit. Has no answer."""

    records: list[Record]


class Commit(msgspec.Struct, frozen=True, tag=True):
    """Write what was taken. `again`: it may have been written already."""

    again: bool


class Prune(msgspec.Struct, frozen=True, tag=True):
    """Delete what is too old or too much."""

    before: float | None
    max_bytes: int | None


class Answer(msgspec.Struct, frozen=True):
    """What became of an order."""

    error: str | None = None
    deleted: int = 0


Order = Open | Take | Commit | Prune
_encode = msgspec.msgpack.Encoder().encode
_decode_order: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
_decode_answer = msgspec.msgpack.Decoder(Answer)


class LogProcess:
    """A `Sink`. Where its process is gone, the next order starts another."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._turn = threading.Lock()
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = self._start()

    def write(self, batch: Sequence[Record], *, again: bool = False) -> None:
        """Append records, all or none. Raises `StoreError`."""
        chunks = (list(batch[first : first + CHUNK]) for first in range(0, len(batch), CHUNK))
        self._ask(*map(Take, chunks), Commit(again))

    def prune(self, *, before: float | None, max_bytes: int | None) -> int:
        """Delete what is too old or too much. Returns how many records. Raises `StoreError`."""
        return self._ask(Prune(before, max_bytes)).deleted

    def close(self) -> None:
        """End the process, which first does what it was told; one that is still busy then is killed."""
        self._closed, process = True, self._process
        if process is None:
            return
        if not self._turn.acquire(timeout=CLOSE_S):
            process.kill()
            self._turn.acquire()
        _end(process)
        self._turn.release()

    def _ask(self, *orders: Order) -> Answer:
        with self._turn:
            if self._closed:
                raise StoreError("the decision log is closed")
            process = self._process = self._process or self._start()
            try:
                for order in orders:
                    _send(_stdin(process), order)
                packed = _receive(_stdout(process))
            except OSError:
                packed = None
            if packed is None:
                self._process = None
                raise StoreError(f"the process that writes the decision log ended with status {_end(process)}")
        answer = _decode_answer.decode(packed)
        if answer.error is not None:
            raise StoreError(answer.error)
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-m", __name__]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ)
        _send(_stdin(process), Open(self._url))
        return process


def _end(process: subprocess.Popen[bytes]) -> int:
    """Let a process end; its status."""
    with contextlib.suppress(OSError):  # what it was not told yet is lost with it
        _stdin(process).close()
    try:
        process.wait(CLOSE_S)
    except subprocess.TimeoutExpired:
        process.kill()
    _stdout(process).close()
    return process.wait()


class Scribe:
    """What the process does."""

    def __init__(self) -> None:
        self._url = ""
        self._database: Database | None = None
        self._log: SqlLog | None = None
        self._taken: list[Record] = []

    def obey(self, order: Order) -> Answer | None:
        """Do as told; null: there is nothing to answer."""
        match order:
            case Open(url):
                self._url = url
                return None
            case Take(records):
                self._taken += records
                return None
        try:
            return self._answer(order)
        except (StoreError, SettingsError) as error:
            return Answer(error=str(error))

    def end(self) -> None:
        """Write what was taken, though nobody is left to ask for it: nor to hear of an error."""
        if self._taken:
            self.obey(Commit(again=True))
        if self._database is not None:
            self._database.close()

    def _answer(self, order: Commit | Prune) -> Answer:
        taken, self._taken = self._taken, []
        if self._log is None:
            self._database = open_database(self._url)
            self._log = SqlLog(self._database)
        match order:
            case Commit(again):
                self._log.write(taken, again=again)
                return Answer()
            case Prune(before, max_bytes):
                return Answer(deleted=self._log.prune(before=before, max_bytes=max_bytes))


def _send(stream: IO[bytes], message: Order | Answer) -> None:
    packed = _encode(message)
    stream.write(len(packed).to_bytes(4, "big") + packed)
    stream.flush()


def _receive(stream: IO[bytes]) -> bytes | None:
    """One message; null: the stream has ended, maybe within one."""
    length = int.from_bytes(stream.read(4), "big")
    packed = stream.read(length)
    return packed if length and len(packed) == length else None


def _stdin(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None
    return process.stdin


def _stdout(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout


def main() -> None:
    """Do as told until the input ends."""
    # Who stops the service often stops all of its processes, and this one has to write what the others still say.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    scribe = Scribe()
    with sys.stdin.buffer as orders, sys.stdout.buffer as answers:
        while (packed := _receive(orders)) is not None:
            answer = scribe.obey(_decode_order.decode(packed))
            if answer is not None:
                with contextlib.suppress(BrokenPipeError):  # who asked is gone
                    _send(answers, answer)
        scribe.end()


if __name__ == "__main__":
    main()
