"""Measure the quality of decisions on CLINC150 (Larson et al. 2019), beside semantic-router on the same vectors.

    python bench/intent.py               # some minutes
    python bench/intent.py --quick       # below one: 5 and 10 utterances a route, every fifth test row
    python bench/intent.py --json
    python bench/intent.py --split val   # choose settings on this split; only report figures of the test split

The data lie in `$SEMROUTE_BENCH_DATA`, or in `../shared/data` beside the repository if that is not set. The files are
`intent/clinc150.<split>.jsonl`, with a `{"text": …, "route": name or null}` on each line. semantic-router is measured
if it is installed: `pip install .[bench]`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from semroute import Router
from semroute.config.config import Config
from semroute.config.schema.models import Model
from semroute.config.schema.providers import ProviderSettings
from semroute.config.schema.routes import Default, Route
from semroute.evaluation.decision_metrics import auroc, expected_calibration_error
from semroute.semantic.array_cache import Cache
from semroute.semantic.bundled_models import BUNDLED_DIR

ROOT = Path(__file__).resolve().parent.parent
SHOTS = {"5-shot": "train_5", "10-shot": "train_10", "full": "train"}
GOALS = {
    "5-shot": {"in_scope_accuracy": 0.880, "oos_auroc": 0.962},
    "10-shot": {
        "in_scope_accuracy": 0.914,
        "oos_auroc": 0.972,
        "oos_recall_at_95": 0.85,
        "ece": 0.05,
        "false_abstain": 0.05,
    },
    "full": {"in_scope_accuracy": 0.963, "oos_auroc": 0.984, "oos_recall_at_95": 0.93},
}
PEER = "semantic-router"
NAME_IN_FASTEMBED = "semroute/bundled"

Figures = dict[str, float | None]
Texts = Sequence[str]
Done = Callable[[int, int], None]
"""A function that hears about progress: how much is done, and how much there is to do."""


class Rows(NamedTuple):
    """The rows of a split."""

    texts: list[str]
    routes: list[str | None]
    """The route of each row. None means out of scope."""


class Answers(NamedTuple):
    """A router's answers to the rows of a split."""

    best: list[str | None]
    """The best route, whatever its threshold."""
    confidence: NDArray[np.float64]
    """The probability that the best route is right."""
    in_scope: NDArray[np.float64]
    """The score that separates in scope from out of scope. A higher score means more likely in scope."""
    taken: NDArray[np.bool_] | None
    """Whether the best route was taken. None means that the router has no threshold."""


def data_folder() -> Path:
    """Return the folder of the data."""
    return Path(os.environ.get("SEMROUTE_BENCH_DATA") or ROOT.parent / "shared" / "data")


def read(name: str, every: int = 1) -> Rows:
    """Read a split. With `every`, keep only one row out of that many."""
    path = data_folder() / "intent" / f"clinc150.{name}.jsonl"
    if not path.is_file():
        raise SystemExit(f"{path}: no such file; set SEMROUTE_BENCH_DATA to the folder that holds intent/{path.name}")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()][::every]
    return Rows([row["text"] for row in rows], [row["route"] for row in rows])


def by_route(rows: Rows) -> dict[str, tuple[str, ...]]:
    """Return the utterances of each route."""
    routes: dict[str, list[str]] = {}
    for text, route in zip(rows.texts, rows.routes, strict=True):
        routes.setdefault(str(route), []).append(text)
    return {route: tuple(texts) for route, texts in routes.items()}


def configure(routes: dict[str, tuple[str, ...]]) -> Config:
    """Return the configuration of route files with these utterances and no settings for matching."""
    return Config(
        providers={"local": ProviderSettings(id="local", dialect="echo")},
        models={"echo": Model(id="echo", provider="local", name="echo")},
        default=Default(models=("echo",)),
        routes={name: Route(name=name, utterances=texts, models=("echo",)) for name, texts in routes.items()},
    )


def ask(router: Router, texts: Texts, told: Done) -> Answers:
    """Match each text alone, as the service does."""
    best, confidence, in_scope, taken = [], [], [], []
    for number, text in enumerate(texts, start=1):
        (match,) = router.match([text])
        choice = router.choose_semantic(match)
        best.append(match.candidates[0].route)
        confidence.append(match.candidates[0].confidence)
        in_scope.append(match.in_scope)
        taken.append(choice.route is not None)
        told(number, len(texts))
    return Answers(list(best), np.array(confidence), np.array(in_scope), np.array(taken))


def open_fastembed(threads: int | None = 1) -> TextEmbedding:
    """Load the bundled model through fastembed. semroute itself runs this model without fastembed."""
    if not any(known["model"] == NAME_IN_FASTEMBED for known in TextEmbedding.list_supported_models()):
        TextEmbedding.add_custom_model(
            NAME_IN_FASTEMBED,
            PoolingType.MEAN,
            normalization=True,
            sources=ModelSource(hf="sentence-transformers/all-MiniLM-L6-v2"),  # fastembed wants one; never asked
            dim=384,
            model_file="model.onnx",
        )
    where = str(BUNDLED_DIR)
    return TextEmbedding(NAME_IN_FASTEMBED, cache_dir=where, threads=threads, specific_model_path=where)


def open_peer(routes: dict[str, tuple[str, ...]], loaded: TextEmbedding) -> Callable[[str], Any]:
    """Build semantic-router with its defaults, and with an encoder that fastembed has loaded."""
    from semantic_router import IndexedRouter
    from semantic_router import Route as PeerRoute
    from semantic_router.encoders import FastEmbedEncoder

    class Encoder(FastEmbedEncoder):  # type: ignore[misc]  # without the package, the base class has no type
        def _initialize_client(self) -> TextEmbedding:
            return loaded

    peers = [PeerRoute(name=name, utterances=list(texts)) for name, texts in routes.items()]
    router: Callable[[str], Any] = IndexedRouter(Encoder(name="bundled"), peers)
    return router


def ask_peer(routes: dict[str, tuple[str, ...]], texts: Texts, told: Done) -> Answers:
    """Ask semantic-router about each text. Its confidence is the mean of five similarities."""
    router = open_peer(routes, open_fastembed())
    best, confidence = [], []
    for number, text in enumerate(texts, start=1):
        choice = router(text)
        best.append(choice.name)
        confidence.append(choice.confidence or 0.0)
        told(number, len(texts))
    return Answers(best, np.array(confidence), np.array(confidence), None)


def measure(rows: Rows, answers: Answers) -> Figures:
    """Return the figures of one router."""
    inside = np.array([route is not None for route in rows.routes])
    right = np.array([want is not None and want == got for want, got in zip(rows.routes, answers.best, strict=True)])
    accepted = np.quantile(answers.in_scope[inside], 0.05)
    confidence = np.clip(answers.confidence, 0, 1)
    return {
        "in_scope_accuracy": float(right[inside].mean()),
        "oos_auroc": auroc(answers.in_scope[inside], answers.in_scope[~inside]),
        "oos_recall_at_95": float((answers.in_scope[~inside] < accepted).mean()),
        "ece": expected_calibration_error(confidence, right),
        "false_abstain": None if answers.taken is None else float((~answers.taken[inside]).mean()),
    }


def run(shots: Sequence[str], rows: Rows, peer: bool, console: Console) -> dict[str, dict[str, Figures]]:
    """Train, ask and measure, and show progress."""
    ours: dict[str, Figures] = {}
    theirs: dict[str, Figures] = {}
    with Progress(console=console, transient=True) as progress:
        for shot in shots:
            routes = by_route(read(SHOTS[shot]))
            router, trained_s, again_s = build(routes, _bar(progress, f"{shot}: training"))
            utterances = sum(map(len, routes.values()))
            console.print(
                f"{shot}: {utterances} utterances, {len(routes)} routes, ready in {trained_s:.1f} s, "
                f"from the cache in {again_s:.1f} s"
            )
            ours[shot] = measure(rows, ask(router, rows.texts, _bar(progress, f"{shot}: semroute")))
            if peer:
                answers = ask_peer(routes, rows.texts, _bar(progress, f"{shot}: {PEER}"))
                theirs[shot] = measure(rows, answers)
    return {"clinc150": ours, "peer": theirs}


def build(routes: dict[str, tuple[str, ...]], told: Done) -> tuple[Router, float, float]:
    """Train a router, and start a second one from its cache.

    Return the second router, the seconds of the training, and the seconds of the second start.
    """
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        Router.build(configure(routes), cache=Cache(Path(folder)), progress=told)
        trained = time.perf_counter()
        router = Router.build(configure(routes), cache=Cache(Path(folder)))
        return router, trained - started, time.perf_counter() - trained


def _bar(progress: Progress, name: str) -> Done:
    task = progress.add_task(name)
    return lambda done, total: progress.update(task, completed=done, total=total)


def show(figures: dict[str, dict[str, Figures]], console: Console) -> None:
    """Print a table with the goals."""
    table = Table("CLINC150", "figure", "goal", "semroute", f"{PEER} 1.1.1")
    for shot, ours in figures["clinc150"].items():
        for name, value in ours.items():
            goal = GOALS[shot].get(name)
            sign = {"ece": "≤ ", "false_abstain": "± .02 of "}.get(name, "≥ ")
            told = "" if goal is None else f"{sign}{goal:.3f}"
            table.add_row(shot, name, told, _figure(value), _figure(figures["peer"].get(shot, {}).get(name)))
        table.add_section()
    console.print(table)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def main() -> None:
    """Read the arguments, run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="below a minute: less data, the same figures")
    parser.add_argument("--json", action="store_true", help="print only the figures, as JSON")
    parser.add_argument("--split", choices=("test", "val"), default="test", help="the split whose rows are asked")
    arguments = parser.parse_args()
    console = Console(stderr=arguments.json)
    peer = importlib.util.find_spec("semantic_router") is not None
    if not peer:
        console.print(f"{PEER} is not installed, so only semroute is measured (pip install .[bench])")
    shots = ["5-shot", "10-shot"] if arguments.quick else list(SHOTS)
    figures = run(shots, read(arguments.split, every=5 if arguments.quick else 1), peer, console)
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures, console)


if __name__ == "__main__":
    main()
