"""Measure rows a second and memory of reading a large log, with and without Ray.

    python bench/ray_rows.py FOLDER [--rows 100000 1000000] [--command drift] [--workers 1 2]

`bench/make_log.py` made the `FOLDER`. The log in it is repeated with new ids and later times until it has as many rows
as asked for, as a folder of Parquet files of 100,000 rows. Each line names the engine, the rows a second without the
start of the cluster, and the most memory that this process and the largest worker had. The figures of the report must
be the same with every engine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import msgspec
import psutil
import pyarrow.compute as pc
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from semroute.cli.export import write_parquet
from semroute.learning.compare_windows import compare
from semroute.learning.drift_windows import TwoWindows
from semroute.learning.engines import LOCAL, Engine, TallyRows, read_log
from semroute.learning.logged_decisions import LoggedDecisions
from semroute.learning.ray_engine import open_ray
from semroute.learning.replay_log import Replay
from semroute.router import Router
from semroute.stores.connect import open_to_read
from semroute.stores.decision_log import SqlLog
from semroute.stores.interfaces import Query

FILE_ROWS, GROUP_ROWS = 100_000, 10_000
ALL = Query()


def repeat(log: Path, folder: Path, rows: int) -> None:
    """Write a folder with so many rows."""
    made = pq.read_table(log)
    length = pc.max(made["at"]).as_py() - pc.min(made["at"]).as_py() + 1
    place = {name: made.schema.get_field_index(name) for name in ("id", "at")}
    writer: pq.ParquetWriter | None = None
    for number, first in enumerate(range(0, rows, len(made))):
        some = made.slice(0, min(len(made), rows - first))
        ids = pc.binary_join_element_wise(some["id"], f"{number:06x}", "-")
        some = some.set_column(place["id"], "id", ids)
        some = some.set_column(place["at"], "at", pc.add(some["at"], number * length))
        if first % FILE_ROWS < len(made) or writer is None:
            if writer is not None:
                writer.close()
            writer = pq.ParquetWriter(folder / f"part-{first:09}.parquet", some.schema, compression="zstd")
        writer.write_table(some, row_group_size=GROUP_ROWS)
    if writer is not None:
        writer.close()


def export(folder: Path) -> Path:
    """Export the log of a folder, once."""
    file = folder / "log.parquet"
    if not file.exists():
        database = open_to_read(f"sqlite:///{folder / 'log.db'}")
        write_parquet(file, SqlLog(database).export(ALL))
        database.close()
    return file


def drift(log: LoggedDecisions, engine: Engine) -> bytes:
    """Compare the last fifth of a log with the time before it."""
    times = [pc.min_max(pq.read_table(file, columns=["at"])["at"]).as_py() for file in files_of(log)]
    first, last = min(each["min"] for each in times), max(each["max"] for each in times) + 1
    begin = partial(TwoWindows.between, first, first + 0.8 * (last - first), last, 0)
    windows = read_log(engine, log, TallyRows(begin, TwoWindows.add, ALL), lambda done: None)
    return msgspec.json.encode(compare(windows.reference, windows.window, 0.01))


def replay(log: LoggedDecisions, engine: Engine, router: Router) -> bytes:
    """Decide a log anew."""
    return msgspec.json.encode(Replay(router, log, ALL).run(engine=engine))


def files_of(log: LoggedDecisions) -> list[Path]:
    """Return the files of a folder."""
    return sorted(Path(log.source).glob("*.parquet"))


@contextmanager
def peaks() -> Iterator[dict[str, int]]:
    """Look at the memory of this process and of Ray's workers ten times a second. In MB."""
    found, stop = {"here": 0, "worker": 0}, threading.Event()

    def look() -> None:
        here = psutil.Process()
        while not stop.wait(0.1):
            found["here"] = max(found["here"], here.memory_info().rss >> 20)
            for child in here.children(recursive=True):
                try:
                    if child.name().startswith("ray::task"):
                        found["worker"] = max(found["worker"], child.memory_info().rss >> 20)
                except psutil.Error:
                    pass  # it ended meanwhile

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield found
    finally:
        stop.set()
        looking.join()


def main() -> None:
    """Measure, and print a line for each number of rows and each engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--command", choices=("drift", "replay"), default="drift")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="0: without Ray")
    given = parser.parse_args()
    os.environ.pop("RAY_ADDRESS", None)
    router = Router.load(given.folder / "candidate") if given.command == "replay" else None
    log = export(given.folder)
    for rows in given.rows:
        with tempfile.TemporaryDirectory() as folder:
            repeat(log, Path(folder), rows)
            made, reports = LoggedDecisions(Path(folder)), set[bytes]()
            for workers in given.workers:
                opened: AbstractContextManager[Engine] = open_ray(workers) if workers else nullcontext(LOCAL)
                with opened as engine, peaks() as most:
                    started = time.monotonic()
                    reports.add(drift(made, engine) if router is None else replay(made, engine, router))
                    took = time.monotonic() - started
                what = {"command": given.command, "rows": made.count(), "workers": workers}
                print(json.dumps({**what, "rows_per_s": round(made.count() / took), "peak_mb": most}), flush=True)
            if len(reports) != 1:
                sys.exit(f"{rows} rows: got {len(reports)} different reports, expected the same from every engine")


if __name__ == "__main__":
    main()
