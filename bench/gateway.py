"""Measure what semroute adds to a forwarded call, and how many calls it forwards, beside the same stub called directly.

    python bench/gateway.py              # four minutes
    python bench/gateway.py --quick      # one minute
    python bench/gateway.py --json

Other gateways are measured in the same run if they are installed (bench/README.md says how). `--portkey FOLDER` names
the folder with Portkey's node_modules, `--litellm PYTHON` the Python of LiteLLM's environment. All servers, the load
generator and the stub run at the same time on one machine, and the servers are loaded in turn. So compare ratios, not
times. The other gateways run as their makers start them, in one process each. semroute runs twice: with one worker, and
with one worker for each core (`SEMROUTE_WORKERS`). Ratios of requests a second belong to the second run, or to the
first if their name says `one_worker`. Times always belong to the first.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.load import Load, Target, run
from bench.processes import free_port, semroute, server
from semroute.cpus import usable_cores

ROUTES = """
providers:
  stub: {{dialect: openai, base_url: "http://127.0.0.1:{port}/v1"}}
models:
  stub: {{provider: stub, name: stub}}
default:
  models: [stub]
"""
CONNECTIONS = (1, 16)
STUB, PINNED, SEMANTIC, ONE_WORKER = (
    "stub, direct",
    "semroute, pinned model",
    "semroute, semantic routing",
    ", one worker",
)
LITELLM_KEY = "sk-bench"
SUBJECTS = ["invoice", "python loop", "holiday", "contract", "poem", "proof", "table", "parcel", "melody", "kernel"]
VERBS = ["explain", "write", "summarise", "translate", "fix", "draft", "compare", "describe", "check", "improve"]

Figures = dict[str, dict[str, float]]


def fixed(model: str) -> Any:
    """Return a body that is the same small request every time."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Say something short."}]}).encode()
    return lambda _: body


class Distinct:
    """Prompts of about eleven tokens for the router to match. No prompt comes twice."""

    def __init__(self) -> None:
        self._made = 0

    def __call__(self, _: int) -> bytes:
        """Return the next body."""
        self._made += 1
        verb, subject = VERBS[self._made % 10], SUBJECTS[self._made // 10 % 10]
        prompt = f"please {verb} the {subject} number {self._made} for my team"
        return json.dumps({"model": "auto", "messages": [{"role": "user", "content": prompt}]}).encode()


def take_turns(targets: dict[str, Target], seconds: float, rounds: int, console: Console) -> Figures:
    """Load the targets in turn, at each number of connections, in several rounds. Return the medians.

    A machine's speed changes from one minute to the next. With turns, it changes for all targets alike.
    """
    taken: dict[str, dict[str, list[float]]] = {name: {} for name in targets}
    turns = [(connections, name) for _ in range(rounds) for connections in CONNECTIONS for name in targets]
    for connections, name in track(turns, "measuring", console=console, transient=True):
        load: Load = asyncio.run(run(targets[name], connections, seconds))
        if load.failed:
            raise SystemExit(f"{name}: {load.failed} requests failed")
        for figure, value in (("rps", load.rps), ("p50_ms", load.p50_ms)):
            taken[name].setdefault(f"{figure}_{connections}", []).append(value)
    return {name: {figure: statistics.median(each) for figure, each in own.items()} for name, own in taken.items()}


def put_behind_stub(folder: Path, stub_port: int) -> None:
    """Write the shipped routes to `folder`, with the stub as the only model of each."""
    for file in (Path(__file__).resolve().parent.parent / "routes").glob("*.yaml"):
        if file.name not in {"models.yaml", "rules.yaml"}:
            content = yaml.safe_load(file.read_text("utf-8"))
            for route in content["routes"]:
                route["models"] = ["stub"]
            (folder / file.name).write_text(json.dumps(content), "utf-8")  # JSON is YAML
    (folder / "models.yaml").write_text(ROUTES.format(port=stub_port))


@contextlib.contextmanager
def shipped(stub_port: int, workers: int = 1) -> Iterator[int]:
    """Run the service with the shipped routes, with the stub behind every model.

    As shipped, it writes its log to a file.
    """
    with tempfile.TemporaryDirectory() as folder:
        put_behind_stub(Path(folder), stub_port)
        database = f"sqlite:///{folder}/semroute.db"
        with semroute(Path(folder), workers=str(workers), database_url=database, log_level="warning") as (port, _):
            yield port


@contextlib.contextmanager
def portkey(folder: Path) -> Iterator[int]:
    """Run Portkey's gateway. Gives its port."""
    port = free_port()
    start = folder / "node_modules/@portkey-ai/gateway/build/start-server.js"
    node = shutil.which("node") or "node"
    with server([node, str(start), "--headless", f"--port={port}"], port, environ={"NODE_ENV": "production"}):
        yield port


@contextlib.contextmanager
def litellm(python: Path, stub_port: int) -> Iterator[int]:
    """Run LiteLLM's proxy.

    Gives its port. The proxy does not start without a master key, and callers must send that key.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = {
            "model_list": [
                {
                    "model_name": "stub",
                    "litellm_params": {
                        "model": "openai/stub",
                        "api_base": f"http://127.0.0.1:{stub_port}/v1",
                        "api_key": "none",
                    },
                }
            ]
        }
        (Path(folder) / "config.yaml").write_text(json.dumps(config))
        program = str(python.parent / "litellm")
        command = [program, "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)]
        environ = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": LITELLM_KEY}
        with server(command, port, environ=environ, folder=Path(folder)):
            yield port


def measure_all(options: argparse.Namespace, console: Console) -> Figures:
    """Start all servers, and load one after the other."""
    path, stub_port = "/v1/chat/completions", free_port()
    with contextlib.ExitStack() as servers:
        servers.enter_context(
            server([sys.executable, str(Path(__file__).with_name("stub.py")), str(stub_port)], stub_port)
        )
        targets = {STUB: Target(stub_port, path, fixed("stub"))}
        for workers, suffix in ((1, ONE_WORKER), (usable_cores(), "")):
            port = servers.enter_context(shipped(stub_port, workers))
            targets[f"{PINNED}{suffix}"] = Target(port, path, fixed("stub"))
            targets[f"{SEMANTIC}{suffix}"] = Target(port, path, Distinct())
        if options.portkey:
            headers = {
                "x-portkey-provider": "openai",
                "x-portkey-custom-host": f"http://127.0.0.1:{stub_port}/v1",
                "authorization": "Bearer none",
            }
            port = servers.enter_context(portkey(options.portkey))
            targets["Portkey"] = Target(port, path, fixed("stub"), headers)
        if options.litellm:
            headers = {"authorization": f"Bearer {LITELLM_KEY}"}
            port = servers.enter_context(litellm(options.litellm, stub_port))
            targets["LiteLLM"] = Target(port, path, fixed("stub"), headers)
        return take_turns(targets, *((1.0, 2) if options.quick else (2.0, 5)), console)


def ratios(figures: Figures) -> dict[str, float]:
    """Return the ratios that can be compared between machines."""
    plain, semantic = figures[PINNED + ONE_WORKER], figures[SEMANTIC + ONE_WORKER]
    direct = figures[STUB]
    compared = {
        "overhead_ms_plain": plain["p50_ms_1"] - direct["p50_ms_1"],
        "overhead_ms_semantic": semantic["p50_ms_1"] - direct["p50_ms_1"],
    }
    if "Portkey" in figures:
        compared["p50_ratio_portkey"] = plain["p50_ms_1"] / figures["Portkey"]["p50_ms_1"]
    for peer in figures.keys() & {"Portkey", "LiteLLM"}:
        for suffix, workers in (("", ""), ("_one_worker", ONE_WORKER)):
            name, rate = f"rps_ratio_{peer.lower()}{suffix}", figures[peer]["rps_16"]
            compared[name] = figures[PINNED + workers]["rps_16"] / rate
            compared[f"semantic_{name}"] = figures[SEMANTIC + workers]["rps_16"] / rate
    return compared


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="end within a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--portkey", type=Path, metavar="FOLDER", help="folder with Portkey's node_modules")
    parser.add_argument("--litellm", type=Path, metavar="PYTHON", help="Python of LiteLLM's environment")
    options = parser.parse_args()
    figures = measure_all(options, Console(stderr=True, quiet=options.json))
    compared = ratios(figures)
    if options.json:
        print(json.dumps({**compared, "cores": usable_cores(), "figures": figures}))
        return
    table = Table("", "req/s, 1 conn.", "p50 ms", "req/s, 16 conn.", "p50 ms", title=f"{usable_cores()} cores")
    for name, values in figures.items():
        table.add_row(name, *(f"{value:,.2f}" if "ms" in key else f"{value:,.0f}" for key, value in values.items()))
    console = Console()
    console.print(table)
    for name, value in compared.items():
        console.print(f"{name}: {value:.2f}", highlight=False)


if __name__ == "__main__":
    main()
