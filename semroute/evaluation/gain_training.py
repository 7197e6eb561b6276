"""Learn gains from labelled prompts for `semroute train`, and write them beside the route files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from msgspec.structs import replace

from semroute.bases import Frozen
from semroute.config.schema.models import Model
from semroute.config.schema.policies import Policy
from semroute.errors import RequestError
from semroute.evaluation.gain_fit import Fitted, Labels, fit
from semroute.evaluation.jsonl import read_lines
from semroute.evaluation.strong_share import SHARES, share_errors
from semroute.router import Router
from semroute.routing.ask import find_ask
from semroute.routing.learned_gain import behind_best, picked, threshold_for_share
from semroute.routing.pricing import estimate, estimate_text_tokens
from semroute.semantic.gain_file import FILE, save_gain

MIN_LABELS = 50
BATCH = 64

Quality = Annotated[float, Meta(ge=0, le=1)]


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of a label file: how good each model's answer to a prompt was, or which of two was better."""

    prompt: Annotated[str, Meta(min_length=1)]
    quality: dict[str, Quality] = {}
    """By model id, the quality of its answer."""
    winner: str | None = None
    """Instead of `quality`: the model whose answer was preferred."""
    loser: str | None = None
    route: str | None = None
    """The route of the prompt. None: the one that the router finds likeliest."""
    category: str | None = None
    """Another word for `route`."""
    cost: dict[str, float] = {}
    """USD that each answer cost. It only shows which model is the cheapest."""


class TrainingReport(Frozen, frozen=True, kw_only=True):
    """What `semroute train` reports."""

    file: str | None
    """The file that was written. None: nothing was written, because no model passed."""
    n: int
    """How many labels."""
    models: tuple[str, ...]
    """The cheapest first: the one that the others are compared with."""
    mean_quality: dict[str, float]
    correlation: dict[str, float]
    """By model, the correlation of predicted and true gain on prompts that the fit had not seen."""
    needed: dict[str, float]
    """By model, the correlation that chance alone reaches once in a hundred times."""
    learnable: bool
    """Whether any correlation is above what chance reaches. If none is, nothing is written."""
    shares: dict[str, float]
    """The share of the strongest model's quality that is kept, by the share of prompts that do not go to the
    cheapest."""
    share_errors: dict[str, float]
    """How far a policy's real share is expected to be from its `strong_share`, by that share. 0 to 1."""


def read_labels(path: Path, known: Mapping[str, Model], least: int = MIN_LABELS) -> list[Label]:
    """Read a label file with a JSON object on each line. Raises `RequestError`, which names the line at fault.

    `least`: how many labels there must be.
    """
    expected = '{"prompt": …, "quality": {model: 0 to 1}} or {"prompt": …, "winner": model, "loser": model}'
    labels = []
    for number, label in read_lines(path, Label, expected):
        _check_label(f"{path}:{number}", label, known)
        labels.append(label)
    if len(labels) < least:
        raise RequestError(f"{path}: got {len(labels)} labels, expected at least {least}")
    models = {model for label in labels for model in qualities(label)}
    if len(models) < 2:
        raise RequestError(f"{path}: got answers of {', '.join(models)} alone, expected those of two models or more")
    cheapest, *others = by_cost(labels, known)
    for model in others:
        if not any({cheapest, model} <= qualities(label).keys() for label in labels):
            message = f"got no label that compares {model} with {cheapest}, the cheapest model, expected some"
            raise RequestError(f"{path}: {message}")
    return labels


def _check_label(where: str, label: Label, known: Mapping[str, Model]) -> None:
    preferred = label.winner is not None and label.loser is not None
    if bool(label.quality) == preferred or (label.winner is None) != (label.loser is None):
        raise RequestError(f"{where}: expected either `quality`, or `winner` and `loser`")
    for model in qualities(label):
        if model not in known:
            raise RequestError(f"{where}: got model {model!r}, expected one of {', '.join(known)}")
        if group := known[model].group:
            raise RequestError(f"{where}: got the deployment {model!r}, expected its model, {group!r}")
    if preferred and label.winner == label.loser:
        raise RequestError(f"{where}: got {label.winner!r} as `winner` and as `loser`, expected two models")


def qualities(label: Label) -> dict[str, float]:
    """Return each model's quality. A preference counts as 1 and 0."""
    return label.quality or {str(label.winner): 1.0, str(label.loser): 0.0}


def train(
    router: Router, labels: Sequence[Label], folder: Path, progress: Callable[[int, int], None] | None = None
) -> TrainingReport:
    """Fit, and write `difficulty.npz` into the routes folder if there was something to learn.

    `progress` gets the number of prompts that are embedded.
    """
    embedded = _labels(router, labels, progress)
    fitted = fit(embedded, router.embedder.fingerprint)
    if not fitted.gain.trustworthy:
        return report(fitted, len(labels), None)
    path = folder / FILE
    gain = replace(fitted.gain, share_errors=share_errors(embedded))
    save_gain(path, gain)
    return report(replace(fitted, gain=gain), len(labels), str(path))


def report(fitted: Fitted, n: int, file: str | None) -> TrainingReport:
    """Report what was learned, in figures."""
    gain = fitted.gain
    means = np.nanmean(gain.calibration.quality, axis=0)
    return TrainingReport(
        file=file,
        n=n,
        models=gain.models,
        mean_quality=dict(zip(gain.models, (round(float(mean), 4) for mean in means), strict=True)),
        correlation={model: round(value, 4) for model, value in fitted.correlations.items()},
        needed={model: round(value, 4) for model, value in fitted.noise.items()},
        learnable=gain.trustworthy,
        shares=_shares(fitted),
        share_errors=gain.share_errors,
    )


def _shares(fitted: Fitted) -> dict[str, float]:
    """Return the kept share of the best model's quality at several shares, on prompts that the fit had not seen."""
    calibration = fitted.gain.calibration
    judged = ~np.isnan(calibration.quality).any(axis=1)
    quality, predicted = calibration.quality[judged], calibration.predicted[judged]
    if not len(quality):
        return {}
    best, behind = quality.mean(axis=0).max(), behind_best(predicted)
    kept = {}
    for share in SHARES:
        chosen = picked(behind, threshold_for_share(behind[:, 0], share))
        routed = quality[np.arange(len(quality)), chosen].mean()
        kept[f"{share:g}"] = round(float(routed / best), 4) if best else 0.0
    return kept


def _labels(router: Router, labels: Sequence[Label], progress: Callable[[int, int], None] | None) -> Labels:
    models = by_cost(labels, router.config.models)
    quality = np.full((len(labels), len(models)), np.nan, dtype=np.float32)
    for row, label in enumerate(labels):
        for model, value in qualities(label).items():
            quality[row, models.index(model)] = value
    asked = [find_ask(label.prompt).matched[0] for label in labels]
    vectors = np.empty((len(labels), router.embedder.dim), dtype=np.float32)
    for start in range(0, len(labels), BATCH):
        batch = asked[start : start + BATCH]
        vectors[start : start + len(batch)] = router.embedder.embed(batch)
        if progress is not None:
            progress(start + len(batch), len(labels))
    routes: list[str | None] = [label.route or label.category for label in labels]
    unrouted = [row for row, route in enumerate(routes) if route is None]
    for row, match in zip(unrouted, router.match([asked[row] for row in unrouted]), strict=True):
        routes[row] = match.candidates[0].route if match.candidates else None
    return Labels(
        texts=tuple(asked),
        vectors=vectors,
        quality=quality,
        routes=tuple(routes),
        models=models,
    )


def by_cost(labels: Sequence[Label], known: Mapping[str, Model]) -> tuple[str, ...]:
    """Sort the models of the labels, the cheapest first: by the cost of their answers if known, or else by price."""
    told: dict[str, list[float]] = {}
    for label in labels:
        for model, cost in label.cost.items():
            told.setdefault(model, []).append(cost)
    models = sorted({model for label in labels for model in qualities(label)})
    tokens = round(sum(estimate_text_tokens(label.prompt) for label in labels) / len(labels))

    def mean_cost(model: str) -> float:
        if model in told:
            return sum(told[model]) / len(told[model])
        return float(estimate(known[model], Policy(), tokens, None).cost_usd)

    return tuple(sorted(models, key=mean_cost))
