"""Play a provider that fails in every way we know, and judge what a gateway makes of it.

    python bench/faults.py            # two minutes, with an outage of 60 s
    python bench/faults.py --quick    # within a minute, with an outage of 6 s
    python bench/faults.py --defaults # sixteen faults, two models, no other settings: pass, partial, safe or fail
    python bench/faults.py --json     # {passed, failed, verdicts, scenarios: {name: {outcome, verdict, …}}}

By default the script starts semroute and asks it. To ask another gateway, give `--base-url http://127.0.0.1:4000/v1`.
That gateway must know a model for each name that `--list` prints. Each name comes with its plan, which is the models at
the fault provider in the order to try them, and with its timeouts. The fault provider listens on `--provider-port`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import ssl
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import trustme
from rich.console import Console
from rich.table import Table

from bench.fault_cases import ADDRESSES, CASES, DEFAULTS, Case
from bench.fault_client import Client, Result, Verdict
from bench.processes import semroute
from tests.providers.fault_server import FaultServer

AT_ONCE = 8
OUTAGE = "outage"


class Pace(NamedTuple):
    """How long the parts of the outage take, in seconds."""

    outage_s: float
    every_s: float
    """The time between two requests during the outage."""
    probe_s: float
    """The circuit breaker's time between probes."""
    back_s: float
    """The time after the recovery within which the primary must serve again."""


QUICK = Pace(outage_s=6, every_s=0.4, probe_s=1, back_s=3)
FULL = Pace(outage_s=60, every_s=4, probe_s=10, back_s=30)


def routes(plain: str, tls: str, pace: Pace, cases: Iterable[Case]) -> str:
    """Return semroute's configuration, with a route for each case."""
    models: dict[str, dict[str, object]] = {}
    written = []
    addresses = {"plain": plain, "tls": tls, **ADDRESSES}
    for case in cases:
        for scenario in case.plan:
            # Each case has models of its own, so a breaker or limit of one case does not affect the next.
            entry: dict[str, object] = {"provider": scenario if scenario in addresses else "plain"}
            if case.timeouts is not None:
                entry |= {"breaker": {"probe_s": pace.probe_s}, "features": ["tools", "json", "prefill"]}
                entry["context_tokens"] = 100_000 if scenario == "ok" else 10_000
            models[case.model(scenario)] = {**entry, "name": case.model(scenario)}
        plan = [case.model(scenario) for scenario in case.plan]
        route: dict[str, object] = {"name": case.name, "utterances": [f"case {case.name}"], "models": plan}
        if case.timeouts is not None:
            route["policy"] = {"deadline_s": 20, **case.written}
        written.append(route)
    providers = {name: {"dialect": "openai", "base_url": url} for name, url in addresses.items()}
    default = {"models": [next(iter(models))]}
    return json.dumps({"providers": providers, "models": models, "default": default, "routes": written})


@contextlib.contextmanager
def service(plain: str, tls: str, pace: Pace, cases: Iterable[Case]) -> Iterator[str]:
    """Run the service in front of the fault provider. Gives its base_url."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "routes.yaml").write_text(routes(plain, tls, pace, cases))
        with semroute(Path(folder), log_level="error") as (port, _):
            yield f"http://127.0.0.1:{port}/v1"


async def run(client: Client, cases: Sequence[Case]) -> dict[str, Result]:
    """Run all cases, several at once."""
    results: dict[str, Result] = {}
    room = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> None:
        async with room:
            results[case.name] = await client.ask(case)

    await asyncio.gather(*(one(case) for case in cases))
    return {case.name: results[case.name] for case in cases}


async def outage(client: Client, provider: FaultServer, pace: Pace, case: Case) -> Result:
    """Send requests at a steady pace through an outage.

    Each must get an answer. The failing model must get only a few probes, and must serve again soon after the outage.
    """
    primary = case.model(case.plan[0])
    loop = asyncio.get_running_loop()
    started, back_after_s, problems, during = loop.time(), None, 0, 0
    while (now_s := loop.time() - started) < pace.outage_s + pace.back_s:
        before = provider.counts[primary]
        result = await client.ask(case)
        problems += result.outcome != "complete"
        if now_s < pace.outage_s:
            during = provider.counts[primary]
        elif result.model == primary and provider.counts[primary] > before:
            back_after_s = now_s - pace.outage_s
            break
        await asyncio.sleep(pace.every_s)
    most = 6 + int(pace.outage_s / pace.probe_s) + 1
    passed = not problems and during <= most and back_after_s is not None
    back = "never" if back_after_s is None else f"after {back_after_s:.1f} s"
    note = (
        f"{during} calls to the failing model (expected at most {most}); "
        f"it served again {back}; {problems} failed requests"
    )
    return Result(passed, "complete" if not problems else "error", provider.counts[primary], now_s, note)


def show(results: dict[str, Result], console: Console) -> None:
    """Print the table of cases."""
    table = Table("scenario", "outcome", "attempts", "wall s", "", box=None, pad_edge=False)
    for name, result in results.items():
        mark = "[green]pass[/]" if result.passed else f"[red]{result.verdict.upper()}[/]"
        table.add_row(name, result.outcome, str(result.attempts), f"{result.wall_s:.2f}", f"{mark} {result.note}")
    console.print(table)
    console.print(", ".join(f"{count} {verdict}" for verdict, count in counted(results).items()))


def counted(results: dict[str, Result]) -> dict[str, int]:
    """Count the faults by verdict. A fault that was tried whole and streamed counts once, with its worse verdict."""
    order = get_args(Verdict)
    worst: dict[str, str] = {}
    for name, result in results.items():
        fault = name.removesuffix("-stream") if name.removesuffix("-stream") in results else name
        worst[fault] = max(worst.get(fault, "pass"), result.verdict, key=order.index)
    return {verdict: sum(each == verdict for each in worst.values()) for verdict in order}


def as_json(results: dict[str, Result]) -> str:
    """Return the results as JSON."""
    passed = sum(result.passed for result in results.values())
    scenarios = {
        name: {
            "outcome": result.outcome,
            "verdict": result.verdict,
            "attempts": result.attempts,
            "wall_s": round(result.wall_s, 3),
        }
        for name, result in results.items()
    }
    failed = [name for name, result in results.items() if not result.passed]
    told = {"passed": passed, "failed": len(failed), "failed_scenarios": failed, "verdicts": counted(results)}
    return json.dumps({**told, "scenarios": scenarios}, indent=1)


@contextlib.contextmanager
def providers(port: int) -> Iterator[tuple[FaultServer, FaultServer]]:
    """Run the fault provider, and a second one whose certificate nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with FaultServer(port=port) as plain, FaultServer(context) as tls:
        yield plain, tls


def measure(
    base_url: str | None, provider_port: int, pace: Pace, key: str = "none", *, defaults: bool = False
) -> dict[str, Result]:
    """Start what is needed, and run all cases.

    The outage comes last, when nothing else runs. With `defaults`, only the cases of the default settings run, without
    the outage.
    """
    long_one = Case(OUTAGE, (f"outage-{int(pace.outage_s * 10)}", "ok"))
    cases = DEFAULTS if defaults else CASES

    async def ask(client: Client, plain: FaultServer) -> dict[str, Result]:
        results = await run(client, cases)
        if not defaults:
            results[OUTAGE] = await outage(client, plain, pace, long_one)
        await client.aclose()
        return results

    with providers(provider_port) as (plain, tls), contextlib.ExitStack() as stack:
        if base_url is None:
            served = cases if defaults else [*cases, long_one]
            target, prefix = stack.enter_context(service(plain.url, tls.url, pace, served)), "auto:"
        else:
            target, prefix = base_url, ""
        client = Client(target, key, prefix, plain)
        return asyncio.run(ask(client, plain))


def main() -> None:
    """Read the options, measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", help="ask this gateway instead of starting semroute")
    parser.add_argument("--key", default="none", help="the API key of that gateway")
    parser.add_argument("--provider-port", type=int, default=0, help="port of the fault provider (default: a free one)")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--defaults", action="store_true", help="sixteen faults with two models and no other settings")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--list", action="store_true", help="print the models that another gateway must know, and exit")
    options = parser.parse_args()
    pace = QUICK if options.quick else FULL
    if options.list:
        cases = DEFAULTS if options.defaults else CASES
        print(json.dumps({case.name: case.described() for case in cases}, indent=1))
        return
    results = measure(options.base_url, options.provider_port, pace, options.key, defaults=options.defaults)
    if options.json:
        print(as_json(results))
    else:
        show(results, Console(width=150))
    sys.exit(0 if all(result.passed for result in results.values()) else 1)


if __name__ == "__main__":
    main()
