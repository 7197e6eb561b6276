"""A separate process that writes the decision log, so that packing and writing records holds up no request.

Orders go to its standard input and answers come from its standard output. Each is 4 bytes of length, then MessagePack.
When its input ends, the process writes what has come whole and then ends, so a service that is killed loses less.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO

import msgspec

from semroute.errors import RefusedValueError, SettingsError, StoreError
from semroute.record import Record
from semroute.stores.connect import connect
from semroute.stores.decision_log import SqlLog
from semroute.stores.log_entries import pack, unpack

log = logging.getLogger("semroute.log")

CHUNK = 64
"""How many records are packed at once. This holds the interpreter's lock for half a millisecond."""
CLOSE_S = 5.0
ANSWER_S = 60.0
"""Seconds without an answer after which the process is killed and another is started. Its database gives up earlier."""
PRUNE_S = 600.0
"""The same limit for an order to delete records, in seconds."""
HELD_BACK = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals held back from the process. A stop often signals all processes, but this one must first write the rest."""


class OpenOrder(msgspec.Struct, frozen=True, tag=True):
    """The first order. The address is not on the command line, because all users of the machine can read that."""

    url: str


class TakeOrder(msgspec.Struct, frozen=True, tag=True):
    """Records of the next commit. This order has no answer."""

    records: msgspec.Raw
    """A packed list of `Record`s. It is unpacked at the commit, so that the answer can report a bad record."""


class CommitOrder(msgspec.Struct, frozen=True, tag=True):
    """Write the records taken so far. `again`: the last try may have written them already."""

    again: bool


class PruneOrder(msgspec.Struct, frozen=True, tag=True):
    """Delete records that are too old or too many."""

    before: float | None
    max_bytes: int | None


class OrderResult(msgspec.Struct, frozen=True):
    """The result of an order."""

    error: str | None = None
    retryable: bool = True
    """Whether the order may succeed if it is repeated. False: a record is to blame."""
    deleted: int = 0


Order = OpenOrder | TakeOrder | CommitOrder | PruneOrder
_decode_order: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
_decode_answer = msgspec.msgpack.Decoder(OrderResult)


class LogProcess:
    """A `Sink`. If its process is gone, the next order starts another. Raises `StoreError` if none starts."""

    def __init__(self, database_url: str, *, answer_s: float = ANSWER_S) -> None:
        """`answer_s`: if the process takes longer to write, it is killed, and the next order starts another."""
        self._url = database_url
        self._answer_s = answer_s
        self._turn = threading.Lock()
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = _start(database_url)

    def write(self, batch: Sequence[Record], *, again: bool = False) -> None:
        """Append all records or none. Raises `StoreError`, or anything else if a record cannot be kept."""
        chunks = (batch[first : first + CHUNK] for first in range(0, len(batch), CHUNK))
        # All are packed before any is sent, so the process gets nothing of a batch that cannot be packed.
        takes = [_packed(TakeOrder(msgspec.Raw(pack(chunk)))) for chunk in chunks]
        self._ask(*takes, _packed(CommitOrder(again)), within_s=self._answer_s)

    def prune(self, *, before: float | None, max_bytes: int | None) -> int:
        """Delete records that are too old or too many. Returns how many. Raises `StoreError`."""
        return self._ask(_packed(PruneOrder(before, max_bytes)), within_s=PRUNE_S).deleted

    def close(self) -> None:
        """Let the process finish its orders and end. If it is still busy after `CLOSE_S`, kill it."""
        self._closed = True
        if not self._turn.acquire(timeout=CLOSE_S):
            if (busy := self._process) is not None:
                busy.kill()
            self._turn.acquire()
        process, self._process = self._process, None
        self._turn.release()
        if process is not None:
            _end(process)

    def _ask(self, *orders: bytes, within_s: float) -> OrderResult:
        with self._turn:
            if self._closed:
                raise StoreError("the decision log is closed")
            process = self._process = self._process or _start(self._url)
            late = threading.Timer(within_s, process.kill)
            late.daemon = True
            late.start()
            try:
                answer = _exchange(process, orders)
            finally:
                late.cancel()
            if answer is None:
                self._process = None
                raise StoreError(f"the process that writes the decision log ended with status {_end(process)}")
        if answer.error is not None:
            raise (StoreError if answer.retryable else RefusedValueError)(answer.error)
        return answer


def _start(database_url: str) -> subprocess.Popen[bytes]:
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    command = [sys.executable, "-P", "-m", __name__]
    # The process never gets these signals, not even while it starts.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ)
    except OSError as error:
        raise StoreError(f"the process that writes the decision log cannot be started: {error}") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    with contextlib.suppress(OSError):  # the process is gone already: the next order finds out
        _send(_stdin(process), _packed(OpenOrder(database_url)))
    return process


def _exchange(process: subprocess.Popen[bytes], orders: Sequence[bytes]) -> OrderResult | None:
    """Send orders and return the answer to the last one. None: the process is gone."""
    try:
        for order in orders:
            _send(_stdin(process), order)
        packed = _receive(_stdout(process))
    except OSError:
        return None
    return None if packed is None else _decode_answer.decode(packed)


def _end(process: subprocess.Popen[bytes]) -> int:
    """Let a process end, and return its exit status."""
    with contextlib.suppress(OSError):  # what it was not told yet is lost with it
        _stdin(process).close()
    try:
        process.wait(CLOSE_S)
    except subprocess.TimeoutExpired:
        process.kill()
    _stdout(process).close()
    return process.wait()


class RecordWriter:
    """The work of the process."""

    def __init__(self) -> None:
        self._url = ""
        self._log: SqlLog | None = None
        self._taken: list[msgspec.Raw] = []

    def follow(self, orders: IO[bytes], answers: IO[bytes]) -> None:
        """Follow orders until they end. Then write the records taken so far, though nobody asks for it any more."""
        while (packed := _receive(orders)) is not None:
            answer = self._obey(_decode_order.decode(packed))
            if answer is not None:
                with contextlib.suppress(BrokenPipeError):  # the service that asked is gone
                    _send(answers, _packed(answer))
        if self._taken and (error := self._answer(CommitOrder(again=True)).error) is not None:
            log.error("the last records of the decision log are lost: %s", error)
        if self._log is not None:
            self._log.database.close()

    def _obey(self, order: Order) -> OrderResult | None:
        match order:
            case OpenOrder(url):
                self._url = url
            case TakeOrder(records):
                self._taken.append(records)
            case CommitOrder() | PruneOrder():
                return self._answer(order)
        return None

    def _answer(self, order: CommitOrder | PruneOrder) -> OrderResult:
        taken, self._taken = self._taken, []
        try:
            self._log = self._log or SqlLog(connect(self._url))
            if isinstance(order, PruneOrder):
                return OrderResult(deleted=self._log.prune(before=order.before, max_bytes=order.max_bytes))
            batch = [entry for packed in taken for entry in unpack(packed)]
            self._log.append(batch, again=order.again)
        except (StoreError, SettingsError) as error:
            return OrderResult(error=str(error), retryable=not isinstance(error, RefusedValueError))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one record, the others must be written
            return OrderResult(error=f"{type(error).__name__}: {error}", retryable=False)
        return OrderResult()


def _packed(message: Order | OrderResult) -> bytes:
    packed = pack(message)
    return len(packed).to_bytes(4, "big") + packed


def _send(stream: IO[bytes], packed: bytes) -> None:
    stream.write(packed)
    stream.flush()


def _receive(stream: IO[bytes]) -> bytes | None:
    """Read one message. None: the stream has ended, perhaps inside a message."""
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
    """Run the process."""
    # If the database is unavailable, its library warns again and again. The service reports it once.
    logging.basicConfig(format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    logging.disable(logging.WARNING)
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not look like an answer
    with open(answers, "wb", buffering=0) as stream:  # noqa: PTH123 - a descriptor is no path
        RecordWriter().follow(sys.stdin.buffer, stream)


if __name__ == "__main__":
    main()
