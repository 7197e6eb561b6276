"""Cuts off connections whose server gives no answer in time.

A server that hangs, or that is behind a network which swallows packets, looks alive: the system goes on waiting, and
the thread that asked with it. One more thread watches the time, and shuts the socket down. Whoever waits for it then
gets an error at once, and is free again.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

TICK_S = 0.1
"""How exactly the time is kept."""


class Cutoff:
    """Watches over connections. Safe to share among threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds that only grow."""
        self._clock = clock
        self._changed = threading.Condition()
        self._watched: dict[object, tuple[float, Callable[[], int]]] = {}
        self._cut: set[object] = set()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def within(self, seconds: float, fileno: Callable[[], int]) -> Iterator[Callable[[], bool]]:
        """Cut a connection off unless the block ends in time. Gives what tells whether it was.

        `fileno`: of the connection's socket. Raises `OSError` where that is closed.
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
            # Not under the lock, which others need meanwhile.
            time.sleep(TICK_S)

    def look(self) -> None:
        """Cut off who is late."""
        with self._changed:
            now = self._clock()
            late = [(key, fileno) for key, (due, fileno) in self._watched.items() if now >= due]
            for key, fileno in late:
                # Whoever it is cannot leave its block meanwhile, so the number is still that of its socket.
                del self._watched[key]
                self._cut.add(key)
                _shut(fileno)


def _shut(fileno: Callable[[], int]) -> None:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)
