"""What a worker and its supervisor tell each other, over a pipe.

The supervisor begins with the last good form of what a worker starts from, so that a worker can start while the files
are broken or the database is away. From then on the worker speaks, and each sign of life is answered:

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
"""Between two signs of life."""


class Good(Frozen, frozen=True, kw_only=True, tag=True):
    """What a worker started from, or has used since: the last good form."""

    files: RouteFiles | None = None
    keys: list[Row] | None = None
    """The access keys, as they are stored; None: nobody has read them yet."""
    keyed: bool = False
    """Whether there ever was a key: then no call goes without one, also where none is left."""


class Beat(Frozen, frozen=True, kw_only=True, tag=True):
    """The worker's event loop is alive."""

    serving: bool
    """Whether it answers requests yet."""


class Failed(Frozen, frozen=True, kw_only=True, tag=True):
    """The worker cannot start."""

    reason: str


class Begin(Frozen, frozen=True, kw_only=True, tag=True):
    """The first word."""

    good: Good


class Notes(Frozen, frozen=True, kw_only=True, tag=True):
    """How the other workers are just now."""

    notes: tuple[str, ...] = ()
    """What is wrong with them."""
    absent: tuple[int, ...] = ()
    """The numbers of those whose callers somebody else must accept."""


Said = Good | Beat | Failed
Told = Begin | Notes

encode = msgspec.msgpack.Encoder().encode
decode_said: msgspec.msgpack.Decoder[Said] = msgspec.msgpack.Decoder(Said)
_decode_told: msgspec.msgpack.Decoder[Told] = msgspec.msgpack.Decoder(Told)


class Lifeline:
    """A worker's end. Without a pipe, as where one process serves alone, there is nobody to tell."""

    def __init__(self, good: Good | None = None, pipe: Connection | None = None) -> None:
        self.good = good or Good()
        """The last good form to start from."""
        self.notes: tuple[str, ...] = ()
        """What is wrong with other workers just now."""
        self._pipe = pipe
        self._turn = threading.Lock()
        self._untold = False

    @classmethod
    def take(cls, pipe: Connection) -> Lifeline:
        """Take a pipe's end. Blocking: waits for the supervisor's first word."""
        first = _decode_told.decode(pipe.recv_bytes())
        return cls(first.good if isinstance(first, Begin) else Good(), pipe)

    def keep(self, *, files: RouteFiles | None = None, keys: list[Row] | None = None) -> None:
        """Note what is good, for a worker that starts later. Never waits: it is told with the next sign of life."""
        good = self.good
        self.good = Good(
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

        On the loop are called: `stand_in`, with the numbers of workers whose callers are to be accepted, and `leave`
        when the supervisor is gone: a worker that nobody looks after ends.
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
        except RuntimeError:  # the loop is closed: the worker ends
            return
        except (OSError, EOFError, msgspec.DecodeError):
            log.warning("the supervisor of this worker is gone: the worker ends")
        try:
            loop.call_soon_threadsafe(leave)
        except RuntimeError:
            return
