"""Compare two builds of semroute: decisions, requests a second, peak memory and start.

    python bench/builds.py OLD NEW                     # ten minutes
    python bench/builds.py OLD NEW --quick             # three minutes
    python bench/builds.py OLD NEW --only decisions,start
    python bench/builds.py OLD NEW --json

OLD and NEW are checkouts, as in `side_by_side.py`. The builds take turns in each row, so a busy moment of the machine
is busy for both. Each row prints the figure of both builds and the ratio NEW / OLD. Decisions and starts are also
measured in processor time, which says more than the clock where other programs run.

- decisions: the median of one decision among 1,500 utterances, for prompts of 12 tokens, and for asks with material of
  128 tokens to 100,000 characters. Each prompt is new.
- requests: requests a second with 16 connections and prompts that are all new. The stub answers at once.
- memory: the peak of a new process that trains 15,000 utterances and decides 200 prompts.
- start: from the start of `semroute serve` with the build's own routes and a warm cache to its first decision.

The utterances are those of CLINC150: `intent.py` says where the data are. The script reads /proc, so it needs Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # behind PYTHONPATH, which names the build that is measured

CONNECTIONS = 16
BLOCK = 20
"""How many prompts a build decides in a row."""
WARM_UP = 4
"""How many prompts at the start of each block are not counted."""
TOKENS = (11, 13)
"""The word pieces of a short prompt, with the two at its ends."""
SIZES = {"128 tokens": 480, "1,000 characters": 1000, "10,000 characters": 10_000, "100,000 characters": 100_000}
MATERIAL = (
    "The council voted on Tuesday to close the old bridge for eighteen months. Traffic will be sent over the northern "
    "ring road, which already carries forty thousand cars a day. Shop owners near the river fear for their trade. "
    '"We were not asked," said Maria Lindqvist, who runs a bakery on Quay Street. The mayor promised a fund of two '
    "million euros for those who lose customers. Work begins in March 2027, and a ferry will run in the mornings. "
)
SHAPES: tuple[Callable[[str, str], str], ...] = (
    lambda ask, material: f"{ask}\n\n{material}",
    lambda ask, material: f"{material}\n\n{ask}",
    lambda ask, material: f"{ask}\n```\n{material}\n```",
)


class Build(NamedTuple):
    """A build that is measured."""

    checkout: Path
    python: Path

    def environ(self, **more: str) -> dict[str, str]:
        """Return the environment in which the build's Python imports this build."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, "PYTHONPATH": str(self.checkout), "OPENAI_API_KEY": "unused", **more}


class Row(NamedTuple):
    """One measurement of both builds."""

    name: str
    unit: str
    old: float
    new: float

    @property
    def ratio(self) -> float:
        """NEW / OLD."""
        return self.new / self.old


def in_child(command: str, argument: str) -> None:
    """Do what a child process does. It uses only what every build has."""
    from semroute import Router

    if command == "decide":
        router = Router.load(argument)
        print("ready", flush=True)
        for line in sys.stdin:
            taken = []
            for prompt in json.loads(line):
                clock, cpu = time.perf_counter_ns(), time.thread_time_ns()
                router.route(prompt)
                taken.append((time.perf_counter_ns() - clock, time.thread_time_ns() - cpu))
            print(json.dumps(taken), flush=True)
    elif command == "memory":
        router = Router.load(argument)
        for prompt in json.loads(sys.stdin.read()):
            router.route(prompt)
        status = Path("/proc/self/status").read_text("utf-8")
        print(int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6)


class Decider:
    """A process of a build that decides prompts."""

    def __init__(self, build: Build, routes: Path, cache: Path) -> None:
        command = [str(build.python), __file__, "--child", "decide", str(routes)]
        environ = build.environ(SEMROUTE_CACHE_DIR=str(cache))
        self._command = " ".join(command)
        self._process = subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._read()

    def ask(self, prompts: Sequence[str]) -> list[tuple[int, int]]:
        """Return the time that each decision took, in ns: by the clock, and of the processor."""
        _pipe(self._process.stdin).write(json.dumps(prompts).encode() + b"\n")
        _pipe(self._process.stdin).flush()
        return [tuple(each) for each in json.loads(self._read())]

    def close(self) -> None:
        """End the process."""
        _pipe(self._process.stdin).close()
        self._process.wait()

    def _read(self) -> bytes:
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise SystemExit(f"{self._command}: ended with status {self._process.wait()}")
        return line


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def decisions(builds: Sequence[Build], folder: Path, blocks: int) -> Iterator[Row]:
    """Compare decisions among 1,500 utterances."""
    from bench.intent import read

    routes = write_routes(folder / "1500", "train_10")
    with ExitStack() as running:
        deciders = []
        for place, build in enumerate(builds):
            deciders.append(Decider(build, routes, folder / f"cache{place}"))
            running.callback(deciders[-1].close)
        texts = read("test").texts
        short = [text for text in texts if TOKENS[0] - 2 <= len(text.split()) <= TOKENS[1] - 2]
        rows: dict[str, Iterator[str]] = {"decision, 12 tokens": itertools.cycle(short)}
        for name, characters in SIZES.items():
            rows[f"decision, ask with {name}"] = _with_material(short, characters)
        for name, prompts in rows.items():
            yield from _decided(name, deciders, prompts, blocks)


def _with_material(asks: Sequence[str], characters: int) -> Iterator[str]:
    for number, ask in enumerate(itertools.cycle(asks)):
        shape = SHAPES[number % len(SHAPES)]
        text = MATERIAL * (characters // len(MATERIAL) + 1)
        yield shape(ask, f"{number} {text[: characters - len(ask) - 10]}")


def _decided(name: str, deciders: Sequence[Decider], prompts: Iterator[str], blocks: int) -> Iterator[Row]:
    taken: list[list[tuple[int, int]]] = [[] for _ in deciders]
    for number in range(blocks):
        block = list(itertools.islice(prompts, BLOCK))
        for place in (0, 1) if number % 2 else (1, 0):
            taken[place] += deciders[place].ask(block)[WARM_UP:]
    for index, unit in enumerate(("ms", "ms of processor time")):
        yield Row(name, unit, *(statistics.median(each[index] for each in own) / 1e6 for own in taken))


def requests(builds: Sequence[Build], folder: Path, slices: int, seconds: float) -> Iterator[Row]:
    """Compare requests a second."""
    from bench.intent import read
    from bench.load import Target, run
    from bench.processes import free_port, server

    stub = free_port()
    routes = write_routes(folder / "served", "train_10", f"http://127.0.0.1:{stub}/v1", 4096)
    prompts = read("test").texts
    numbers = itertools.count()

    def prompt() -> str:
        number = next(numbers)
        return f"{prompts[number % len(prompts)]} {number // len(prompts)}"

    bodies: dict[str, Callable[[int], bytes]] = {
        "/route": lambda _: json.dumps({"prompt": prompt()}).encode(),
        "/v1/chat/completions": lambda _: json.dumps(
            {"model": "auto", "messages": [{"role": "user", "content": prompt()}]}
        ).encode(),
    }
    with ExitStack() as running:
        script = str(ROOT / "bench" / "side_by_side.py")
        running.enter_context(server([sys.executable, script, "--stub", str(stub)], stub))
        services = []
        for place, build in enumerate(builds):
            port = free_port()
            command = [str(build.python), "-m", "semroute", "serve", "--routes", str(routes), "--port", str(port)]
            environ = build.environ(
                SEMROUTE_LOG_LEVEL="warning",
                SEMROUTE_DATABASE_URL=f"sqlite:///{folder}/{place}.db",
                SEMROUTE_CACHE_DIR=str(folder / f"cache{place}"),
            )
            process = running.enter_context(server(command, port, environ=environ, folder=build.checkout))
            services.append((port, process.pid))
        time.sleep(1)  # let them rest after their start
        for path, body in bodies.items():
            rates: list[list[float]] = [[], []]
            costs: list[list[float]] = [[], []]
            for turn in range(slices):
                for place in (0, 1) if turn % 2 else (1, 0):
                    port, pid = services[place]
                    cpu, before = cpu_s(pid), next(numbers)
                    load = asyncio.run(run(Target(port, path, body), CONNECTIONS, seconds))
                    if load.failed:
                        raise SystemExit(f"{builds[place].checkout}: {load.failed} requests of {path} failed")
                    rates[place].append(load.rps)
                    costs[place].append((cpu_s(pid) - cpu) / (next(numbers) - before - 1) * 1000)
            yield Row(f"POST {path}, {CONNECTIONS} connections", "requests/s", *map(statistics.median, rates))
            yield Row(f"POST {path}, one request", "ms of processor time", *map(statistics.median, costs))


def memory(builds: Sequence[Build], folder: Path, times: int) -> Iterator[Row]:
    """Compare the peak memory of processes that train."""
    from bench.intent import read

    routes = write_routes(folder / "15000", "train")
    prompts = json.dumps(read("test", every=27).texts[:200]).encode()
    peaks: list[list[float]] = [[], []]
    for number in range(times):
        for place, build in enumerate(builds):
            command = [str(build.python), __file__, "--child", "memory", str(routes)]
            environ = build.environ(SEMROUTE_CACHE_DIR=str(folder / f"untrained{place}-{number}"))
            done = subprocess.run(command, env=environ, input=prompts, capture_output=True, check=True)
            peaks[place].append(float(done.stdout.split()[-1]))
    yield Row("peak memory, 15,000 utterances", "MB", *map(statistics.median, peaks))


def start(builds: Sequence[Build], folder: Path, times: int) -> Iterator[Row]:
    """Compare how long the first decision of a service takes."""
    taken: list[list[tuple[float, float]]] = [[], []]
    for number in range(times + 1):  # the first start of each build fills the cache
        for place in (0, 1) if number % 2 else (1, 0):
            taken[place].append(_first_answer(builds[place], folder, place))
    for index, unit in enumerate(("s", "s of processor time")):
        yield Row("start to first answer", unit, *(statistics.median(each[index] for each in own[1:]) for own in taken))


def _first_answer(build: Build, folder: Path, place: int) -> tuple[float, float]:
    from bench.processes import free_port

    port = free_port()
    environ = build.environ(
        SEMROUTE_LOG_LEVEL="error",
        SEMROUTE_DATABASE_URL=f"sqlite:///{folder}/start{place}.db",
        SEMROUTE_CACHE_DIR=str(folder / f"cache{place}"),
    )
    command = [str(build.python), "-m", "semroute", "serve", "--port", str(port)]
    started = time.perf_counter()
    with _running(command, environ, build.checkout) as process:
        body = json.dumps({"prompt": "write a python function"}).encode()
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/route", body, headers={"content-type": "application/json"}
        )
        while process.poll() is None:
            try:
                with urllib.request.urlopen(asked, timeout=60):
                    return time.perf_counter() - started, cpu_s(process.pid)
            except urllib.error.URLError:
                time.sleep(0.005)
    raise SystemExit(f"{' '.join(command)}: ended with status {process.returncode}")


@contextmanager
def _running(command: list[str], environ: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environ, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def cpu_s(pid: int) -> float:
    """Return the processor time that all threads of a process have used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def write_routes(folder: Path, split: str, stub: str = "", cached: int = 0) -> Path:
    """Write the utterances of a split as route files.

    `stub`: the base URL of the models. Without one, an echo answers. `cached`: how many prompts are remembered.
    """
    from bench.intent import by_route, read

    provider = {"dialect": "openai", "base_url": stub} if stub else {"dialect": "echo"}
    config = {
        "providers": {"local": provider},
        "models": {"stub": {"provider": "local", "name": "stub"}},
        "default": {"models": ["stub"]},
        "embedder": {"cached_prompts": cached},
        "routes": [
            {"name": name, "utterances": list(texts), "models": ["stub"]}
            for name, texts in by_route(read(split)).items()
        ],
    }
    folder.mkdir()
    (folder / "routes.yaml").write_text(json.dumps(config), "utf-8")  # JSON is YAML
    return folder


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--child"]:
        in_child(*sys.argv[2:4])
        return
    from rich.console import Console
    from rich.table import Table

    from bench.side_by_side import build_of

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builds", nargs=2, metavar="CHECKOUT[:PYTHON]", help="the old checkout and the new one")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="measure each row fewer times")
    names = ("decisions", "requests", "memory", "start")
    parser.add_argument("--only", default=",".join(names), help=f"some of {','.join(names)}")
    options = parser.parse_args()
    builds = [Build(*build_of(each)) for each in options.builds]
    console, quick = Console(stderr=options.json, width=120), options.quick
    table = Table("NEW / OLD", "", "OLD", "NEW", "ratio")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        measured: dict[str, Callable[[], Iterator[Row]]] = {
            "decisions": lambda: decisions(builds, folder, 12 if quick else 50),
            "requests": lambda: requests(builds, folder, 4 if quick else 12, 2.0),
            "memory": lambda: memory(builds, folder, 1 if quick else 3),
            "start": lambda: start(builds, folder, 5 if quick else 15),
        }
        for name in options.only.split(","):
            if name not in measured:
                parser.error(f"got {name}, expected some of {', '.join(measured)}")
            console.print(f"measuring {name}", style="dim")
            rows += measured[name]()
    if options.json:
        print(json.dumps([{**row._asdict(), "ratio": row.ratio} for row in rows]))
        return
    for row in rows:
        table.add_row(row.name, row.unit, f"{row.old:,.3f}", f"{row.new:,.3f}", f"{row.ratio:.3f}")
    console.print(table)


if __name__ == "__main__":
    main()
