"""The process that writes the decision log: a real one, on a real file and a real server."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from semroute.config.schema.service import LogSettings
from semroute.errors import RefusedValueError, StoreError
from semroute.messages import Usage
from semroute.record import Record
from semroute.stores import log_process
from semroute.stores.connect import open_database
from semroute.stores.decision_log import SqlLog
from semroute.stores.interfaces import Query
from semroute.stores.log_process import (
    HELD_BACK,
    CommitOrder,
    LogProcess,
    OpenOrder,
    Order,
    OrderResult,
    PruneOrder,
    RecordWriter,
    TakeOrder,
)
from semroute.stores.log_writer import LogWriter
from tests.service import until
from tests.stores.conftest import NOW
from tests.stores.test_decision_log import DAY, record

HUGE = 2**63
"""A number of tokens that no database keeps; MessagePack does."""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database with its tables."""
    found = f"sqlite:///{tmp_path}/semroute.db"
    if request.param == "postgres":
        found = request.getfixturevalue("postgres").new_database()
    open_database(found).close()
    return found


@pytest.fixture
def sink(url: str) -> Iterator[LogProcess]:
    started = LogProcess(url)
    yield started
    started.close()


@pytest.fixture
def written(url: str) -> Iterator[SqlLog]:
    """What is in the log, as another process sees it."""
    database = open_database(url)
    yield SqlLog(database)
    database.close()


def pid_of(sink: LogProcess) -> int:
    """Where it was killed, the next one's: the writer waits half a second before it starts that."""
    assert until(lambda: sink._process is not None)
    assert sink._process is not None
    return sink._process.pid


def state_of(pid: int) -> str:
    """One letter: S sleeps, T is stopped, Z is dead and not waited for; empty: gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return ""


def numbers(log: SqlLog, pruned: int = 0) -> list[int]:
    """The records in the log. Raises `AssertionError` where the statistics do not count these, and what was pruned."""
    found = [int(row["id"][12:], 16) for row in log.export(Query())]
    assert sum(row["requests"] for row in log.stats("all", 0, DAY + 9)) == len(found) + pruned
    return found


def batch(first: int, end: int) -> list[Record]:
    return [record(number) for number in range(first, end)]


def huge(number: int) -> Record:
    """A record that cannot be kept."""
    [attempt] = record(number).attempts
    return record(number, attempts=(msgspec.structs.replace(attempt, usage=Usage(input_tokens=HUGE)),))


def test_what_it_writes_is_read_back_whole(sink: LogProcess, written: SqlLog) -> None:
    sink.write([record(number, content="full", prompt="hé\0llo", answer="there") for number in range(1, 200)])
    sink.write([record(200, route=None, outcome="failed", error="it broke")])
    assert numbers(written) == list(range(1, 201))
    here = SqlLog(open_database("memory:"))
    here.write([record(7, content="full", prompt="hé\0llo", answer="there")])
    [expected] = here.export(Query())
    found = written.read(expected["id"])
    assert found is not None
    assert found | {"prompt": found["prompt"].replace("\ufffd", "\0")} == expected


def test_a_batch_that_may_have_been_written_counts_once(sink: LogProcess, written: SqlLog) -> None:
    sink.write(batch(1, 100))
    sink.write(batch(1, 150), again=True)
    assert numbers(written) == list(range(1, 150))


def test_a_process_that_hangs_is_killed_and_another_writes(url: str, written: SqlLog) -> None:
    sink = LogProcess(url, answer_s=0.5)
    hanging = pid_of(sink)
    os.kill(hanging, signal.SIGSTOP)
    with pytest.raises(StoreError, match="ended with status -9"):
        sink.write(batch(1, 3))
    assert state_of(hanging) == ""
    sink._answer_s = 30  # the next one may be slow to start
    sink.write(batch(1, 3), again=True)
    assert numbers(written) == [1, 2]
    sink.close()


def test_old_records_are_deleted(sink: LogProcess, written: SqlLog) -> None:
    sink.write(batch(1, 11))
    assert sink.prune(before=NOW + 5, max_bytes=None) == 5
    assert sink.prune(before=NOW + 5, max_bytes=None) == 0
    assert len(list(written.export(Query()))) == 5


def test_an_error_of_the_database_is_told_and_the_next_order_goes_well(sink: LogProcess, written: SqlLog) -> None:
    with written.database.transaction() as session:
        session.run("ALTER TABLE decisions RENAME TO away")
    with pytest.raises(StoreError, match="decisions") as raised:
        sink.write(batch(1, 3))
    assert raised.value.retryable
    pid = pid_of(sink)
    with written.database.transaction() as session:
        session.run("ALTER TABLE away RENAME TO decisions")
    sink.write(batch(1, 3), again=True)
    assert numbers(written) == [1, 2]
    assert pid_of(sink) == pid


def test_a_record_that_cannot_be_kept_is_lost_alone(sink: LogProcess, written: SqlLog) -> None:
    with pytest.raises(RefusedValueError):
        sink.write([record(1), huge(2)])
    with pytest.raises(UnicodeEncodeError):
        sink.write([*batch(1, 70), record(70, prompt="\ud800")])
    invalid: Any = record(1, feature=7)  # what a decoder refuses
    with pytest.raises(RefusedValueError, match="ValidationError"):
        sink.write([invalid])
    writer = LogWriter(sink, LogSettings)
    for number in range(1, 101):
        writer.put(record(number, prompt="\ud800" if number in (30, 31) else None) if number != 77 else huge(number))
    assert writer.flush()
    assert writer.close()
    assert numbers(written) == [number for number in range(1, 101) if number not in (30, 31, 77)]
    assert (writer.written, writer.dropped, writer.waiting) == (97, 3, 0)


def test_a_killed_process_costs_no_record_and_repeats_none(sink: LogProcess, written: SqlLog) -> None:
    writer, pids = LogWriter(sink, LogSettings), set()
    for number in range(1, 2001):
        assert writer.put(record(number))
        if number % 250 == 0:
            pids.add(pid := pid_of(sink))
            os.kill(pid, signal.SIGKILL)
            if number % 500 == 0:
                assert writer.flush(30)
        time.sleep(0.0005)
    assert writer.close(30)
    assert numbers(written) == list(range(1, 2001))
    assert (writer.written, writer.dropped) == (2000, 0)
    assert len(pids) >= 4
    assert [state_of(pid) for pid in pids] == [""] * len(pids)  # they were waited for


def test_one_killed_within_a_commit_leaves_it_to_the_next(sink: LogProcess, written: SqlLog) -> None:
    writer = LogWriter(sink, LogSettings)
    with written.database.transaction() as session:  # it has to wait for this
        session.run("DELETE FROM rollups")
        session.run("INSERT INTO rollups (dimension, day, value, metric, n) VALUES ('all', ?, '', 0, 0)", (DAY,))
        for each in batch(1, 500):
            writer.put(each)
        assert not writer.flush(1)
        os.kill(pid_of(sink), signal.SIGKILL)
    assert writer.close(30)
    assert numbers(written) == list(range(1, 500))


def test_what_was_taken_is_written_when_the_service_is_gone(sink: LogProcess, written: SqlLog) -> None:
    assert sink._process is not None
    orders = sink._process.stdin
    assert orders is not None
    orders.write(packed(take(batch(1, 101))))
    orders.close()
    assert sink._process.wait(30) == 0
    assert numbers(written) == list(range(1, 101))


@pytest.mark.parametrize("cut", [0, 3, 100], ids=["whole", "in a length", "in a record"])
def test_orders_that_end_early_are_written_as_far_as_they_came_whole(url: str, written: SqlLog, cut: int) -> None:
    orders = packed(OpenOrder(url), take(batch(1, 65)), take(batch(65, 101)))
    if cut:
        orders += packed(take(batch(101, 150)))[:cut]
    answers = io.BytesIO()
    RecordWriter().follow(io.BytesIO(orders), answers)
    assert numbers(written) == list(range(1, 101))
    assert answers.getvalue() == b""


def test_records_that_nobody_asks_for_any_more_are_missed_aloud(caplog: pytest.LogCaptureFixture) -> None:
    RecordWriter().follow(io.BytesIO(packed(OpenOrder("mysql://sam:secret@host/x"), take(batch(1, 3)))), io.BytesIO())
    [line] = caplog.messages
    assert "are lost: SEMROUTE_DATABASE_URL: got 'mysql:'" in line
    assert "secret" not in line


def test_an_order_that_cannot_be_followed_is_answered_and_the_next_ones_are_followed(url: str, written: SqlLog) -> None:
    broken = TakeOrder(msgspec.Raw(msgspec.msgpack.encode([7])))
    answers = io.BytesIO()
    orders = packed(
        OpenOrder(url),
        broken,
        CommitOrder(again=False),
        take(batch(1, 3)),
        CommitOrder(again=False),
        PruneOrder(NOW + 1, None),
    )
    RecordWriter().follow(io.BytesIO(orders), answers)
    answers.seek(0)
    told = [
        msgspec.msgpack.decode(answers.read(int.from_bytes(answers.read(4), "big")), type=OrderResult) for _ in range(3)
    ]
    assert told[0].error is not None
    assert told[0].error.startswith("ValidationError: ")
    assert not told[0].retryable
    assert told[1:] == [OrderResult(), OrderResult(deleted=1)]
    assert numbers(written, pruned=1) == [2]


def test_no_orders_are_no_work() -> None:
    RecordWriter().follow(io.BytesIO(), io.BytesIO())


def test_an_answer_that_nobody_hears_ends_nothing(url: str, written: SqlLog) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    orders = packed(
        OpenOrder(url), take(batch(1, 3)), CommitOrder(again=False), PruneOrder(NOW - 5, None), take(batch(3, 5))
    )
    with open(writer, "wb", buffering=0) as answers:  # noqa: PTH123 - a descriptor is no path
        RecordWriter().follow(io.BytesIO(orders), answers)
    assert numbers(written) == [1, 2, 3, 4]


def test_signals_that_stop_the_service_do_not_stop_it(url: str, written: SqlLog) -> None:
    handled = {number: signal.getsignal(number) for number in HELD_BACK}
    sink = LogProcess(url)
    for _ in range(2):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the first time it still starts
            os.kill(pid_of(sink), number)
        sink.write(batch(1, 3), again=True)
    pid = pid_of(sink)
    sink.close()
    assert numbers(written) == [1, 2]
    assert state_of(pid) == ""
    assert {number: signal.getsignal(number) for number in HELD_BACK} == handled
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(HELD_BACK)


def test_one_that_is_stuck_is_killed_at_the_end(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_process, "CLOSE_S", 0.3)
    idle, busy = LogProcess(url), LogProcess(url)
    pids = [pid_of(sink) for sink in (idle, busy)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        order = pool.submit(busy.write, batch(1, 1000))
        assert until(busy._turn.locked)
        for sink in (idle, busy):
            sink.close()
        with pytest.raises(StoreError, match="ended with status -9"):
            order.result(10)
    assert [state_of(pid) for pid in pids] == ["", ""]
    with pytest.raises(StoreError, match="closed"):
        busy.write(batch(1, 2))
    busy.close()  # again does no harm


def test_it_hears_nothing_of_the_service_and_tells_nobody_the_password(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "open.txt").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        sink = LogProcess("postgresql://sam:hunter2@127.0.0.1:1/x")
        with pytest.raises(StoreError, match="PostgreSQL") as raised:
            sink.write(batch(1, 2))
        proc = Path(f"/proc/{pid_of(sink)}")
        assert "semroute.stores.log_process" in (proc / "cmdline").read_text()
        assert "hunter2" not in (proc / "cmdline").read_text() + str(raised.value)
        open_files = set()
        for each in (proc / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it is just closed
                open_files.add(str(each.readlink()))
        assert open_files and str(file.name) not in open_files
        sink.close()
    assert capfd.readouterr() == ("", "")


def test_a_wrong_address_is_told() -> None:
    sink = LogProcess("mysql://sam:hunter2@host/x")
    with pytest.raises(StoreError, match="SEMROUTE_DATABASE_URL: got 'mysql:'") as raised:
        sink.prune(before=None, max_bytes=None)
    assert raised.value.retryable
    assert "hunter2" not in str(raised.value)
    sink.close()


def test_one_that_cannot_be_started_is_told(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = LogProcess(url)
    os.kill(pid_of(sink), signal.SIGKILL)
    with pytest.raises(StoreError, match="ended with status -9"):
        sink.write(batch(1, 2))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(tmp_path / "nothing"))
        with pytest.raises(StoreError, match="cannot be started"):
            sink.write(batch(1, 2), again=True)
    sink.write(batch(1, 2), again=True)
    sink.close()


def test_what_a_library_prints_is_no_answer(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "datafog.py").write_text("def sanitize(text, engine):\n    print('hello')\n    return text\n")
    monkeypatch.syspath_prepend(tmp_path)
    sink = LogProcess(url)
    sink.write([record(1, content="redacted", prompt="good morning")])
    sink.close()


def take(records: list[Record]) -> TakeOrder:
    return TakeOrder(msgspec.Raw(msgspec.msgpack.encode(records)))


def packed(*orders: Order) -> bytes:
    return b"".join(map(log_process._packed, orders))
