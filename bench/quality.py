"""Measure cost-quality routing by RouteLLM's measures on RouteLLM's data (GPT-4-1106 against Mixtral-8x7B).

    python bench/quality.py [--quick] [--json] [--html FILE]

The data lie in `$SEMROUTE_BENCH_DATA/quality` (default `../shared/data`); bench/README.md says more. Every figure is
about prompts that the fit had not seen. Five folds give the main figures. Leave-one-category-out shows what carries
over to subjects without any label. The fit chooses the weight of the route priors by cross-validation within the other
folds.

GSM8K has 1,319 prompts, so its APGR moves by about .01 from one random split into folds to the next. Its figure is
therefore the mean of ten splits, seeds 0 to 9, with the standard deviation beside it. MMLU's figure comes from one
split, seed 0.

The measures are RouteLLM's (Ong et al. 2024; its evals/evaluate.py and evals/benchmarks.py). There are eleven
thresholds, at the deciles of the score. APGR is the area under the curve of accuracy over the share of strong calls,
where 0 is the weak model and 1 the strong one. CPT(x) is the share of strong calls that closes x of the gap between
both models, interpolated.

The rows of RouteLLM are those of tables 2 and 3 of its paper (arXiv 2406.18665v4). RouteLLM trained on other data than
we do: votes of the Chatbot Arena, plus some 1,500 labels of the validation split for MMLU, or the grades of a GPT-4
judge for GSM8K. We train only on the benchmark's own labels, those of the other folds. RouteLLM also leaves out test
prompts that resemble its training data. We count them all.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semroute.evaluation.gain_fit import Design, Labels, best_prior_weight, cross_fit, predict
from semroute.semantic.embedder import OnnxEmbedder

Doubles = NDArray[np.float64]
STRONG, WEAK = "gpt-4-1106-preview", "mixtral-8x7b"
SEED = 0
QUICK_ROWS, QUICK_SPLITS = 800, 2
QUICK = f"use {QUICK_ROWS} prompts of each, {QUICK_SPLITS} splits of GSM8K, no leave-one-category-out; figures differ"
SPLITS = 10
# (router, CPT(50%), CPT(80%), APGR)
PUBLISHED = {
    "mmlu": [
        ("random", 0.5007, 0.7993, 0.500),
        ("RouteLLM BERT", 0.4130, 0.7220, 0.572),
        ("RouteLLM matrix factorisation", 0.3546, 0.7140, 0.597),
        ("RouteLLM causal LLM", 0.3549, 0.7031, 0.600),
        ("RouteLLM SW ranking", 0.3540, 0.7155, 0.603),
    ],
    "gsm8k": [
        ("random", 0.5000, 0.8008, 0.497),
        ("RouteLLM BERT", 0.4476, 0.7909, 0.531),
        ("RouteLLM matrix factorisation", 0.3882, 0.7262, 0.565),
        ("RouteLLM SW ranking", 0.4121, 0.7220, 0.568),
        ("RouteLLM causal LLM", 0.3364, 0.6326, 0.622),
    ],
}
PUBLISHED["mmlu_1500"] = PUBLISHED["mmlu"]


def read(name: str, rows: int | None) -> Labels:
    """Read the labels of one benchmark, and embed its prompts."""
    folder = Path(os.environ.get("SEMROUTE_BENCH_DATA", Path(__file__).parents[2] / "shared" / "data"))
    with gzip.open(folder / "quality" / f"routellm_{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        entries = [json.loads(line) for line in file]
    if rows is not None and rows < len(entries):
        entries = [entries[row] for row in np.random.default_rng(SEED).permutation(len(entries))[:rows]]
    texts = tuple(entry["prompt"] for entry in entries)
    quality = [[entry["quality"][model] for model in (WEAK, STRONG)] for entry in entries]
    return Labels(
        texts=texts,
        vectors=embedded(texts),
        quality=np.array(quality, dtype=np.float32),
        routes=tuple(entry["category"] for entry in entries),
        models=(WEAK, STRONG),
    )


def embedded(texts: tuple[str, ...]) -> NDArray[np.float32]:
    """Return the prompts' vectors. They are kept in the temporary folder, because embedding takes most of the time."""
    embedder = OnnxEmbedder(threads=1)
    key = hashlib.sha256("\0".join((embedder.fingerprint, *texts)).encode()).hexdigest()[:16]
    cache = Path(tempfile.gettempdir()) / f"semroute-bench-{key}.npy"
    if not cache.exists():
        vectors = embedder.embed(texts)
        with tempfile.NamedTemporaryFile(dir=cache.parent, delete=False) as file:
            np.save(file, vectors)
        Path(file.name).replace(cache)
    loaded: NDArray[np.float32] = np.load(cache, allow_pickle=False)
    return loaded


def scores(
    labels: Labels, folds: list[NDArray[np.int64]], limit: int | None = None, *, prior_weight: float | None = None
) -> Doubles:
    """Return the predicted gain of each prompt, by a fit on at most `limit` labels of the other folds.

    If `prior_weight` is None, the weight of the route priors is cross-fitted on those labels.
    """
    target = gain(labels)
    said = np.zeros(len(target))
    random = np.random.default_rng(SEED)
    everything = np.arange(len(target))
    for fold in folds:
        seen = np.setdiff1d(everything, fold)
        if limit is not None:
            seen = np.sort(random.choice(seen, min(limit, len(seen)), replace=False))
        design = Design(labels, seen)
        weight = prior_weight
        if weight is None and len(set(labels.routes)) == 1:
            weight = 0.0  # with a single route, its prior says no more than the mean of all prompts
        if weight is None:
            weight = best_prior_weight(cross_fit(labels, design, target, seen, SEED), target[seen])
        said[fold] = predict(labels, design, target, seen, fold).mix(weight)
    return said


def gain(labels: Labels) -> Doubles:
    """Return the quality of the strong model minus that of the weak one."""
    return (labels.quality[:, 1] - labels.quality[:, 0]).astype(np.float64)


def five_folds(labels: Labels, seed: int = SEED) -> list[NDArray[np.int64]]:
    """Split the rows into five random parts."""
    return np.array_split(np.random.default_rng(seed).permutation(len(labels.texts)), 5)


def categories(labels: Labels) -> list[NDArray[np.int64]]:
    """Split the rows into a part for each category."""
    names = np.array([str(route) for route in labels.routes])
    return [np.flatnonzero(names == name) for name in sorted(set(names))]


def curve(labels: Labels, score: Doubles) -> tuple[Doubles, Doubles]:
    """Return the share of strong calls and the accuracy at eleven thresholds, in the order of the shares."""
    weak, strong = labels.quality[:, 0].astype(np.float64), labels.quality[:, 1].astype(np.float64)
    shares, accuracies = [], []
    for number, threshold in enumerate(np.quantile(score, np.linspace(0, 1, 11))):
        chosen = score >= threshold if number < 10 else score > threshold
        shares.append(chosen.mean())
        accuracies.append(np.where(chosen, strong, weak).mean())
    order = np.argsort(shares, kind="stable")
    return np.array(shares)[order], np.array(accuracies)[order]


def measures(labels: Labels, score: Doubles) -> dict[str, float]:
    """Return APGR, CPT(50%) and CPT(80%)."""
    shares, accuracies = curve(labels, score)
    weak, strong = float(labels.quality[:, 0].mean()), float(labels.quality[:, 1].mean())
    width = float(shares[-1] - shares[0])
    area = float(np.trapezoid(accuracies, shares))
    points = {f"cpt{x}": float(np.interp(weak + x / 100 * (strong - weak), accuracies, shares)) for x in (50, 80)}
    return {"apgr": round((area - weak * width) / ((strong - weak) * width), 4)} | {
        name: round(value, 4) for name, value in points.items()
    }


def repeated(labels: Labels, splits: int) -> dict[str, float]:
    """Return the mean of each measure over several random splits, and the standard deviation of APGR."""
    results = [measures(labels, scores(labels, five_folds(labels, SEED + number))) for number in range(splits)]
    mean = {name: round(float(np.mean([result[name] for result in results])), 4) for name in results[0]}
    return mean | {"apgr_sd": round(float(np.std([result["apgr"] for result in results])), 4), "splits": splits}


def html(curves: dict[str, tuple[Labels, Doubles]]) -> str:
    """Draw the cost-quality curves, as one page that needs no other file."""
    head = "<!doctype html><meta charset=utf-8><title>Cost and quality</title><body style='font:15px sans-serif'>"
    return head + "".join(_figure(name, labels, score) for name, (labels, score) in curves.items())


def _figure(name: str, labels: Labels, score: Doubles) -> str:
    shares, accuracies = curve(labels, score)
    weak, strong = float(labels.quality[:, 0].mean()), float(labels.quality[:, 1].mean())

    def points(xs: Doubles, ys: Doubles) -> list[tuple[str, str]]:
        heights = 330 - (ys - weak) / (strong - weak) * 280
        return [(f"{60 + x * 480:.1f}", f"{y:.1f}") for x, y in zip(xs, heights, strict=True)]

    def line(places: list[tuple[str, str]], style: str) -> str:
        return f"<polyline points='{' '.join(map(','.join, places))}' fill='none' {style}/>"

    routed = points(shares, accuracies)
    dots = "".join(f"<circle cx='{x}' cy='{y}' r='3'/>" for x, y in routed)
    ticks = "".join(f"<text x='{60 + t * 48}' y='352' text-anchor='middle'>{t * 10}%</text>" for t in range(0, 11, 2))
    chance = line(points(np.array([0.0, 1.0]), np.array([weak, strong])), "stroke='#aaa' stroke-dasharray='5'")
    drawn = line(routed, "stroke='#06c' stroke-width='2'")
    return (
        f"<h2>{name}: accuracy by share of {STRONG} calls</h2><svg viewBox='0 0 600 380' width='760' font-size='12'>"
        f"<path d='M60 50V330H540' fill='none' stroke='#888'/>{ticks}"
        f"<text x='54' y='334' text-anchor='end'>{weak:.1%}</text>"
        f"<text x='54' y='54' text-anchor='end'>{strong:.1%}</text>"
        f"{chance}{drawn}<g fill='#06c'>{dots}</g>"
        f"<text x='300' y='374' text-anchor='middle'>share of strong calls (dashed: chosen at random)</text></svg>"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=QUICK)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--html", type=Path, help="write the curves to this file")
    options = parser.parse_args()
    started = time.perf_counter()
    rows = QUICK_ROWS if options.quick else None
    mmlu, gsm8k = read("mmlu", rows), read("gsm8k", rows)
    mmlu_score = scores(mmlu, five_folds(mmlu))
    results: dict[str, dict[str, float]] = {
        "mmlu": measures(mmlu, mmlu_score),
        "mmlu_1500": measures(mmlu, scores(mmlu, five_folds(mmlu), 1500)),
        "gsm8k": repeated(gsm8k, QUICK_SPLITS if options.quick else SPLITS),
    }
    if not options.quick:
        results["mmlu_leave_one_category_out"] = measures(mmlu, scores(mmlu, categories(mmlu), prior_weight=1.0))
    if options.html is not None:
        gsm8k_score = scores(gsm8k, five_folds(gsm8k))
        options.html.write_text(html({"MMLU": (mmlu, mmlu_score), "GSM8K": (gsm8k, gsm8k_score)}), "utf-8")
    if options.json:
        counts = {"mmlu": len(mmlu.texts), "gsm8k": len(gsm8k.texts)}
        print(json.dumps(results | {"n": counts, "quick": options.quick}, indent=2))
    else:
        show(results)
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)


def show(results: dict[str, dict[str, float]]) -> None:
    """Print our figures, below the published ones."""
    for name, result in results.items():
        print(f"\n{name:32} {'CPT(50%)':>9} {'CPT(80%)':>9} {'APGR':>6}")
        for row in PUBLISHED.get(name, ()):
            print(f"  {row[0]:30} {row[1]:>9.1%} {row[2]:>9.1%} {row[3]:>6.3f}")
        spread = f" ± {result['apgr_sd']:.3f} over {result['splits']} splits" if "splits" in result else ""
        print(f"  {'semroute':30} {result['cpt50']:>9.1%} {result['cpt80']:>9.1%} {result['apgr']:>6.3f}{spread}")
    print("\nThe rows of RouteLLM come from its paper. Its routers were trained on other data than ours: see --help.")


if __name__ == "__main__":
    main()
