"""Two arms of an experiment: how both decide the same requests, what that would cost, and how accurate each arm is."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

from semroute import Decision, Router

HERE = Path(__file__).parent
ARMS = ("a", "b")
PROMPTS = [
    "rename this variable everywhere in the file",
    "First profile this service, then explain step by step why the cache misses, and prove that your fix is safe",
    "a slogan for our bakery",
    "how far is the moon",
]


def main() -> None:
    """Build both arms, decide the same prompts with each, and measure each on the same labels."""
    with tempfile.TemporaryDirectory() as folder:
        arms = {arm: lay_out(arm, Path(folder)) for arm in ARMS}
        routers = {arm: Router.load(routes) for arm, routes in arms.items()}
        costs = dict.fromkeys(ARMS, Decimal(0))
        print(f"{'prompt':<46}{'arm a':<20}arm b")
        for prompt in PROMPTS:
            decisions = {arm: router.route(prompt) for arm, router in routers.items()}
            for arm, decision in decisions.items():
                costs[arm] += decision.estimate.cost_usd
            shown = prompt if len(prompt) <= 44 else f"{prompt[:41]}..."
            print(f"{shown:<46}{told(decisions['a']):<20}{told(decisions['b'])}")
        print(f"{'estimated cost, USD':<46}{costs['a']:<20.6f}{costs['b']:.6f}")
        figures = {arm: evaluated(routes) for arm, routes in arms.items()}
        for figure in ("accuracy", "false_abstain", "oos_recall"):
            print(f"{figure:<46}{figures['a'][figure]:<20.2f}{figures['b'][figure]:.2f}")
    print("who is in which arm:", ", ".join(f"{user} {arm_of(user)}" for user in ("ada", "ben", "dan", "eve", "fay")))


def lay_out(arm: str, folder: Path) -> Path:
    """Make the routes folder of an arm: the common files plus the files of the arm. All of them are merged."""
    target = folder / arm
    for source in (HERE / "common", HERE / arm):
        shutil.copytree(source, target, dirs_exist_ok=True)
    return target


def told(decision: Decision) -> str:
    """Return a decision in two words."""
    return f"{decision.route or '-'} {decision.model}"


def evaluated(routes: Path) -> dict[str, float]:
    """Return what `semroute eval labelled.jsonl --routes DIR --json` prints."""
    command = [
        sys.executable,
        "-m",
        "semroute",
        "eval",
        str(HERE / "labelled.jsonl"),
        "--routes",
        str(routes),
        "--json",
    ]
    figures: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return figures


def arm_of(user: str) -> str:
    """Return the arm of a user, always the same one. Each arm gets half of the users.

    Call this where you choose the service to call.
    """
    return ARMS[hashlib.sha256(user.encode()).digest()[0] % len(ARMS)]


if __name__ == "__main__":
    main()
