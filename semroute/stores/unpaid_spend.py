"""What a process spent while the shared state was unavailable. It is owed until the state has counted it.

Each payment has a name, and the shared state counts a name once, so a payment whose answer was lost may be repeated.
A file beside the database keeps the payments for the next process. Its owner locks a second file for as long as it
lives. So other processes take over the payments of dead processes only.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

log = logging.getLogger("semroute.state")

Spent = dict[str, tuple[int, float]]
"""Counter -> (amount, when the counter may be forgotten)."""

NOTHING = b"{}"
SUM = "sum-of-many-"
"""The mark in the name of a payment for more than one request."""


FINE_S = 600
"""Seconds for which the exact second of unpaid spend is kept. Older spend is summed up by the minute."""


class Payment(msgspec.Struct, frozen=True):
    """An amount that one process owes to the shared state."""

    epoch: int
    """The epoch of the state that it is owed to. A state that came back empty has another epoch. 0: not known."""
    spent: Spent
    ended: float = 0.0
    """When the request ended. For many requests: the second in which they ended. 0: long ago."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Payment]).decode


class UnpaidSpend:
    """The payments that are still to be made."""

    def __init__(self, owner: str, file: Path | None = None) -> None:
        """`file`: the payments are written to files beside this one. None: nowhere."""
        self._owner = owner
        self._file = file
        self._payments: dict[str, Payment] = {}
        self.epoch = 0 if file is None else _read_epoch(self._epoch_path(file))
        """The epoch that the state had when it was last seen."""
        self._amounts: dict[str, int] = {}
        """The sum of all payments, by counter."""
        self._growing: dict[int, str] = {}
        """The payment that sums up the spend of each second. Other payments cannot grow: they may be on their way."""
        self._written = NOTHING
        self._turn = threading.Lock()
        self._lock: int | None = None
        self._complained = False

    def __bool__(self) -> bool:
        """Return whether anything is owed."""
        return bool(self._payments)

    def __len__(self) -> int:
        """Return how many payments are owed."""
        return len(self._payments)

    def add(self, spent: Mapping[str, tuple[int, float]], ended: float) -> None:
        """Owe what was spent, in one payment with all other spend of the same second."""
        counted = {name: each for name, each in spent.items() if each[0]}
        if not counted:
            return
        second = int(ended)
        if self._growing.get(second) not in self._payments:
            self._growing[second] = name = f"{self._owner}/{SUM}{secrets.token_hex(8)}"
            self._payments[name] = Payment(self.epoch, {}, second)
            self._coarsen(second - FINE_S)
        payment = self._payments[self._growing[second]].spent
        for name, (amount, end) in counted.items():
            payment[name] = payment.get(name, (0, 0.0))[0] + amount, end
        self._count(counted, 1)

    def _coarsen(self, before: int) -> None:
        """Sum up by the minute what was spent before a second, because an outage may last for days."""
        for second in [second for second in self._growing if second < before and second % 60]:
            payment = self.paid(self._growing.pop(second))
            if payment is not None:
                self.add(payment.spent, second - second % 60)

    def put(self, hold: str, spent: Mapping[str, tuple[int, float]], ended: float, epoch: int) -> None:
        """Owe what one request spent. A shared state of this epoch may know of the request."""
        self._put(hold, Payment(epoch, dict(spent), ended))

    def first(self) -> tuple[str, Payment] | None:
        """Return the next payment to make, with its name. It cannot grow any more. None: nothing is owed."""
        name = next(iter(self._payments), None)
        if name is None:
            return None
        self._growing = {second: each for second, each in self._growing.items() if each != name}
        return name, self._payments[name]

    def paid(self, name: str) -> Payment | None:
        """Note that a payment was made. Returns the payment, or None if that was noted before."""
        payment = self._payments.pop(name, None)
        if payment is not None:
            self._count(payment.spent, -1)
        return payment

    def of(self, counter: str) -> int:
        """Return how much is owed to a counter."""
        return self._amounts.get(counter, 0)

    def sums(self, before: float) -> Spent:
        """Return, by counter, what is owed to the state of this epoch for requests that it does not know.

        `before`: only requests that ended before this moment count.
        """
        totals: Spent = {}
        for name in self.counted(self._payments, before):
            for counter, (amount, end) in self._payments[name].spent.items():
                totals[counter] = totals.get(counter, (0, 0.0))[0] + amount, end
        return totals

    def outdated(self) -> bool:
        """Return whether something is owed to a state of another epoch."""
        return any(payment.epoch not in (0, self.epoch) for payment in self._payments.values())

    def fix(self, epoch: int) -> list[str]:
        """Return the names of payments that are not owed to the state of this epoch. No payment grows any more."""
        self._growing = {}
        return [name for name, payment in self._payments.items() if payment.epoch != epoch]

    def before(self, names: Iterable[str], moment: float) -> list[str]:
        """Return those of these payments whose requests ended before a moment."""
        found = ((name, self._payments.get(name)) for name in names)
        return [name for name, payment in found if payment is not None and payment.ended < moment]

    def counted(self, names: Iterable[str], before: float) -> list[str]:
        """Return those of these payments that `sums` counts."""
        found = [name for name in self.before(names, before) if SUM in name]
        return [name for name in found if self._payments[name].epoch == self.epoch]

    def forget(self, names: Iterable[str]) -> None:
        """Forget these payments, because their spend is counted in another way.

        A payment for a single request is still made, with amounts of 0, because the shared state may hold something
        for that request.
        """
        for name in names:
            payment = self._payments.get(name)
            self.paid(name)
            if payment is not None and SUM not in name:
                nothing = {counter: (0, end) for counter, (_, end) in payment.spent.items()}
                self.put(name, nothing, payment.ended, payment.epoch)

    def keep(self, names: Iterable[str]) -> None:
        """Owe these payments to the state of the present epoch as well."""
        for name in names:
            if (payment := self._payments.get(name)) is not None:
                self._payments[name] = Payment(self.epoch, payment.spent, payment.ended)

    def remember(self, epoch: int) -> None:
        """Note the epoch of the state, also for processes that start while it is unavailable. Blocking."""
        self.epoch = epoch
        if self._file is not None:
            with contextlib.suppress(OSError):  # without the file, the epoch counts as not known
                _replace(self._epoch_path(self._file), str(epoch).encode())

    def write(self) -> bool:
        """Write down what is owed, if that changed. Blocking. Returns whether the file is up to date."""
        with self._turn:
            return self._write(_encode(self._payments))

    def _write(self, packed: bytes) -> bool:
        if packed == self._written:
            return True
        if self._file is None:
            return False
        path = self._path(self._owner)
        try:
            if packed == NOTHING:
                self._drop()
            else:
                self._take_lock()
                _replace(path, packed)
        except OSError as error:
            if not self._complained:
                log.error(
                    "cannot write to %s what the shared state, which is unavailable now, must still count: %s",
                    path,
                    error,
                )
            self._complained = True
            return False
        self._written, self._complained = packed, False
        return True

    def take_over(self) -> int:
        """Take over the payments that dead processes wrote down. Blocking. Returns how many there are."""
        if self._file is None:
            return 0
        found, taken = 0, []
        with contextlib.ExitStack() as stack:
            for path in sorted(self._file.parent.glob(f"{self._file.name}-*.json")):
                lock = stack.enter_context(_locked(path.with_suffix(".lock")))
                if lock and not path.exists():  # its payments were made just now
                    path.with_suffix(".lock").unlink(missing_ok=True)
                elif lock:
                    payments = self._read(path)
                    for name, payment in payments.items():
                        self._put(name, payment)
                    found += len(payments)
                    taken.append(path)
            # The other files are deleted only after this process has written their payments to its own.
            if taken and self.write():
                for path in taken:
                    path.unlink(missing_ok=True)
                    path.with_suffix(".lock").unlink(missing_ok=True)
        return found

    def close(self) -> bool:
        """Write down what is still owed, for the next process. Returns whether all of it is written down."""
        written = self.write()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        return written

    @property
    def path(self) -> Path | None:
        """The file with the payments. None: they are not written down."""
        return None if self._file is None else self._path(self._owner)

    def _put(self, name: str, payment: Payment) -> None:
        self.paid(name)
        self._payments[name] = payment
        self._count(payment.spent, 1)

    @staticmethod
    def _epoch_path(file: Path) -> Path:
        return file.with_name(f"{file.name}-epoch")

    def _count(self, spent: Mapping[str, tuple[int, float]], sign: int) -> None:
        for counter, (amount, _) in spent.items():
            left = self._amounts.get(counter, 0) + sign * amount
            if left:
                self._amounts[counter] = left
            else:
                self._amounts.pop(counter, None)

    def _path(self, owner: str) -> Path:
        assert self._file is not None
        return self._file.with_name(f"{self._file.name}-{owner}.json")

    def _read(self, path: Path) -> dict[str, Payment]:
        try:
            return _decode(path.read_bytes())
        except (OSError, msgspec.DecodeError) as error:
            log.error("cannot read %s: what an earlier process spent is therefore not counted: %s", path, error)
            return {}

    def _take_lock(self) -> None:
        if self._lock is None:
            path = self._path(self._owner).with_suffix(".lock")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def _drop(self) -> None:
        path = self._path(self._owner)
        path.unlink(missing_ok=True)
        path.with_suffix(".lock").unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _read_epoch(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that, after a crash, it has either its old or its new content."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    new.replace(path)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Try to lock a file while the block runs. Yields whether that worked: then its owner is dead."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
