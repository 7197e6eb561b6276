"""Measure what a judge and a shadow cost the callers: requests a second of plain forwarding, with and without them.

    python bench/trials.py              # ten minutes
    python bench/trials.py --quick      # three minutes
    python bench/trials.py --json

Three services forward to the same local stub: one with `judge:` and `shadow:` at a share of 10% each, and two without.
All run at the same time, and are loaded by turns, in short slices. Then they start anew, because a process can be some
percent slower than another one that does the same. Each ratio is the median over all turns: of requests a second, and
of requests that a second of processor time serves. The latter hardly depends on what else the machine does. The ratio
of the two services without trials shows how far the ratio of equals is from 1. The stub's answer is no
grade, so each judgement fails after it was made, which takes as long as a good one.

The script reads /proc, so it needs Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import httpx
from rich.console import Console
from rich.progress import track

from bench.gateway import fixed
from bench.load import Target, run
from bench.processes import free_port, semroute, server

ROUTES = """
providers: {{stub: {{dialect: openai, base_url: "http://127.0.0.1:{port}/v1"}}}}
models:
  small: {{provider: stub, name: small, tier: simple, input_price: 1, output_price: 2}}
  large: {{provider: stub, name: large, tier: complex, input_price: 10, output_price: 20}}
  judge: {{provider: stub, name: judge, input_price: 1, output_price: 2}}
default: {{models: [small]}}
"""
TRIALS = """
judge: {{model: judge, share: {share}, rubric: It is right., budget_usd_per_day: 1000000}}
shadow: {{to: large, share: {share}, budget_usd_per_day: 1000000}}
"""
CONNECTIONS = 16
WARM_S, SLICE_S = 0.5, 1.5
TURNS = 3
PATH = "/v1/chat/completions"


class Rates(NamedTuple):
    """What a service did in one slice."""

    rps: float
    """Requests a second."""
    per_cpu_s: float
    """Requests for each second of processor time."""


class Running(NamedTuple):
    """A service."""

    port: int
    pid: int


@contextlib.contextmanager
def serving(stub_port: int, share: float) -> Iterator[Running]:
    """Run a service. `share`: of the judge and of the shadow. 0: there is neither."""
    with tempfile.TemporaryDirectory() as folder:
        text = ROUTES.format(port=stub_port) + (TRIALS.format(share=share) if share else "")
        (Path(folder) / "routes.yaml").write_text(text)
        database = f"sqlite:///{folder}/semroute.db"
        with semroute(Path(folder), workers="1", database_url=database, log_level="error") as (port, process):
            yield Running(port, process.pid)


def cpu_s(pid: int) -> float:
    """Return the processor time of the main thread of a process so far. Its event loop runs there."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


def load(service: Running, seconds: float) -> Rates:
    """Load a service for some seconds. Before that, it gets warm: it opens connections, and sees that it is busy."""
    asyncio.run(run(Target(service.port, PATH, fixed("small")), CONNECTIONS, WARM_S))
    sent, body = itertools.count(), fixed("small")

    def counted(number: int) -> bytes:
        next(sent)
        return bytes(body(number))

    before = cpu_s(service.pid)
    found = asyncio.run(run(Target(service.port, PATH, counted), CONNECTIONS, seconds))
    if found.failed:
        raise SystemExit(f"{found.failed} requests failed")
    return Rates(found.rps, next(sent) / (cpu_s(service.pid) - before))


def by_turns(services: dict[str, Running], turns: range, found: dict[str, list[Rates]]) -> None:
    """Load each service in each turn, and add what is found."""
    names = list(services)
    for turn in turns:
        for name in names[turn % 3 :] + names[: turn % 3]:  # none always comes first
            found[name].append(load(services[name], SLICE_S))


def ratios(found: dict[str, list[Rates]], one: str, other: str) -> dict[str, float]:
    """Return the median ratios of two services in the same turn."""
    pairs = list(zip(found[one], found[other], strict=True))
    return {
        "rps": statistics.median(first.rps / second.rps for first, second in pairs),
        "per_cpu_s": statistics.median(first.per_cpu_s / second.per_cpu_s for first, second in pairs),
    }


def outcomes(port: int) -> dict[str, int]:
    """Return how many trials were made and dropped, as the metrics of a service say."""
    found = {}
    for line in httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines():
        if line.startswith(("semroute_trials_total", "semroute_trials_dropped_total")):
            name, _, value = line.rpartition(" ")
            found[name.removeprefix("semroute_")] = int(float(value))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="end within three minutes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--share", type=float, default=0.1, help="of the judge and of the shadow (0.1)")
    options = parser.parse_args()
    console = Console(stderr=True, quiet=options.json)
    starts = 6 if options.quick else 20
    shares = {"with": options.share, "without": 0.0, "also without": 0.0}
    found: dict[str, list[Rates]] = {name: [] for name in shares}
    trials: Counter[str] = Counter()
    stub_port = free_port()
    with server([sys.executable, str(Path(__file__).with_name("stub.py")), str(stub_port)], stub_port):
        for start in track(range(starts), "measuring", console=console, transient=True):
            with contextlib.ExitStack() as servers:
                services = {name: servers.enter_context(serving(stub_port, share)) for name, share in shares.items()}
                by_turns(services, range(start, start + TURNS), found)
                trials.update(outcomes(services["with"].port))
    compared = {"trials": ratios(found, "with", "without"), "equals": ratios(found, "also without", "without")}
    if options.json:
        print(json.dumps({**compared, "counts": trials}))
        return
    print(f"with trials / without: {told(compared['trials'])}")
    print(f"two services without trials: {told(compared['equals'])}")
    for name, count in sorted(trials.items()):
        print(f"{name}: {count:,.0f}")


def told(ratios: dict[str, float]) -> str:
    """Return ratios in words."""
    return f"{ratios['rps']:.3f} requests a second, {ratios['per_cpu_s']:.3f} requests for the same processor time"


if __name__ == "__main__":
    main()
