"""Logs for tests: lines as `semroute export` writes them, and logs as the service writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from semroute import Router
from semroute.cli.export import write_parquet
from semroute.config.schema.service import LogSettings
from semroute.decision import Signals
from semroute.gateway.request_features import Evidence, packed_features
from semroute.messages import ChatRequest, Message, Text, Usage
from semroute.record import Attempt
from semroute.router import DecisionInputs
from semroute.stores.connect import open_database
from semroute.stores.decision_log import SqlLog
from tests.stores.conftest import NOW
from tests.stores.test_decision_log import record

FOLDER = """
providers: {here: {dialect: echo}}
models:
  small: {provider: here, name: s, input_price: 1, output_price: 2, quality: 0.5}
  large: {provider: here, name: l, input_price: 10, output_price: 20, quality: 0.9}
default: {models: [large]}
routes:
  - {name: weather, models: [small], utterances: [will it rain tomorrow, how cold is it outside, is it sunny]}
  - {name: sport, models: [SPORT], utterances: [who won the match, when does the game begin, how many goals were there]}
"""
PROMPTS = ("will it rain on sunday", "is it cold today", "who won yesterday", "when is the game", "how many goals")


def many_utterances(count: int) -> str:
    """A route file whose utterances take long to embed."""
    texts = ", ".join(f"an utterance number {number} about one thing or another" for number in range(count))
    return f"{FOLDER.replace('SPORT', 'small')}  - {{name: x, models: [small], utterances: [{texts}]}}\n"


def write_folder(folder: Path, sport: str = "large") -> Path:
    """A folder of two routes."""
    folder.mkdir(exist_ok=True)
    (folder / "all.yaml").write_text(FOLDER.replace("SPORT", sport))
    return folder


def write_log(
    url: str,
    router: Router,
    prompts: Sequence[str],
    keep: LogSettings,
    *,
    first: int = 1,
    times: Sequence[float] | None = None,
) -> None:
    """Decide prompts, and write them into the log of a database. `times`: when they came. None: as in `record`."""
    records = []
    for number, text in enumerate(prompts, start=first):
        made = record(number)
        if times is not None:
            at = times[number - first]
            made = replace(made, at=at, request_id=f"{int(at * 1000):012x}{number:016x}")
        message = Message(role="user", parts=(Text(text=text),))
        request = ChatRequest(id=made.request_id, messages=(message,))
        facts = router.read_facts(request)
        [reading] = router.read([facts.ask])
        decision = router.decide_with(DecisionInputs(router, Signals(), 0.0, facts, reading), request)
        usage = Usage(input_tokens=1000, output_tokens=1000)
        attempt = Attempt(model=decision.model or "", status="ok", latency_ms=1, usage=usage, cost_usd=Decimal("0.5"))
        evidence, fields = Evidence(request, Signals(), None, None), dict[str, Any]()
        if keep.content == "full":
            fields["prompt"] = text
        if keep.features or keep.content == "full":
            fields["features"] = packed_features(router, facts, reading, evidence, keep, fields.get("prompt"))
        if keep.embedding:
            fields["embedding"] = reading.embedding.astype("<f2").tobytes()
            fields["encoder"] = router.embedder.fingerprint
        else:
            fields["embedding"] = b""
        records.append(
            replace(made, decision=decision, attempts=(attempt,), content=keep.content, scores=b"", **fields)
        )
    database = open_database(url)
    SqlLog(database).write(records)
    database.close()


def line(number: int, prompt: str | None, *, route: str | None = "billing", **fields: Any) -> dict[str, Any]:
    """Return a row: number one came at NOW, each further a second later. `decision`: adds to the decision."""
    decision = {"id": f"r{number}", "route": route, "reason": "semantic" if route else "default"}
    decision |= fields.pop("decision", {})
    return {"id": f"r{number}", "at": NOW + number - 1, "prompt": prompt, "decision": decision, **fields}


def write_parquet_folder(folder: Path, rows: Sequence[dict[str, Any]], files: int) -> Path:
    """Write a log as a folder of Parquet files. `rows`: such as `line` returns, or as a database exports them."""
    empty = dict.fromkeys(("feedback", "scores", "features", "trials", "embedding")) | {"attempts": [], "outcome": "ok"}
    size = -(-len(rows) // files)
    for number in range(files):
        some = ({**empty, **row} for row in rows[number * size : (number + 1) * size])
        file = folder / f"day={number // 2}" / f"part-{number}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(file, ({**row, "cost_usd": Decimal(str(round(row.get("cost_usd", 0), 12)))} for row in some))
    return folder


def write(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Write a log."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path
