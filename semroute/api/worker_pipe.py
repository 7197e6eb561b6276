"""The messages between a worker and its supervisor, over a pipe.

The supervisor begins with the last good state, so that a worker can start while the route files are broken or the
database is unavailable. From then on the worker sends messages, and the supervisor answers each sign of life:

supervisor  Begin(good)         Notes(notes)
worker                   Beat                 Good …   Beat   Failed
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection

import msgspec

from semroute.bases import Frozen
from semroute.config.folder import RouteFiles
from semroute.stores.interfaces import Row

log = logging.getLogger("semroute.workers")

BEAT_S = 0.2
"""Seconds between two signs of life."""


class LastGood(Frozen, frozen=True, kw_only=True, tag=True):
    """The last good state: what a worker started from, or has read since."""

    files: RouteFiles | None = None
    keys: list[Row] | None = None
    """The access keys as they are stored. None: nobody has read them yet."""
    keyed: bool = False
    """Whether there ever was a key. Then every call needs one, even if none is left."""


class Beat(Frozen, frozen=True, kw_only=True, tag=True):
    """The worker's event loop is alive."""

    serving: bool
    """Whether it answers requests yet."""


class Failed(Frozen, frozen=True, kw_only=True, tag=True):
    """The worker cannot start."""

    reason: str


class Begin(Frozen, frozen=True, kw_only=True, tag=True):
    """The first message of the supervisor."""

    good: LastGood


class Notes(Frozen, frozen=True, kw_only=True, tag=True):
    """The present state of the other workers."""

    notes: tuple[str, ...] = ()
    """What is wrong with them."""
    absent: tuple[int, ...] = ()
    """The numbers of the workers whose callers another worker must accept."""


Said = LastGood | Beat | Failed
Told = Begin | Notes

encode = msgspec.msgpack.Encoder().encode
decode_said: msgspec.msgpack.Decoder[Said] = msgspec.msgpack.Decoder(Said)
_decode_told: msgspec.msgpack.Decoder[Told] = msgspec.msgpack.Decoder(Told)


class Lifeline:
    """A worker's end of the pipe. A process that serves alone has no pipe, and tells nobody."""

    def __init__(self, good: LastGood | None = None, pipe: Connection | None = None) -> None:
        self.good = good or LastGood()
        """The last good state to start from."""
        self.notes: tuple[str, ...] = ()
        """What is wrong with other workers just now."""
        self._pipe = pipe
        self._turn = threading.Lock()
        self._untold = False

    @classmethod
    def take(cls, pipe: Connection) -> Lifeline:
        """Take one end of a pipe. Blocking: waits for the supervisor's first message."""
        first = _decode_told.decode(pipe.recv_bytes())
        return cls(first.good if isinstance(first, Begin) else LastGood(), pipe)

    def keep(self, *, files: RouteFiles | None = None, keys: list[Row] | None = None) -> None:
        """Note what is good, for workers that start later. Never waits: the next sign of life sends it."""
        good = self.good
        self.good = LastGood(
            files=files or good.files, keys=good.keys if keys is None else keys, keyed=good.keyed or bool(keys)
        )
        self._untold = True

    def fail(self, reason: str) -> None:
        """Say why this worker cannot start."""
        if self._pipe is not None:
            try:
                with self._turn:
                    self._pipe.send_bytes(encode(Failed(reason=reason)))
            except OSError:
                log.debug("the supervisor is gone: nobody to tell")

    def beat(
        self, serving: Callable[[], bool], leave: Callable[[], None], stand_in: Callable[[Sequence[int]], None]
    ) -> None:
        """Give signs of life of the running event loop, from a thread that never holds it up.

        The loop calls `stand_in` with the numbers of the workers whose callers this one must accept. It calls `leave`
        when the supervisor is gone, because a worker without one must end.
        """
        if self._pipe is not None:
            beating = partial(self._beat, asyncio.get_running_loop(), serving, leave, stand_in)
            threading.Thread(target=beating, name="lifeline", daemon=True).start()

    def _beat(
        self,
        loop: asyncio.AbstractEventLoop,
        serving: Callable[[], bool],
        leave: Callable[[], None],
        stand_in: Callable[[Sequence[int]], None],
    ) -> None:
        assert self._pipe is not None
        pause = threading.Event()
        absent: tuple[int, ...] = ()
        try:
            while True:
                turned = threading.Event()
                loop.call_soon_threadsafe(turned.set)
                turned.wait()
                with self._turn:
                    if self._untold:
                        self._untold = False
                        self._pipe.send_bytes(encode(self.good))
                    serves = serving()
                    self._pipe.send_bytes(encode(Beat(serving=serves)))
                    told = _decode_told.decode(self._pipe.recv_bytes())
                if isinstance(told, Notes):
                    self.notes = told.notes
                    if serves and told.absent != absent:
                        absent = told.absent
                        loop.call_soon_threadsafe(stand_in, absent)
                pause.wait(BEAT_S)
        except RuntimeError:  # the loop is closed, so the worker ends
            return
        except (OSError, EOFError, msgspec.DecodeError):
            log.warning("the supervisor of this worker is gone: the worker ends")
        try:
            loop.call_soon_threadsafe(leave)
        except RuntimeError:
            return
