"""The log against the provider's own books."""

from __future__ import annotations

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import httpx

from semroute.config.schema.matching import EmbedderSettings
from semroute.semantic.embedder import open_embedder
from tests.providers.fault_server import FaultServer
from tests.providers.scenarios import CACHED_TOKENS, PROMPT_TOKENS, WORDS
from tests.service import Service, until

REQUESTS = int(os.environ.get("SEMROUTE_TEST_REQUESTS", "600"))
PROMPT = "How many parcels did we send to Köln last week?"
PRICES = {"ok": ("0.15", "0.075", "0.6"), "crlf-sse": ("3", "0.3", "15"), "cut-after-2": ("1.1", "0.11", "4.4")}
PRICES |= {"stall-after-3": ("0.1", "0.01", "0.4"), "status-500": ("30", "15", "60")}
CALLS: list[dict[str, object]] = [
    {"model": "ok"},
    {"model": "ok", "stream": True},
    {"model": "crlf-sse", "stream": True},
    {"model": "auto", "models": ["status-500", "ok"]},
    {"model": "auto", "models": ["status-500", "ok"], "stream": True},
    {"model": "cut-after-2", "stream": True},
    {"model": "stall-after-3", "stream": True},
]


def routes(folder: Path, url: str) -> Path:
    folder.mkdir()
    models = "\n".join(
        f"  {name}: {{provider: p, name: {name}, input_price: {i}, cached_input_price: {c}, output_price: {o}}}"
        for name, (i, c, o) in PRICES.items()
    )
    text = f'providers: {{p: {{dialect: openai, base_url: "{url}"}}}}\nmodels:\n{models}\ndefault: {{models: [ok]}}\n'
    (folder / "all.yaml").write_text(text)
    return folder


def call(client: httpx.Client, number: int) -> None:
    """One request; of the stalling stream two pieces are read before the caller leaves."""
    body: dict[str, object] = {"prompt": PROMPT, **CALLS[number % len(CALLS)]}
    with client.stream("POST", "/complete", json=body) as response:
        deltas = 0
        for line in response.iter_lines():
            deltas += '"content"' in line and '"decision"' not in line
            if body["model"] == "stall-after-3" and deltas == 2:
                return


def provider_bill(faults: FaultServer, since: int) -> Decimal:
    """What the provider would ask for: by its own usage, and by the tokens of what it sent where it told none."""
    count = open_embedder(EmbedderSettings()).count_tokens
    sent = {"cut-after-2": WORDS[:1], "stall-after-3": WORDS[:2]}
    bill = Decimal(0)
    for seen in faults.requests[since:]:
        input_price, cached_price, output_price = map(Decimal, PRICES[seen.model])
        if seen.model in sent:
            asked = sum(count(message["content"]) + 4 for message in seen.body["messages"])
            tokens = asked, count("".join(sent[seen.model]))
            bill += tokens[0] * input_price + tokens[1] * output_price
        elif not seen.model.startswith("status"):
            bill += (PROMPT_TOKENS - CACHED_TOKENS) * input_price + CACHED_TOKENS * cached_price
            bill += len(WORDS) * output_price
    return bill / 1_000_000


def test_the_costs_in_the_log_are_the_providers_to_the_last_digit(tmp_path: Path) -> None:
    with FaultServer() as faults, Service(routes(tmp_path / "routes", faults.url), tmp_path / "log") as service:
        limits = httpx.Limits(max_connections=32)
        with (
            httpx.Client(base_url=service.url, trust_env=False, timeout=60, limits=limits) as client,
            ThreadPoolExecutor(16) as pool,
        ):
            list(pool.map(lambda number: call(client, number), range(REQUESTS)))

        def totals() -> tuple[int, int]:
            with closing(sqlite3.connect(service.database)) as log:
                count, cost = log.execute("SELECT COUNT(*), SUM(cost) FROM decisions").fetchone()
                return count, cost or 0

        assert until(lambda: totals()[0] == REQUESTS)
        assert Decimal(totals()[1]).scaleb(-12) == provider_bill(faults, 0)
        outcomes = {row["value"]: row for row in service.client.get("/stats?by=model").json()["rows"]}
        assert outcomes["stall-after-3"]["cancelled"] == outcomes["stall-after-3"]["requests"]
