"""Cut off connections whose server does not answer in time.

If a server hangs, or a network drops its packets, the connection still looks alive: the operating system waits, and so
does the thread that asked. One more thread watches the time and shuts down the socket. The thread that waits then gets
an error at once, and is free again.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

TICK_S = 0.1
"""Seconds between two looks at the time. A connection is cut off at most this much late."""


class Cutoff:
    """Watches connections. Safe to share among threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds of a monotonic clock."""
        self._clock = clock
        self._changed = threading.Condition()
        self._watched: dict[object, tuple[float, Callable[[], int]]] = {}
        self._cut: set[object] = set()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def within(self, seconds: float, fileno: Callable[[], int]) -> Iterator[Callable[[], bool]]:
        """Cut a connection off unless the block ends in time. Yields a function that tells whether it was cut off.

        `fileno`: returns the number of the connection's socket. Raises `OSError` if that is closed.
        """
        key = object()
        with self._changed:
            self._watched[key] = self._clock() + seconds, fileno
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="cut off", daemon=True)
                self._thread.start()
            elif len(self._watched) == 1:
                self._changed.notify()
        try:
            yield lambda: key in self._cut
        finally:
            with self._changed:
                self._watched.pop(key, None)
                self._cut.discard(key)

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._watched)
                self.look()
            # Other threads need the lock meanwhile, so this runs without it.
            time.sleep(TICK_S)

    def look(self) -> None:
        """Cut off the connections that are late."""
        with self._changed:
            now = self._clock()
            late = [(key, fileno) for key, (due, fileno) in self._watched.items() if now >= due]
            for key, fileno in late:
                # The block cannot end meanwhile, so the number still belongs to its socket.
                del self._watched[key]
                self._cut.add(key)
                _shut(fileno)


def _shut(fileno: Callable[[], int]) -> None:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)
