"""The stage, the real service in front of it, and the clients that play on both."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.clients import installed
from tests.clients.stage import MODELS, SCENES, Stage
from tests.service import Service
from tests.vendors.server import VendorServer
from tests.vendors.world import PATHS

SCRIPTS = Path(__file__).with_name("scripts")
DEADLINE_S = 900
PROVIDERS = ("openai", "responses", "anthropic", "gemini")
"""The formats of providers."""
WIRES = {**MODELS, "openai_compatible": MODELS["openai"]}
"""What clients call the formats that they speak, and the model that they ask for there."""
ABLE = "features: [tools, json, vision, reasoning], breaker: {failures: 10000, min_calls: 10000}"
"""Of each model: their failures are what the tests ask for."""
DIRECT = "direct"
PLAYED = "PLAYED "

Seen = dict[tuple[str, str, str], dict[str, Any]]
"""What a client saw, by wire format, run (`direct`, or the provider's format behind semroute) and scene."""


@dataclass
class Theatre:
    service: Service
    stage: VendorServer


@contextmanager
def open_theatre(folder: Path) -> Iterator[Theatre]:
    with VendorServer(Stage()) as stage:
        routes = folder / "routes"
        routes.mkdir(parents=True)
        (routes / "all.yaml").write_text(_routes(stage.url))
        with Service(routes, folder / "log") as service:
            yield Theatre(service, stage)


def _routes(url: str) -> str:
    lines = ["providers:"]
    lines += [
        f'  {name}: {{dialect: {name}, base_url: "{url}{PATHS[name]}", api_key: sk-vendor-key-0123}}'
        for name in PROVIDERS
    ]
    lines += ["models:"]
    for provider in PROVIDERS:
        lines += [
            f"  {provider}-{scene}: {{provider: {provider}, name: {MODELS[provider]}-{scene}, {ABLE}}}"
            for scene in SCENES
        ]
    return "\n".join([*lines, "default: {models: [openai-text]}"]) + "\n"


def drive(theatre: Theatre, client: str) -> tuple[Seen, str]:
    """Let a client play every scene, directly and through semroute; returns what it saw, and what it wrote."""
    script = next(SCRIPTS.glob(f"with_{client}.*"))
    runs = [{"run": DIRECT, "url": theatre.stage.url, "models": WIRES}]
    runs += [
        {"run": provider, "url": theatre.service.url, "models": dict.fromkeys(WIRES, provider)}
        for provider in PROVIDERS
    ]
    play = {"stage": theatre.stage.url, "runs": runs}
    with TemporaryDirectory() as home:
        done = subprocess.run(
            [*installed.command(client), installed.laid(script, Path(home))],
            env={**installed.environ(Path(home)), "PLAY": json.dumps(play)},
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    lines = [json.loads(line[len(PLAYED) :]) for line in done.stdout.splitlines() if line.startswith(PLAYED)]
    return {(line["wire"], line["run"], line["scene"]): line for line in lines}, done.stdout
