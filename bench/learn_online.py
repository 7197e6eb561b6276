"""Measure `policy.learn` on the public answers of two models: what it loses until it knows which model to use.

    python bench/learn_online.py               # about ten minutes
    python bench/learn_online.py --quick       # one seed, 15,000 requests; figures differ
    python bench/learn_online.py --json

The data are RouteLLM's grades of GPT-4-1106 (strong) and Mixtral-8x7B (weak) on MMLU and GSM8K, 15,361 prompts. They
lie in `$SEMROUTE_BENCH_DATA/quality` (default `../shared/data`); bench/README.md says more. A stream of requests is
drawn from them, with replacement. Each request goes to one model, and one request in ten gets the public grade of that
model's answer as feedback. The routes are the four fields of MMLU and GSM8K (`fields`), or all 58 subjects
(`subjects`). 5,000 requests make a day. The service reads grades every second; here it happens every 200 requests.

The strategies:

- thompson: `policy: {select: best, learn: {equal_within: W}}`, decided by the Router's own code;
- greedy: the same, but no other model than the best known one is ever tried;
- epsilon-greedy: the same as greedy, but one request in ten goes to a model drawn at random;
- strong, weak: always the same model.

The first three begin with the same stated qualities: those that the makers of the models published for MMLU (.864 and
.706), or .75 for both (`no idea`). The published ones are wrong for these data (.810 and .677).

The loss of a request is in points of quality. `equal_within: W` says that W points of quality are worth the price of
the strong model. So the better model of a route is the one with the higher quality after W is taken from the strong
one, and the loss (regret) is how much worse the chosen model is. The best fixed policy uses the better model of each
route, known in hindsight from all grades; its loss is 0. Two further columns compare costs. `cost` is what a strategy
spends, as a share of what `strong` spends. `at equal quality` is the same, as a share of what it costs to reach the
quality of the strategy by sending requests drawn at random to the strong model, and the others to the weak one.

The last table is about a model that gets worse: from the middle of the stream on, the strong model answers 30% fewer
prompts rightly. The loss is that of the second half.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.intent import data_folder
from semroute.config.schema.models import Model
from semroute.config.schema.policies import Learn, Policy
from semroute.decision import Belief, Signals
from semroute.messages import ChatRequest, Message, Text
from semroute.routing.facts import read_facts
from semroute.routing.policy import Terms, make_plan
from semroute.routing.posterior import Grades, Surplus, belief_of, shift_of, surplus_of

STRONG, WEAK = "gpt-4-1106-preview", "mixtral-8x7b"
STATED = {"published": {WEAK: 0.706, STRONG: 0.864}, "no idea": {WEAK: 0.75, STRONG: 0.75}}
MODELS = (
    Model(id=WEAK, provider="p", name=WEAK, input_price=Decimal("0.6"), output_price=Decimal("0.6"), quality=0.706),
    Model(id=STRONG, provider="p", name=STRONG, input_price=Decimal(10), output_price=Decimal(30), quality=0.864),
)
REGISTRY = {model.id: model for model in MODELS}
LABELLED, EPSILON = 0.1, 0.1
BLOCK, DAY = 200, 5000
MARGINS = (0.02, 0.05, 0.1, 0.15)
WORSE = 0.7
GOAL = 0.5
FACTS = read_facts(ChatRequest(id="x", messages=(Message(role="user", parts=(Text(text="a question " * 40),)),)))
FIELDS = {
    "humanities": "formal_logic high_school_european_history high_school_us_history high_school_world_history "
    "international_law jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy prehistory "
    "professional_law world_religions",
    "social sciences": "econometrics high_school_geography high_school_government_and_politics "
    "high_school_macroeconomics high_school_microeconomics high_school_psychology human_sexuality "
    "professional_psychology public_relations security_studies sociology us_foreign_policy",
    "other": "business_ethics clinical_knowledge college_medicine global_facts human_aging management marketing "
    "medical_genetics miscellaneous nutrition professional_accounting professional_medicine virology",
}
"""The fields of MMLU by its authors (github.com/hendrycks/test, categories.py). All other subjects are STEM."""

Doubles = NDArray[np.float64]
Strong = Callable[[dict[str, Belief]], float]
"""Returns with what probability a request goes to the strong model, for the beliefs on its route."""


class Data(NamedTuple):
    """The graded prompts."""

    routes: list[str]
    route: NDArray[np.int64]
    """The route of each prompt: (n,)."""
    quality: Doubles
    """The grades of the weak and the strong model: (n, 2)."""


class Loss(NamedTuple):
    """What one run did."""

    regret: Doubles
    """The loss of each block of requests, in points of quality a request."""
    quality: float
    strong: float
    """The share of requests that went to the strong model."""


def read(by: str) -> Data:
    """Read the grades."""
    field_of = {subject: field for field, subjects in FIELDS.items() for subject in subjects.split()}
    names, quality = [], []
    for name in ("mmlu", "gsm8k"):
        with gzip.open(data_folder() / "quality" / f"routellm_{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            for row in map(json.loads, file):
                subject = row["category"]
                field = subject if subject == "gsm8k" else field_of.get(subject, "STEM")
                names.append(field if by == "fields" else subject)
                quality.append([row["quality"][model] for model in (WEAK, STRONG)])
    routes = sorted(set(names))
    return Data(routes, np.array([routes.index(name) for name in names]), np.array(quality, dtype=np.float64))


def by_router(learn: Learn, explore: bool) -> Strong:
    """Let the Router's own code choose."""
    policy = Policy(select="best", learn=learn)

    @functools.lru_cache(maxsize=1000)
    def chosen(weak: Belief, better: Belief) -> float:
        signals = Signals(beliefs={WEAK: weak, STRONG: better}, explore_usd=1e9 if explore else None)
        plan = make_plan(MODELS, REGISTRY, Terms(policy=policy, facts=FACTS, signals=signals))
        chance = 1.0 if plan.propensity is None else plan.propensity
        return chance if plan.models[0].id == STRONG else 1 - chance

    return lambda beliefs: chosen(beliefs[WEAK], beliefs[STRONG])


def strategies(learn: Learn) -> dict[str, Strong]:
    """Return the strategies by their names."""
    greedy = by_router(learn, explore=False)
    return {
        "thompson": by_router(learn, explore=True),
        "greedy": greedy,
        "epsilon-greedy": lambda beliefs: (1 - EPSILON) * greedy(beliefs) + EPSILON / 2,
        "strong": lambda beliefs: 1.0,
        "weak": lambda beliefs: 0.0,
    }


def run(
    data: Data, strong: Strong, learn: Learn, requests: int, seed: int, stated: str, *, worse: bool = False
) -> Loss:
    """Send a stream of requests, and learn from the grades of some. `stated`: which qualities it begins with."""
    random = np.random.default_rng(seed)
    size, price = len(data.routes), np.array([0.0, learn.equal_within])
    mean = np.array([data.quality[data.route == place].mean(axis=0) for place in range(size)])
    days = requests // DAY + 1
    number, score = np.zeros((size, 2, days)), np.zeros((size, 2, days))
    regrets, right, sent = [], 0.0, 0
    for first in range(0, requests, BLOCK):
        today, fallen = first // DAY, worse and first >= requests // 2
        kept = np.array([1.0, WORSE if fallen else 1.0])
        worth = mean * kept - price
        chances = np.array([strong(each) for each in _beliefs(stated, learn, number, score, today)])
        rows = random.integers(0, len(data.route), BLOCK)
        route = data.route[rows]
        chosen = (random.random(BLOCK) < chances[route]).astype(int)
        grade = data.quality[rows, chosen] * (random.random(BLOCK) < kept[chosen])
        regrets.append((worth[route].max(axis=1) - worth[route, chosen]).mean())
        right, sent = right + grade.sum(), sent + chosen.sum()
        labelled = random.random(BLOCK) < LABELLED
        for place, model, said in zip(route[labelled], chosen[labelled], grade[labelled], strict=True):
            number[place, model, today] += 1
            score[place, model, today] += said
    return Loss(np.array(regrets), right / requests, sent / requests)


def _beliefs(stated: str, learn: Learn, number: Doubles, score: Doubles, today: int) -> list[dict[str, Belief]]:
    """Return the beliefs on each route. `number`, `score`: (routes, models, days)."""
    found: list[dict[str, Belief]] = [{} for _ in number]
    for place, model in enumerate((WEAK, STRONG)):
        quality = STATED[stated][model]
        kept = 0.5 ** ((today - np.arange(number.shape[2])).clip(0) / learn.half_life_days)  # as if all were of today
        grades = [
            [Grades(today, weight, good)]
            for weight, good in zip(number[:, place] @ kept, score[:, place] @ kept, strict=True)
        ]
        here = [surplus_of(quality, learn, own, today) for own in grades]
        everywhere = Surplus(sum(each.number for each in here), sum(each.score for each in here))
        for route, own in enumerate(grades):
            shift = shift_of(everywhere, here[route], learn)
            found[route][model] = belief_of(quality + shift, learn, own, today)
    return found


def compare(data: Data, margin: float, stated: str, requests: int, seeds: int) -> dict[str, dict[str, float]]:
    """Run all strategies by turns, each with the same seeds, and return the means over the seeds."""
    learn = Learn(equal_within=margin)
    every = strategies(learn)
    lost: dict[str, list[Loss]] = {name: [] for name in every}
    for seed in range(seeds):
        for name, strong in every.items():
            lost[name].append(run(data, strong, learn, requests, seed, stated))
    weak, best = (float(np.mean([each.quality for each in lost[name]])) for name in ("weak", "strong"))
    prices = [float(model.input_price * 120 + model.output_price * 300) for model in MODELS]

    def cost(share: float) -> float:
        return (prices[0] * (1 - share) + prices[1] * share) / prices[1]

    found = {}
    for name, losses in lost.items():
        per_seed = [float(each.regret.mean()) for each in losses]
        quality, share = (float(np.mean([getattr(each, what) for each in losses])) for what in ("quality", "strong"))
        found[name] = {
            "regret": float(np.mean(per_seed)),
            "sd": float(np.std(per_seed)),
            "quality": quality,
            "strong_share": share,
            "cost": cost(share),
            "cost_at_equal_quality": cost(share) / cost(max(0.0, (quality - weak) / (best - weak))),
        }
    for name in found:
        for other in ("epsilon-greedy", "strong"):
            below = found[other]["regret"]
            found[name][f"regret_by_{other}"] = found[name]["regret"] / below if below > 1e-9 else float("nan")
    return found


def changed(data: Data, requests: int, seeds: int) -> dict[str, float]:
    """Return the loss in the second half after the strong model got worse, by what is forgotten."""
    found = {}
    for told, half_life in (("half-life 2 days", 2.0), ("half-life 30 days", 30.0), ("nothing forgotten", 3650.0)):
        learn = Learn(equal_within=0.02, half_life_days=half_life)
        for name in ("thompson", "greedy"):
            strong = strategies(learn)[name]
            runs = [run(data, strong, learn, requests, seed, "published", worse=True).regret for seed in range(seeds)]
            found[f"{name}, {told}"] = float(np.mean([regret[len(regret) // 2 :].mean() for regret in runs]))
    return found


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    console = Console(width=150)
    columns = (
        "regret a request",
        "± (seeds)",
        "to epsilon-greedy",
        "to strong",
        "quality",
        "to the strong",
        "cost",
        "at equal quality",
    )
    for name, table_of in result["tables"].items():
        table = Table(name, *columns, box=None, pad_edge=False)
        for strategy, row in table_of.items():
            ratios = (row["regret_by_epsilon-greedy"], row["regret_by_strong"])
            table.add_row(
                strategy,
                f"{row['regret']:.4f}",
                f"{row['sd']:.4f}",
                *("-" if np.isnan(ratio) else f"{ratio:.2f}" for ratio in ratios),
                f"{row['quality']:.3f}",
                f"{row['strong_share']:.2f}",
                f"{row['cost']:.2f}",
                f"{row['cost_at_equal_quality']:.2f}",
            )
        console.print(table)
        console.print()
    console.print("regret a request in the second half, after the strong model got 30% worse (fields):")
    for name, regret in result["worse"].items():
        console.print(f"  {name}: {regret:.4f}", highlight=False)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, 15,000 requests; figures differ")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    requests, seeds = (15_000, 1) if given.quick else (given.requests, given.seeds)
    tables = {}
    sets = [("fields", "published"), ("fields", "no idea"), ("subjects", "published")]
    todo = [(by, stated, margin) for by, stated in sets for margin in MARGINS]
    for by, stated, margin in track(todo, "streaming", console=Console(stderr=True), transient=True):
        tables[f"{by}, {stated}, within {margin:g}"] = compare(read(by), margin, stated, requests, seeds)
    worse = changed(read("fields"), requests, seeds)
    result = {"requests": requests, "seeds": seeds, "goal": GOAL, "tables": tables, "worse": worse}
    print(json.dumps(result, indent=2)) if given.json else show(result)


if __name__ == "__main__":
    main()
