"""Measure what rules, complexity, learned difficulty and a policy add to the p50 of a semantic decision.

    python bench/decide_policy.py [--quick] [--json]

Three routers decide each prompt in turn. The first has the shipped routes alone. The second adds rules, complexity and
a policy. The third uses learned difficulty instead of complexity. The order changes from round to round, so a slow
moment of the machine is slow for all of them. What counts is the processor time of the thread, which other work on the
machine hardly changes; a decision waits for nothing else. There are two figures, which should agree: the difference
between the p50s, and the median difference for the same prompt in the same round. The goal for both is under 0.3 ms.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from semroute.config.config import Config
from semroute.config.load import load
from semroute.config.schema.matching import EmbedderSettings
from semroute.config.schema.policies import Difficulty, Policy
from semroute.config.schema.rules import Compare, Only, Rule, When
from semroute.evaluation.gain_fit import Labels, fit
from semroute.messages import ChatRequest, Message, Text
from semroute.router import Router

ROUNDS, QUICK_ROUNDS = 120, 30
WARM_UP = 3
PROMPTS = (
    "how do I undo my last git commit without losing the changes",
    "My package never arrived and I want a refund.",
    "Prove that the square root of 2 is irrational, step by step, then compare both proofs.",
    "Sum up this meeting transcript in five bullet points for the board.",
    "wie sagt man auf Englisch Guten Appetit, please translate it and explain why",
    "Compare token bucket versus sliding window. It must use at most O(log n) memory, without locks. Why?",
)
RULES = (
    Rule(name="refunds", when=When(keywords=("chargeback", "lawsuit")), models=("claude-opus",)),
    Rule(name="orders", when=When(regex=r"ORDER-[0-9]{6}"), models=("claude-haiku",)),
    Rule(name="grounded", when=When(retrieval_score=Compare(gte=0.85)), tier="simple"),
    Rule(name="chinese", when=When(script=("han",)), models=("claude-sonnet",)),
    Rule(name="french", when=When(language=("fr",)), models=("claude-sonnet",)),
    Rule(name="tools", when=When(has=("tools", "code"), turns=Compare(gt=9)), models=("claude-sonnet",)),
    Rule(name="eu", when=When(metadata={"region": "eu"}), only=Only(regions=("eu",))),
)


def with_everything(config: Config, by: Difficulty) -> Config:
    """Return the shipped routes with rules, and with a policy that uses everything it can."""
    policy = Policy(select="balanced", min_quality=0.5, max_latency_ms=60_000, requires=("json",), difficulty=by)
    rules = (*RULES, *config.rules)
    routes = {name: msgspec.structs.replace(route, policy=policy) for name, route in config.routes.items()}
    return msgspec.structs.replace(config, rules=rules, routes=routes, policy=policy)


def learned(router: Router) -> Router:
    """Return the same router with a learned gain for two of its models."""
    texts = tuple(u for route in router.config.routes.values() for u in route.utterances)
    hard = np.array([len(text) > 60 for text in texts], dtype=np.float32)
    labels = Labels(
        texts=texts,
        vectors=router.embedder.embed(texts),
        quality=np.column_stack([0.8 - 0.5 * hard, np.full(len(texts), 0.9)]).astype(np.float32),
        routes=tuple(name for name, route in router.config.routes.items() for _ in route.utterances),
        models=("gpt-luna", "claude-opus"),
    )
    gain = fit(labels, router.embedder.fingerprint).gain
    return Router(router.config, router.embedder, router.trained, gain=gain)


def request(text: str) -> ChatRequest:
    """Return a request with one user turn and metadata."""
    return ChatRequest(id="r", messages=(Message(role="user", parts=(Text(text=text),)),), metadata={"user": "u"})


def main() -> None:
    """Measure and print."""
    config = load(Path(__file__).parents[1] / "routes", {}, today=date(2026, 11, 22))
    config = msgspec.structs.replace(config, embedder=EmbedderSettings(cached_prompts=0))  # each is decided as if new
    plain = Router.build(config)
    complexity = Router.build(with_everything(config, Difficulty()), previous=plain)
    by_gain = Difficulty(by="learned", strong_share=0.3)
    routers = {
        "plain": plain,
        "rules + complexity + policy": complexity,
        "rules + learned difficulty + policy": learned(Router.build(with_everything(config, by_gain), previous=plain)),
    }
    times = measured(routers, QUICK_ROUNDS if "--quick" in sys.argv else ROUNDS)
    p50 = {name: round(float(np.median(taken)), 3) for name, taken in times.items()}
    others = [name for name in routers if name != "plain"]
    added = {name: round(p50[name] - p50["plain"], 3) for name in others}
    paired = {name: round(float(np.median(times[name] - times["plain"])), 3) for name in others}
    if "--json" in sys.argv:
        print(json.dumps({"p50_ms": p50, "added_ms": added, "added_paired_ms": paired}))
        return
    for name, value in p50.items():
        more = f"  +{added[name]:.3f} (paired +{paired[name]:.3f})" if name in added else ""
        print(f"{name:38} p50 {value:.3f} ms{more}")


def measured(routers: dict[str, Router], rounds: int) -> dict[str, NDArray[np.float64]]:
    """Return the milliseconds of each decision, shaped (rounds x prompts,), for each router."""
    names = list(routers)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + WARM_UP):
        turn = number % len(names)
        for prompt in PROMPTS:
            asked = request(prompt)
            for name in names[turn:] + names[:turn]:
                started = time.thread_time()
                routers[name].route(asked)
                times[name].append((time.thread_time() - started) * 1000)
    return {name: np.array(taken[WARM_UP * len(PROMPTS) :]) for name, taken in times.items()}


if __name__ == "__main__":
    main()
