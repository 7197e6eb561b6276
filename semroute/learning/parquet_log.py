"""Read logged decisions from Parquet: from one file that `semroute export` wrote, or from a folder of such files.

A folder is read with all its subfolders, in the order of the paths. Names that begin with `_` or `.` are left out, as
other tools do: `_SUCCESS`, `_temporary`. A subfolder such as `team=support` gives its files the column `team`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from semroute.bases import Frozen
from semroute.errors import RequestError, SettingsError
from semroute.settings import how_to_install

SUFFIX = ".parquet"
PART_ROWS = 50_000
"""About so many rows make a part. A part is whole row groups of one file, so it has more if these are larger."""
_BATCH = 500
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""What Hive and Spark write into the name of a folder for a column without a value."""
Torn = Callable[[str], None]
"""Is told of each row that cannot be read."""


class Part(Frozen, frozen=True, kw_only=True):
    """Some row groups of a file, one after the other."""

    file: str
    """The absolute path, so that another process finds it."""
    shown: str
    """The path as the user gave it, for people."""
    groups: tuple[int, int]
    """The first row group, and the one after the last."""
    first: int
    """The number of the first row in the file, counted from 1."""
    rows: int
    columns: dict[str, str] = {}
    """The columns that the names of the folders give."""


def is_parquet(source: Path) -> bool:
    """Return whether a log is one of Parquet: a file with its ending, or a folder."""
    return source.suffix == SUFFIX or source.is_dir()


def parts_of(source: Path) -> tuple[list[Part], list[str]]:
    """Return the parts of a file or a folder, and which files of a folder cannot be read.

    Raises `RequestError` if there is nothing to read.
    """
    if not source.is_dir():
        return list(_parts_of_file(source, {})), []
    files = _files_of(source)
    if not files:
        raise RequestError(f"{source}: got a folder without files that end in {SUFFIX}, expected at least one")
    parts, damaged = list[Part](), list[str]()
    for file in files:
        try:
            parts += _parts_of_file(file, _columns_of(file.relative_to(source).parent))
        except RequestError as error:
            damaged.append(str(error))
    if len(damaged) == len(files):
        raise RequestError(damaged[0])
    return parts, damaged


def rows_of(part: Part, torn: Torn) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of a part, each with its place for people. Columns without a value are left out.

    Raises `RequestError` if the file cannot be read at all.
    """
    file, number = _open(Path(part.file), part.shown), part.first
    for group in range(*part.groups):
        after = number + file.metadata.row_group(group).num_rows
        try:
            for batch in file.iter_batches(_BATCH, row_groups=[group], use_threads=False):
                for row in batch.to_pylist():
                    known = {name: value for name, value in row.items() if value is not None}
                    yield f"{part.shown}: row {number}", {**part.columns, **known}
                    number += 1
        except (OSError, ValueError) as error:  # pyarrow's errors are kinds of these
            for lost in range(number, after):
                torn(f"{part.shown}: row {lost}: its part of the file cannot be read: {error}")
        number = after


def last_at(part: Part) -> float | None:
    """Return the latest time of a part. Only this column is read. None: the file has no times as numbers."""
    import pyarrow.compute as pc

    file = _open(Path(part.file), part.shown)
    try:
        found = pc.max(file.read_row_groups(list(range(*part.groups)), columns=["at"])["at"]).as_py()
    except (OSError, ValueError, KeyError):  # damaged, or without the column
        return None
    return found if isinstance(found, float) else None


def _files_of(folder: Path) -> list[Path]:
    """Return the files of a folder, in the order of their paths."""
    found = (path for path in folder.rglob(f"*{SUFFIX}") if path.is_file())
    return sorted(path for path in found if not any(p[0] in "._" for p in path.relative_to(folder).parts))


def _columns_of(folder: Path) -> dict[str, str]:
    """Return the columns that the names of subfolders give, as Hive and Spark write them: `team=support`."""
    pairs = (name.split("=", 1) for name in folder.parts if "=" in name)
    return {name: unquote(value) for name, value in pairs if value != _NO_VALUE}


def _parts_of_file(path: Path, columns: Mapping[str, str]) -> Iterator[Part]:
    metadata = _open(path, str(path)).metadata
    begin, first, rows = 0, 1, 0
    for group in range(metadata.num_row_groups):
        rows += metadata.row_group(group).num_rows
        if rows >= PART_ROWS or group + 1 == metadata.num_row_groups:
            yield Part(
                file=str(path.absolute()),
                shown=str(path),
                groups=(begin, group + 1),
                first=first,
                rows=rows,
                columns=dict(columns),
            )
            begin, first, rows = group + 1, first + rows, 0


def _open(path: Path, shown: str) -> Any:
    """Return the file as pyarrow opens it."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise SettingsError(f"Parquet needs pyarrow: {how_to_install('parquet')}") from None
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise RequestError(f"{shown}: cannot be read as Parquet: {error}") from error


def unpacked(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as a line of JSON has it: some columns hold JSON, and feedback has columns of its own."""
    found = dict(row)
    for name in ("decision", "attempts", "scores", "features", "trials"):
        if isinstance(packed := found.get(name), str):
            found[name] = msgspec.json.decode(packed)
    feedback = {name: found.pop(name) for name in ("score", "label", "comment", "feedback_at") if name in found}
    return {**found, "feedback": feedback} if feedback else found
