"""Measure how long a semantic decision takes, beside semantic-router on the same ONNX session and the encoder alone.

    python bench/decide.py           # three minutes, plus the training on the first run
    python bench/decide.py --quick   # below one minute once trained: fewer prompts
    python bench/decide.py --threads 2
    python bench/decide.py --json

The routes are those of CLINC150 (bench/intent.py says where the data are), with 1,500 and with 15,000 utterances. The
prompts are its test split. Every router decides each prompt once. The routers take turns, a block of prompts at a time,
so a slow moment of the machine is slow for all of them. One thread embeds, as in a service, or as many as --threads
says, for semantic-router too. Requests are counted with one thread in each worker. The memory figure is the peak of a
process that trains the 15,000 utterances and then decides. With --quick, that process takes the trained head from the
cache. semantic-router is measured if it is installed: `pip install .[bench]`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

from bench.intent import SHOTS, by_route, configure, open_fastembed, open_peer, read
from bench.load import Target, run
from bench.processes import semroute
from semroute import Router
from semroute.config.schema.matching import EmbedderSettings
from semroute.cpus import usable_cores
from semroute.semantic.array_cache import Cache, default_folder
from semroute.semantic.embedder import Embedder, OnnxEmbedder

GOALS = {
    "ratio_p50_1500": 0.45,
    "ratio_p50_15000": 0.15,
    "overhead_ms_15000": 0.3,
    "long_prompt_ratio": 1.3,
    "peak_rss_mb": 400,
    "route_rps_ratio": 0.4,
}
LEAST = {"route_rps_ratio"}
"""The figures that should be at least as high as their goal. All other figures should be at most their goal."""
MEANINGS = {
    "ratio_p50_1500": "decision p50 / semantic-router's, 1,500 utterances",
    "ratio_p50_15000": "decision p50 / semantic-router's, 15,000 utterances",
    "overhead_ms_15000": "decision p50 - encoder p50, 15,000 utterances",
    "long_prompt_ratio": "100,000 characters / 128 tokens, p50",
    "peak_rss_mb": "peak memory, 15,000 utterances",
    "route_rps_ratio": "POST /route, 16 connections, a worker a core / encoder alone in batches",
}
CONNECTIONS = 16
BATCH = 32
BLOCK = 25
"""How many prompts each router decides in a row. What it needs is then in the processor's caches, as in a service that
does nothing else."""
WARM_UP = 5
"""How many prompts at the start of each block are not counted."""
WORDS = "please tell me which of these many parcels went to the harbour and why nobody there wants to sign for it "

Figures = dict[str, float]
Ask = Callable[[str], object]


def build(shot: str, console: Console, threads: int, previous: Router | None = None) -> Router:
    """Build the router of a split, from the cache if it was trained before. It caches no prompts, so each one is
    embedded.

    `previous` lends its embedder, so that everything measured uses one session.
    """
    embedder = EmbedderSettings(cached_prompts=0, threads=threads)
    config = msgspec.structs.replace(configure(by_route(read(SHOTS[shot]))), embedder=embedder)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"{shot}: training")
        return Router.build(
            config,
            previous=previous,
            cache=Cache(default_folder(os.environ)),
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )


def take_turns(subjects: dict[str, Ask], prompts: Sequence[str], console: Console) -> dict[str, float]:
    """Return the p50 of each subject in ms.

    Every subject is asked every prompt, a block at a time. A different subject begins each block.
    """
    names = list(subjects)
    times: dict[str, list[float]] = {name: [] for name in names}
    blocks = [prompts[start : start + BLOCK] for start in range(0, len(prompts), BLOCK)]
    gc.collect()
    for number, block in enumerate(track(blocks, "deciding", console=console, transient=True)):
        for turn in range(len(names)):
            name = names[(number + turn) % len(names)]
            for place, prompt in enumerate(block):
                started = time.perf_counter()
                subjects[name](prompt)
                if place >= WARM_UP:
                    times[name].append((time.perf_counter() - started) * 1000)
    return {name: statistics.median(taken) for name, taken in times.items()}


def measure_speed(prompts: Sequence[str], console: Console, threads: int = 1) -> tuple[Figures, dict[str, float]]:
    """Measure decisions among 1,500 and 15,000 utterances, beside semantic-router and the encoder alone.

    A long prompt is measured too.
    """
    small = build("10-shot", console, threads)
    large = build("full", console, threads, small)
    fastembed = open_fastembed(threads)
    subjects: dict[str, Ask] = {
        "encoder alone": lambda prompt: large.embedder.embed([prompt]),
        "fastembed alone": lambda prompt: list(fastembed.embed([prompt])),
        "semroute, 1,500": small.route,
        "semroute, 15,000": large.route,
    }
    if importlib.util.find_spec("semantic_router") is not None:
        console.print("semantic-router: indexing")
        for size, shot in (("1,500", "10-shot"), ("15,000", "full")):
            subjects[f"semantic-router, {size}"] = open_peer(by_route(read(SHOTS[shot])), fastembed)
    p50 = take_turns(subjects, prompts, console)
    figures = {"overhead_ms_15000": p50["semroute, 15,000"] - p50["encoder alone"]}
    for size in ("1,500", "15,000"):
        if f"semantic-router, {size}" in p50:
            ratio = p50[f"semroute, {size}"] / p50[f"semantic-router, {size}"]
            figures[f"ratio_p50_{size.replace(',', '')}"] = ratio
    sized = measure_long(large, len(prompts) // 4, console)
    figures["long_prompt_ratio"] = sized["100,000 characters"] / sized["128 tokens"]
    return figures, p50 | sized


def measure_long(router: Router, rounds: int, console: Console) -> dict[str, float]:
    """Measure a prompt of about 128 tokens and one of 100,000 characters. Each ask begins with another number."""
    words = WORDS.split()
    exact = next(n for n in range(1, 200) if router.embedder.count_tokens(" ".join((words * 9)[:n])) >= 125)

    def ask(characters: int | None) -> Ask:
        def asked(number: str) -> object:
            text = " ".join((words * 9)[:exact]) if characters is None else (WORDS * 2000)[:characters]
            return router.route(f"{number} {text}")

        return asked

    return take_turns(
        {"128 tokens": ask(None), "100,000 characters": ask(100_000)}, list(map(str, range(rounds))), console
    )


def peak_rss_mb(train: bool) -> float:
    """Return the peak memory of a new process, in MB.

    The process builds the router of 15,000 utterances and decides 200 prompts.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_load_and_decide, (train,))


def _load_and_decide(train: bool) -> float:
    config = configure(by_route(read(SHOTS["full"])))
    router = Router.build(config, cache=None if train else Cache(default_folder(os.environ)))
    for text in read("test", every=27).texts[:200]:
        router.route(text)
    # ru_maxrss would be wrong here: in a new process it starts with the parent's value.
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def measure_requests(prompts: Sequence[str], seconds: float, console: Console) -> tuple[Figures, dict[str, float]]:
    """Measure the requests a second of `POST /route` over 15,000 utterances, between two runs of the encoder alone.

    One worker is measured, and one worker for each core. The ratio uses the second figure, because the encoder alone
    has all cores too.
    """
    encoder = OnnxEmbedder(threads=1)
    console.print("encoder alone, in batches")
    before = embed_in_batches(encoder, prompts)
    one = request_rate(prompts, seconds, 1, console)
    all_cores = request_rate(prompts, seconds, usable_cores(), console)
    alone = (before + embed_in_batches(encoder, prompts)) / 2
    rates = {
        "encoder alone, texts/s": alone,
        "POST /route, one worker, requests/s": one,
        "POST /route, a worker a core, requests/s": all_cores,
    }
    return {"route_rps_ratio": all_cores / alone}, rates


def request_rate(prompts: Sequence[str], seconds: float, workers: int, console: Console) -> float:
    """Return the requests a second of `POST /route` with this many workers."""
    with tempfile.TemporaryDirectory() as folder:
        write_routes(Path(folder))
        database = f"sqlite:///{folder}/semroute.db"
        with semroute(Path(folder), workers=str(workers), database_url=database, log_level="warning") as (port, _):
            console.print(f"POST /route, 16 connections, workers: {workers}")
            target = Target(port, "/route", lambda n: _body(prompts[n % len(prompts)], n // len(prompts)))
            load = asyncio.run(run(target, CONNECTIONS, seconds))
    if load.failed:
        raise SystemExit(f"{load.failed} requests failed")
    return load.rps


def _body(prompt: str, turn: int) -> bytes:
    """Return a request that was not made before. After the last prompt, the first comes again with a number added."""
    return json.dumps({"prompt": f"{prompt} {turn}" if turn else prompt}).encode()


def embed_in_batches(encoder: Embedder, texts: Sequence[str]) -> float:
    """Return the texts a second that are embedded on all cores, with a thread for each core."""
    chunks = [texts[start : start + 8 * BATCH] for start in range(0, len(texts), 8 * BATCH)]
    with ThreadPoolExecutor(usable_cores()) as threads:
        list(threads.map(encoder.embed, chunks[:2]))
        started = time.perf_counter()
        list(threads.map(encoder.embed, chunks))
        return len(texts) / (time.perf_counter() - started)


def write_routes(folder: Path) -> None:
    """Write the same routes as route files."""
    routes = [
        {"name": name, "utterances": list(texts), "models": ["echo"]}
        for name, texts in by_route(read(SHOTS["full"])).items()
    ]
    config = {
        "providers": {"local": {"dialect": "echo"}},
        "models": {"echo": {"provider": "local", "name": "echo"}},
        "default": {"models": ["echo"]},
        "routes": routes,
    }
    (folder / "routes.yaml").write_text(json.dumps(config), "utf-8")  # JSON is YAML


def show(figures: Figures, details: dict[str, float], console: Console) -> None:
    """Print two tables: the figures with their goals, and the measurements behind them."""
    table = Table("figure", "goal", "measured", title=f"{usable_cores()} cores")
    for name, goal in GOALS.items():
        sign = "≥" if name in LEAST else "≤"
        table.add_row(MEANINGS[name], f"{sign} {goal:g}", f"{figures[name]:.2f}" if name in figures else "-")
    console.print(table)
    for name, value in details.items():
        console.print(f"{name}: {value:,.2f}" + ("" if "/s" in name else " ms"), highlight=False)


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="below a minute: fewer prompts")
    parser.add_argument("--threads", type=int, default=1, help="threads for one call of the encoder (default 1)")
    parser.add_argument("--json", action="store_true", help="print only the figures, as JSON")
    options = parser.parse_args()
    console = Console(stderr=options.json)
    prompts = read("test", every=1).texts
    few = prompts[:: 27 if options.quick else 9]
    requests, rates = measure_requests(prompts, 4.0 if options.quick else 12.0, console)
    speed, times = measure_speed(few, console, options.threads)
    figures = speed | {"peak_rss_mb": peak_rss_mb(train=not options.quick)} | requests
    if options.json:
        print(
            json.dumps(
                {name: figures.get(name) for name in GOALS} | {"cores": usable_cores(), "details": times | rates}
            )
        )
        return
    show(figures, times | rates, Console())


if __name__ == "__main__":
    main()
