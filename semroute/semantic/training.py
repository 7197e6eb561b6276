"""Train what a router matches prompts with, or take it from the cache."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np

from semroute.config.config import Config
from semroute.cpus import usable_cores
from semroute.routing import scoring
from semroute.routing.scoring import Floats, Head, Ints
from semroute.semantic import background, calibration, crossfit, head, logistic_regression
from semroute.semantic.array_cache import Arrays, Cache
from semroute.semantic.embedder import Embedder, Features

Progress = Callable[[int, int], None]
"""Called with the work done and the work in all: texts to embed, then heads to fit."""

BATCH = 64
FIT_WORK = 40
"""The work of one fit counts as the number of texts divided by this."""
CODE = (scoring, background, calibration, crossfit, head, logistic_regression)
"""Modules whose change makes trained heads stale."""

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Trained:
    """The trained state of a router."""

    vectors: Floats
    """The vectors of the utterances, in order: float32 (n, dim), L2-normalised."""
    head: Head


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """All that training depends on."""

    names: tuple[str, ...]
    """The names of the routes."""
    utterances: tuple[tuple[str, ...], ...]
    """The utterances of each route, at least one."""
    negatives: tuple[str, ...]
    """Prompts that belong to no route."""
    target: float
    """The share of in-scope prompts that may abstain."""
    descriptions: tuple[str, ...] = ()
    """The descriptions of the routes, in their order. Empty: the route has none."""

    @classmethod
    def of(cls, config: Config) -> Task:
        """Return the task of a configuration."""
        return cls(
            names=tuple(config.routes),
            utterances=tuple(route.utterances for route in config.routes.values()),
            negatives=config.negatives,
            target=config.abstain.target_false_abstain,
            descriptions=tuple(route.description for route in config.routes.values()),
        )

    @property
    def owners(self) -> Ints:
        """The route of each utterance: int64 (n,)."""
        return np.repeat(np.arange(len(self.names)), [len(own) for own in self.utterances]).astype(np.int64)

    @property
    def calls(self) -> list[tuple[int, str]]:
        """Return the texts that say what a route is about, each with its route: all names, and descriptions if
        utterances are few.
        """
        names = [head.name_text(name) for name in self.names]
        described = enumerate(zip(self.descriptions, self.utterances, strict=False))
        told = [(route, text) for route, (text, own) in described if text.strip() and len(own) <= head.FEW]
        return [*enumerate(names), *told]

    def key(self, embedder: Embedder) -> str:
        """32 hexadecimal digits that change with everything a trained head depends on."""
        code = [Path(str(module.__file__)).read_bytes() for module in CODE]
        told = [embedder.fingerprint, self.names, self.utterances, self.negatives, self.target, self.descriptions]
        parts = [*code, background.digest(), msgspec.json.encode(told)]
        digests = [hashlib.sha256(part).digest() for part in parts]
        return hashlib.sha256(b"".join(digests)).hexdigest()[:32]


def prepare(
    task: Task,
    embedder: Embedder,
    cache: Cache | None = None,
    known: Mapping[str, Floats] | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Take the trained state of a task from the cache, or else train and fill the cache.

    `known`: vectors of texts that need not be embedded. Raises `EmbedderError`.
    """
    key = task.key(embedder) if cache else ""
    if cache:
        trained = _unpack(cache.read(key) or {}, len(task.owners), embedder.dim, len(task.names))
        if trained is not None:
            return trained
    started = time.monotonic()
    owners, calls = task.owners, task.calls
    utterances = [utterance for own in task.utterances for utterance in own]
    texts = [*utterances, *(text for _, text in calls), *task.negatives]
    fit_work = max(1, (len(texts) + background.HARD + background.SPREAD) // FIT_WORK)
    work = _Work(len(texts) + fit_work * head.fits(len(owners)), progress)
    material = _material(
        _featurize(texts, embedder, known or {}, work), task, background.open_background(embedder, cache), embedder
    )
    fitted = head.train(material, task.target, lambda: work.add(fit_work))
    work.finish()
    trained = Trained(material.texts.vectors[: len(owners)], fitted)
    if cache:
        cache.write(key, _pack(trained))
        logger.info(
            "%d utterances were learned from in %.1f s: the cache had nothing for these routes, this version of "
            "semroute and the embedder %s (%s)",
            len(owners),
            time.monotonic() - started,
            embedder.name,
            embedder.fingerprint,
        )
    return trained


class _Work:
    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._done, self._progress = total, 0, progress

    def add(self, amount: int) -> None:
        self._done = min(self._done + amount, self._total)
        if self._progress is not None:
            self._progress(self._done, self._total)

    def finish(self) -> None:
        self.add(self._total)


def _material(told: Features, task: Task, around: background.Background, embedder: Embedder) -> head.Material:
    """Join the texts of a task with the part of the background that concerns them."""
    owners, calls = task.owners, task.calls
    place = len(told.vectors) - len(task.negatives)
    chosen = background.choose(around, told.vectors[: len(owners)], owners)
    prompts = embedder.tokens([around.texts[row] for row in chosen.rows])
    vectors = np.vstack((told.vectors[:place], around.vectors[chosen.rows], told.vectors[place:]))
    return head.Material(
        Features(vectors, [*told.tokens[:place], *prompts, *told.tokens[place:]]),
        owners,
        np.array([route for route, _ in calls], np.int64),
        chosen.beside(around).with_negatives(told.vectors[place:]),
    )


def _featurize(texts: Sequence[str], embedder: Embedder, known: Mapping[str, Floats], work: _Work) -> Features:
    """Embed on all cores, each text once. Texts that share a call do not change a vector."""
    vectors = np.empty((len(texts), embedder.dim), np.float32)
    tokens: list[list[int]] = [[] for _ in texts]
    new = [row for row, text in enumerate(texts) if text not in known]
    old = [row for row, text in enumerate(texts) if text in known]
    for row, ids in zip(old, embedder.tokens([texts[row] for row in old]), strict=True):
        vectors[row], tokens[row] = known[texts[row]], ids
    work.add(len(old))
    batches = [new[start : start + BATCH] for start in range(0, len(new), BATCH)]
    with ThreadPoolExecutor(usable_cores()) as threads:
        featurized = threads.map(lambda rows: embedder.featurize([texts[row] for row in rows], passages=True), batches)
        for rows, features in zip(batches, featurized, strict=True):
            vectors[rows] = features.vectors
            for row, ids in zip(rows, features.tokens, strict=True):
                tokens[row] = ids
            work.add(len(rows))
    return Features(vectors, tokens)


def _pack(trained: Trained) -> Arrays:
    fields = {field.name: getattr(trained.head, field.name) for field in dataclasses.fields(Head)}
    return {"vectors": trained.vectors, **fields}


def _unpack(arrays: Arrays, utterances: int, dim: int, routes: int) -> Trained | None:
    """Return None if an array is missing or has another form."""
    expected = {
        "vectors": (np.float32, (utterances, dim)),
        "projection": (np.float32, (dim + 1, routes)),
        "word_weights": (np.float32, (scoring.LEXICAL_DIM, routes)),
        "discriminants": (np.float32, (routes, dim + 1)),
        "prototypes": (np.float32, (routes, dim)),
        "gate": (np.float64, (len(scoring.EVIDENCE) + 1,)),
        "temperature": (np.float64, (1,)),
        "thresholds": (np.float64, (routes,)),
        "calibrated_on": (np.int64, (routes,)),
    }
    idf, rivals = arrays.get("idf"), arrays.get("rivals")
    if idf is None or idf.dtype != np.float32 or idf.ndim != 1 or not len(idf) or not np.isfinite(idf).all():
        return None
    if rivals is None or rivals.dtype != np.float32 or len(rivals) != dim + 1 or not np.isfinite(rivals).all():
        return None
    for name, (dtype, shape) in expected.items():
        array = arrays.get(name)
        if array is None or array.dtype != dtype or array.shape != shape or not np.isfinite(array).all():
            return None
    return Trained(arrays["vectors"], Head(**{field.name: arrays[field.name] for field in dataclasses.fields(Head)}))
