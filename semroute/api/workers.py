"""Several worker processes at one port, and the supervisor that watches them.

While a worker is dead, hangs or cannot start, the others accept its callers, who wait at a socket that the supervisor
keeps open.

uvicorn 0.54 has a supervisor too. But it stops the whole service if one worker fails to start, and it gives all workers
one socket, so that the worker that wakes first takes all waiting callers.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import queue
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import msgspec

from semroute.api import worker_schedule
from semroute.api.worker_pipe import Beat, Begin, Failed, LastGood, Notes, Said, decode_said, encode
from semroute.api.worker_schedule import Slot

log = logging.getLogger("semroute.workers")

TICK_S = 0.1
"""Seconds between two looks of the supervisor."""
HELD_UP_S = 1.0
"""If there was no look for this many seconds, the supervisor itself was stopped, or its machine slept."""
CLOSE_S = 30.0
"""Seconds that a worker may take to close its books after its last requests."""
STOPPING = (signal.SIGINT, signal.SIGTERM)
PASSED_OVER = (signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU)
"""Signals that would end a process that does not handle them. The supervisor takes them and goes on."""

Target = Callable[[int, list[socket.socket], Connection], None]
"""What a worker runs. It gets its number, the listening sockets of all workers, and its end of the pipe."""

_spawn = multiprocessing.get_context("spawn")


class Worker:
    """One process, and the thread that reads its messages. Raises `OSError` if no process can be started."""

    def __init__(self, target: Target, number: int, listening: list[socket.socket], supervisor: Supervisor) -> None:
        self._pipe, theirs = _spawn.Pipe()
        self.said = ""
        """Why it cannot start, as it said itself."""
        self.ends_by: float | None = None
        """When it is killed, after it was asked to end."""
        self.heard: float | None = None
        """When it last gave a sign of life."""
        self._supervisor, self._number = supervisor, number
        self.process: SpawnProcess = _spawn.Process(target=target, args=(number, listening, theirs), daemon=True)
        try:
            with theirs:
                self.process.start()
            threading.Thread(target=self._listen, name=f"worker {self.process.pid}", daemon=True).start()
        except (OSError, RuntimeError) as error:  # no process, or no thread, can be started
            self._pipe.close()  # if the process was started, it ends by itself
            raise OSError(str(error)) from error

    def retire(self, ends_by: float) -> None:
        """Ask the worker to finish its requests and then to end."""
        self.ends_by = ends_by
        self.process.terminate()

    def _listen(self) -> None:
        # A worker that stops in the middle of a message holds up only this thread.
        with contextlib.suppress(OSError, EOFError, msgspec.DecodeError), self._pipe:
            self._pipe.send_bytes(encode(Begin(good=self._supervisor.good)))
            while True:
                said = decode_said.decode(self._pipe.recv_bytes())
                self._supervisor.events.put((self, said))
                if isinstance(said, Beat):
                    self._pipe.send_bytes(encode(self._supervisor.tell(self._number)))
        wait([self.process.sentinel])
        self._supervisor.events.put((self, None))


class Supervisor:
    """Keeps a number of workers running until it is told to stop."""

    def __init__(
        self,
        target: Target,
        listening: list[socket.socket],
        *,
        drain_s: float,
        good: LastGood,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`listening`: a socket for each worker. `good`: what the first workers may start from. `drain_s`: how long
        running requests may take at a stop.
        """
        self.events: queue.SimpleQueue[tuple[Worker, Said | None] | signal.Signals] = queue.SimpleQueue()
        """Messages of workers. None: the worker has ended."""
        self.good = good
        self._notes: tuple[str, ...] = ()
        self._absent: tuple[int, ...] = ()
        self._target = target
        self._listening = listening
        self._drain_s = drain_s
        self._clock = clock
        self._slots = [Slot(number, clock()) for number in range(1, len(listening) + 1)]
        self._workers: dict[Worker, Slot] = {}
        self._retiring: list[Worker] = []
        self._replacing: deque[int] = deque()
        """The numbers of the workers that are still to be replaced by new ones."""
        self._coming: tuple[Slot, Slot] | None = None
        """The slot of a new worker that is starting, and the slot of the worker that it will replace."""
        self._served = False
        self._looked_at = clock()
        self._open = True

    def run(self) -> bool:
        """Serve until SIGINT or SIGTERM. False: no worker could start."""
        for number in (*STOPPING, *PASSED_OVER, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` sets SIGHUP to be ignored
                signal.signal(number, lambda received, _: self.events.put(signal.Signals(received)))
        return self.keep()

    def keep(self) -> bool:
        """Serve as `run` does, for a caller that adds the signals to the events itself."""
        stopping = False
        while not stopping and not self._hopeless:
            self._look()
            stopping = self._hear()
        self._stop()
        return not self._hopeless

    def tell(self, number: int) -> Notes:
        """Return what to tell the worker with this number. Any thread may call this."""
        return Notes(notes=self._notes, absent=tuple(other for other in self._absent if other != number))

    @property
    def _hopeless(self) -> bool:
        """Return whether every worker failed before any could serve."""
        return not self._served and all(slot.failures for slot in self._slots)

    def _hear(self) -> bool:
        """Take in what has happened. True: the service must stop."""
        with contextlib.suppress(queue.Empty):
            event = self.events.get(timeout=TICK_S)
            while True:
                if event in STOPPING:
                    return True
                if isinstance(event, tuple):
                    self._on(*event)
                elif event == signal.SIGHUP:
                    log.info("SIGHUP: each worker is replaced by a new one")
                    self._replacing = deque(slot.number for slot in self._slots)
                event = self.events.get_nowait()
        return False

    def _on(self, worker: Worker, said: Said | None) -> None:
        now = self._clock()
        slot = self._workers.get(worker)
        match said:
            case LastGood():
                self.good = said
            case Failed(reason=reason):
                worker.said = reason
            case Beat() if slot is None:
                worker.heard = now
            case Beat(serving=serving) if slot is not None and slot.hear(now, serving=serving):
                self._served = True
                self._take_over(slot)
                self._tell()
            case None:
                self._on_end(worker, now)

    def _on_end(self, worker: Worker, now: float) -> None:
        worker.process.join()
        reason = worker.said or _ending(worker.process.exitcode)
        if worker in self._retiring:
            self._retiring.remove(worker)
        slot = self._workers.pop(worker, None)
        if slot is not None:
            self._on_failure(slot, now, reason)

    def _on_failure(self, slot: Slot, now: float, reason: str) -> None:
        if self._coming is not None and slot is self._coming[0]:
            log.error("the new worker %d could not start, so the old workers stay: %s", slot.number, reason)
            self._coming = None
            self._replacing.clear()
            return
        known = slot.reason
        verb = "has ended" if slot.phase == "serving" else "could not start"
        pause = slot.end(now, reason)
        again = f"it is started again in {pause:g} s" if pause else "it is started again"
        # A reason that stays the same is logged once, however often the worker is tried.
        level = logging.DEBUG if reason == known else logging.ERROR
        log.log(level, "worker %d %s: %s; %s", slot.number, verb, reason, again)
        self._tell()

    def _tell(self) -> None:
        missing = [slot for slot in self._slots if slot.reason and slot.phase != "serving"]
        self._notes = tuple(f"worker {slot.number} does not serve: {slot.reason}" for slot in missing)

    def _look(self) -> None:
        """Start workers that are due, and end workers that hang."""
        now = self._clock()
        if now - self._looked_at > HELD_UP_S:
            for slot in self._workers.values():
                slot.forgive(now - self._looked_at)
        self._looked_at = now
        for slot in self._slots:
            if slot.phase == "pausing" and now >= slot.due:
                self._start(slot, now)
        for worker, slot in list(self._workers.items()):
            if slot.overdue(now):
                worker.said = worker.said or "it gave no sign of life"
                worker.process.kill()
        self._kill_late(now)
        self._absent = tuple(slot.number for slot in self._slots if slot.absent(now))
        if self._replacing and self._coming is None and not self._retiring:
            number = self._replacing.popleft()
            old = next(slot for slot in self._slots if slot.number == number)
            self._coming = Slot(number, now), old
            self._start(self._coming[0], now)
        if self._open and not self._workers and all(slot.due > now for slot in self._slots):
            self._refuse_callers()

    def _refuse_callers(self) -> None:
        """Refuse callers at once instead of letting them wait: no worker is there or about to come."""
        self._open = False
        for listening in self._listening:
            # A socket that does not listen must be left alone. Linux would refuse to shut it down, and yet mark it:
            # when it listens again, nothing could be read from any caller.
            if listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                with contextlib.suppress(OSError):  # not every system can
                    listening.shutdown(socket.SHUT_RDWR)

    def _start(self, slot: Slot, now: float) -> None:
        try:
            worker = Worker(self._target, slot.number, self._listening, self)
        except OSError as error:
            self._on_failure(slot, now, f"no process can be started: {error}")
            return
        slot.begin(now)
        self._open = True  # the worker listens again when it serves
        self._workers[worker] = slot

    def _take_over(self, slot: Slot) -> None:
        """Note that a worker serves. If it is a new one, end the old one."""
        if self._coming is None or slot is not self._coming[0]:
            return
        old, self._coming = self._coming[1], None
        self._slots[self._slots.index(old)] = slot
        self._retire([worker for worker, its in self._workers.items() if its is old])

    def _retire(self, workers: list[Worker]) -> None:
        ends_by = self._clock() + self._drain_s + CLOSE_S
        for worker in workers:
            worker.heard = self._clock()
            worker.retire(ends_by)
            del self._workers[worker]
            self._retiring.append(worker)

    def _stop(self) -> None:
        """Let every worker finish what is running."""
        for listening in self._listening:
            listening.close()
        self._retire(list(self._workers))
        while self._retiring:
            self._kill_late(self._clock())
            self._hear()

    def _kill_late(self, now: float) -> None:
        for worker in self._retiring:
            silent = worker.heard is not None and now - worker.heard >= worker_schedule.HEALTH_S
            if silent or (worker.ends_by is not None and now >= worker.ends_by):
                worker.process.kill()


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"it was ended by a signal: {signal.strsignal(-code) or -code}"
    return f"it ended with status {code}"
