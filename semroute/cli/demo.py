"""`semroute demo`: a real service, real prompts, no key and no network."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import click
import httpx
import msgspec
from rich import box
from rich.markup import escape
from rich.table import Table

from semroute.bases import Frozen
from semroute.cli.output import console, errors, folder_of, print_json
from semroute.config.config import Config
from semroute.config.load import load
from semroute.messages import Usage
from semroute.routing.pricing import cost_usd

START_S = 60.0
"""How long the service may take to start."""

PROMPTS: list[dict[str, Any]] = [
    {"prompt": "hey there, how is your day going?"},
    {"prompt": "wie sagt man auf Englisch 'Guten Appetit'? translate it please"},
    {"prompt": "My package never arrived and I want a refund."},
    {"prompt": 'Why does this Rust code not compile? let s = String::from("a"); let t = s; println!("{s}");'},
    {"prompt": "Pull the names, dates and amounts out of this contract into JSON."},
    {"prompt": "Sum up this meeting transcript in five bullet points for the board."},
    {"prompt": "Show that the sum of two odd numbers is always even."},
    {"prompt": "Write a limerick about a lazy accountant."},
    {"prompt": "turn off the lights in the kitchen"},
    {"prompt": "Draft the nightly product texts.", "metadata": {"workload": "batch"}},
    {"prompt": "Answer with the big one, please.", "model": "auto:coding"},
]


class Shown(Frozen, frozen=True, kw_only=True):
    """One prompt of the demonstration, and what became of it."""

    prompt: str
    route: str
    reason: str
    confidence: float
    nearest: str
    model: str
    answer: str
    cost_usd: Decimal
    usage: Usage
    decision_ms: float


def command(routes: Path | None, as_json: bool) -> None:
    """Start the service, send it prompts, and show the decisions and the answers."""
    folder = folder_of(routes)
    config = load(folder)
    started = time.perf_counter()
    with _service(folder) as url, httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        ready_s = time.perf_counter() - started
        shown = [_ask(client, body) for body in PROMPTS if _fits(body, config)]
    if as_json:
        print_json({"ready_s": ready_s, "prompts": shown})
    else:
        _show(shown, config, ready_s)


@contextmanager
def _service(folder: Path) -> Iterator[str]:
    """Run `semroute serve --echo` on a free port, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SEMROUTE_")}
    environ |= {"SEMROUTE_ROUTES": str(folder), "SEMROUTE_PORT": str(port), "SEMROUTE_LOG_LEVEL": "warning"}
    environ |= {"SEMROUTE_DATABASE_URL": "memory:"}
    with tempfile.TemporaryFile() as log:
        service = subprocess.Popen(
            [sys.executable, "-m", "semroute", "serve", "--echo"], env=environ, stdout=log, stderr=log
        )
        try:
            _wait(service, port, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            service.send_signal(signal.SIGTERM)
            try:
                service.wait(timeout=10)
            except subprocess.TimeoutExpired:
                service.kill()


def _wait(service: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and service.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health/ready", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.02)
    log.seek(0)
    errors.print(log.read().decode(errors="replace"), markup=False, highlight=False)
    died = service.poll()
    why = f"is not ready after {START_S:.0f} s" if died is None else f"stopped with exit code {died}"
    raise click.ClickException(f"the service {why}; its log is above")


def _fits(body: dict[str, Any], config: Config) -> bool:
    """Return whether the routes in use know what the prompt asks for by name."""
    asked = body.get("model", "auto")
    return asked == "auto" or asked.removeprefix("auto:") in config.routes


def _ask(client: httpx.Client, body: dict[str, Any]) -> Shown:
    decision = client.post("/route", json=body).raise_for_status().json()
    answer = client.post("/complete", json=body).raise_for_status().json()
    candidates = decision["candidates"]
    near = candidates[0]["nearest"] if candidates else None
    return Shown(
        prompt=body["prompt"],
        route=decision["route"] or "-",
        reason=decision["reason"],
        confidence=decision["confidence"],
        nearest=near["utterance"] if near else "",
        model=answer["model"],
        answer=answer["content"],
        cost_usd=Decimal(str(answer["cost_usd"])),
        usage=msgspec.convert(answer["usage"], Usage),
        decision_ms=decision["latency_ms"],
    )


def _show(shown: list[Shown], config: Config, ready_s: float) -> None:
    table = Table(
        title=f"semroute: {len(config.routes)} routes in service after {ready_s:.1f} s, every model an echo",
        expand=True,
        show_lines=True,
        box=box.SIMPLE_HEAD,
    )
    table.add_column("prompt\n[dim]nearest utterance[/]\nanswer", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("route, confidence\nmodel", no_wrap=True)
    table.add_column("USD\nms to decide", justify="right", no_wrap=True)
    for row in shown:
        nearest = f"[dim]≈ {escape(row.nearest)}[/]\n" if row.nearest else ""
        how = f"{row.confidence:.2f}" if row.reason in {"semantic", "default"} else ""
        why = "" if row.reason == "semantic" else f"({row.reason}) "
        table.add_row(
            f"[bold]{escape(row.prompt)}[/]\n{nearest}→ {escape(row.answer)}",
            f"[bold]{escape(row.route)}[/] {why}{how}\n{escape(row.model)}",
            f"{row.cost_usd:.6f}\n{row.decision_ms:.1f}",
        )
    console.print(table)
    baseline = config.models[config.default.models[0]]
    spent = sum((row.cost_usd for row in shown), Decimal(0))
    all_strong = sum((cost_usd(baseline, row.usage) for row in shown), Decimal(0))
    saved = f": {1 - spent / all_strong:.0%} less" if all_strong else ""
    console.print(
        f"At list prices these answers cost {spent:.6f} USD; all of them from {baseline.id}, {all_strong:.6f}{saved}.",
        markup=False,
        highlight=False,
    )
    console.print(
        'Next: semroute route "your prompt"; or semroute serve --echo, and POST to /complete.', highlight=False
    )
