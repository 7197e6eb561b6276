"""`semroute export FILE`."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import click
import msgspec

from semroute import settings as settings_module
from semroute.cli.output import console
from semroute.errors import SettingsError
from semroute.stores.connect import open_to_read
from semroute.stores.decision_log import SqlLog
from semroute.stores.interfaces import Query

_BATCH = 1000
_encoder = msgspec.json.Encoder(decimal_format="number")


def command(file: Path, since: datetime.datetime | None, until: datetime.datetime | None) -> None:
    """Write the decision log to a file, by its ending, or to standard output."""
    printed = str(file) == "-"
    if not printed and file.suffix not in (".parquet", ".jsonl"):
        raise click.UsageError(f"{file}: got an unknown ending, expected .parquet or .jsonl")
    database = open_to_read(settings_module.read().database_url)
    try:
        rows = SqlLog(database).export(Query(since=timestamp(since), until=timestamp(until)))
        if file.suffix == ".parquet":
            count = write_parquet(file, rows)
        else:
            with click.open_file(file, "wb") as out:
                count = write_lines(out, rows)
    finally:
        database.close()
    if printed:
        return
    console.print(f"wrote {count} records to {file}", markup=False, highlight=False)


def timestamp(moment: datetime.datetime | None) -> float | None:
    """Return a moment in UTC as seconds since 1970."""
    return None if moment is None else moment.replace(tzinfo=datetime.UTC).timestamp()


def write_lines(out: IO[bytes], rows: Iterable[dict[str, Any]]) -> int:
    """Write a JSON object on each line. Returns how many."""
    count = 0
    for row in rows:
        out.write(_encoder.encode(row) + b"\n")
        count += 1
    return count


def write_parquet(file: Path, rows: Iterator[dict[str, Any]]) -> int:
    """Write the columns of the summary; what is nested becomes JSON, and money decimal128."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise SettingsError(f"Parquet needs pyarrow: {settings_module.how_to_install('parquet')}") from None
    whole, number, text = pa.int64(), pa.float64(), pa.string()
    money = pa.decimal128(38, 12)
    types = dict.fromkeys(["input_tokens", "output_tokens", "cached_tokens", "attempts_made"], whole)
    types |= dict.fromkeys(
        ["at", "latency_ms", "first_token_ms", "overhead_ms", "confidence", "score", "feedback_at"], number
    )
    types |= {
        "cost_usd": money,
        "saved_usd": money,
        "estimated": pa.bool_(),
        "escalated": pa.bool_(),
        "embedding": pa.list_(pa.float32()),
    }
    names = (
        "id at route model tier key_id key_name team feature unit experiment arm reason outcome input_tokens "
        "output_tokens cached_tokens estimated attempts_made latency_ms first_token_ms overhead_ms confidence error "
        "escalated cost_usd saved_usd score label comment feedback_at decision attempts trials scores embedding "
        "encoder prompt answer features"
    )
    schema = pa.schema([(name, types.get(name, text)) for name in names.split()])
    count = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while batch := list(itertools.islice(rows, _BATCH)):
            writer.write_table(pa.Table.from_pylist([_flat(row) for row in batch], schema=schema))
            count += len(batch)
    return count


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    feedback = row["feedback"] or {}
    packed = {
        name: None if row[name] is None else _encoder.encode(row[name]).decode()
        for name in ("decision", "attempts", "scores", "features", "trials")
    }
    return {**row, **packed, **feedback, "attempts_made": len(row["attempts"])}
