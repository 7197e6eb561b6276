"""The background: some ten thousand everyday prompts that belong to no particular route, sorted into intents.

A router with a few routes must turn away prompts that it has never seen. The background shows what such prompts look
like. Each of its intents is a *rival* of the routes. One classifier over all intents is trained once and shipped. It
gives each rival a logit. If a rival explains a prompt better than any route does, the prompt is out of scope.

A route may be about the same thing as a rival. Then the user of that route wants these prompts, and `choose` leaves the
rival out. A rival counts as such if its prompts are as near to the route as the route's own utterances are to each
other.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from semroute.errors import EmbedderError
from semroute.routing.scoring import Floats, Ints
from semroute.semantic import logistic_regression
from semroute.semantic.array_cache import Arrays, Cache
from semroute.semantic.embedder import Embedder

FOLDER = Path(__file__).parent / "everyday"
PROMPTS = FOLDER / "prompts.txt.gz"
VECTORS = FOLDER / "vectors.npz"

COST = 10.0
"""The parameter C of the classifier of all intents."""
ITERATIONS = 25
OTHERS_PROMPTS = 6
"""How many prompts of each intent are embedded for another encoder, because no vectors are shipped for it."""
OWN_SHARE = 0.35
"""A rival is left out if this share of its prompts is as near to a route as half of the route's own utterances are to
their nearest neighbour."""
SAME = 0.8
"""Cosine. A background prompt this near to an utterance asks for the same thing. It is left out even if its rival
stays."""
HARD, SPREAD = 100, 400
"""How many background prompts train the head of a few routes: the nearest to the utterances, and others of all
intents."""
MANY = 100
"""With this many routes or more, the routes are near misses of each other, and cover most of what people ask every day.
Then only `LEAST` prompts train the head, all of the farther half. With fewer routes, all numbers grow in proportion.
Chosen on CLINC150's validation split: with 150 routes of 10 utterances, 500 prompts cost .007 of AUROC."""
LEAST = 100
"""The least number of background prompts that a head is trained on."""
COMPARED = 40
"""How many utterances of each route are compared with the background, at most."""
NEGATIVE_SLOPE, NEGATIVE_OFFSET = 20.0, -8.0
"""The logit of a negative is linear in the cosine. It is 12 for the negative's own text and 8 for a paraphrase. For
most prompts, all other rivals together have 7 or 8."""
SEED = 11

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Background:
    """The background, embedded by one embedder."""

    texts: tuple[str, ...]
    intents: Ints
    """(texts,): the number of each text's intent."""
    names: tuple[str, ...]
    """The names of the intents, such as `travel.traffic`."""
    vectors: Floats
    """(texts, dim), L2-normalised."""
    rivals: Floats
    """(dim + 1, intents): weights that turn a vector into the logit of each intent. The last row are the offsets."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The part of the background that concerns a set of routes."""

    rows: Ints
    """The prompts to train on, as row numbers of the background, ascending."""
    near: NDArray[np.bool_]
    """For each of them, whether it is among the nearest to the utterances."""
    rivals: Ints
    """The intents that compete with the routes, ascending."""

    def beside(self, background: Background) -> Rivals:
        """Return the rivals, and which rival each chosen prompt belongs to."""
        intents = background.intents[self.rows]
        places = np.minimum(np.searchsorted(self.rivals, intents), len(self.rivals) - 1)
        own = np.where(self.rivals[places] == intents, places, -1) if len(self.rivals) else np.full(len(intents), -1)
        return Rivals(np.ascontiguousarray(background.rivals[:, self.rivals]), intents, own, self.near)


@dataclass(frozen=True, slots=True)
class Rivals:
    """The rivals of a set of routes, and the background prompts that a head is trained on."""

    weights: Floats
    """(dim + 1, rivals): weights that turn a vector into the logit of each rival. The last row are the offsets."""
    intents: Ints
    """(prompts,): the intent of each prompt."""
    own: Ints
    """The column of `weights` for each prompt, and after the prompts for each negative. -1: its intent is not among the
    rivals."""
    near: NDArray[np.bool_]
    """(prompts,): whether a prompt is a near miss. Otherwise it is something that people ask in general."""

    def with_negatives(self, vectors: Floats) -> Rivals:
        """Make each negative of the route files a rival, because no route should take what is like it.

        `vectors`: of the negatives, float32 (n, dim), L2-normalised.
        """
        columns = np.vstack((NEGATIVE_SLOPE * vectors.T, np.full(len(vectors), NEGATIVE_OFFSET)))
        return Rivals(
            np.ascontiguousarray(np.hstack((self.weights, columns)), dtype=np.float32),
            self.intents,
            np.append(self.own, self.weights.shape[1] + np.arange(len(vectors))),
            self.near,
        )

    def logits(self, vectors: Floats) -> Floats:
        """Return the logit of each rival: float32 (n, rivals)."""
        logits: Floats = vectors @ self.weights[:-1] + self.weights[-1]
        return logits


@cache
def prompts() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the texts of the background and the intent of each text."""
    lines = gzip.decompress(PROMPTS.read_bytes()).decode("utf-8").splitlines()
    pairs = [line.split("\t", 1) for line in lines]
    return tuple(text for _, text in pairs), tuple(intent for intent, _ in pairs)


@cache
def digest() -> bytes:
    """Return a digest of all that a head takes from the background. It changes when any of that changes."""
    return hashlib.sha256(hashlib.sha256(PROMPTS.read_bytes()).digest() + VECTORS.read_bytes()).digest()


_EMBEDDED: WeakKeyDictionary[Embedder, Background] = WeakKeyDictionary()


def open_background(embedder: Embedder, cache: Cache | None = None) -> Background:
    """Read the background for an embedder. If no vectors are shipped for its encoder, embed a part of the prompts.

    What was embedded is kept for the embedder, so a reload does not do it again. Shipped vectors are read again: that
    takes 30 ms, and keeping them 20 MB. Raises `EmbedderError`.
    """
    if embedder in _EMBEDDED:
        return _EMBEDDED[embedder]
    shipped = _shipped(embedder)
    if shipped is None:
        _EMBEDDED[embedder] = _embedded(embedder, cache)
    return shipped or _EMBEDDED[embedder]


def numbered(intents: tuple[str, ...]) -> Ints:
    """Give each intent a number, in the order in which they come: int64 (texts,)."""
    numbers = {intent: number for number, intent in enumerate(dict.fromkeys(intents))}
    return np.array([numbers[intent] for intent in intents], np.int64)


def _shipped(embedder: Embedder) -> Background | None:
    """Read the shipped vectors. None: they were made with another encoder."""
    try:
        with np.load(VECTORS, allow_pickle=False) as archive:
            if str(archive["fingerprint"]) != embedder.fingerprint:
                return None
            vectors = archive["quantised"].astype(np.float32)
            rivals = archive["rivals"].astype(np.float32)
        texts, intents = prompts()
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise EmbedderError(f"{FOLDER}: the background prompts cannot be read: {error}; reinstall semroute") from error
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Background(texts, numbered(intents), tuple(dict.fromkeys(intents)), vectors, rivals)


def _embedded(embedder: Embedder, cache: Cache | None) -> Background:
    """Embed some prompts of each intent, or take the vectors from the cache."""
    texts, intents = _some(*prompts())
    numbers = numbered(intents)
    key = f"b{embedder.fingerprint}{OTHERS_PROMPTS:02x}"
    found = _unpack(cache.read(key) if cache else None, len(texts), embedder.dim, int(numbers.max()) + 1)
    if found is None:
        started = time.monotonic()
        vectors = embedder.embed(texts)
        found = vectors, fit_rivals(vectors, numbers)
        logger.info(
            "embedded %d background prompts in %.1f s with the embedder %s: semroute ships their vectors for the "
            "bundled one only",
            len(texts),
            time.monotonic() - started,
            embedder.name,
        )
        if cache:
            cache.write(key, {"vectors": found[0], "rivals": found[1]})
    return Background(texts, numbers, tuple(dict.fromkeys(intents)), *found)


def _some(texts: tuple[str, ...], intents: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a few prompts of each intent."""
    taken: dict[str, int] = {}
    kept = []
    for text, intent in zip(texts, intents, strict=True):
        taken[intent] = taken.get(intent, 0) + 1
        if taken[intent] <= OTHERS_PROMPTS:
            kept.append((text, intent))
    return tuple(text for text, _ in kept), tuple(intent for _, intent in kept)


def _unpack(arrays: Arrays | None, texts: int, dim: int, intents: int) -> tuple[Floats, Floats] | None:
    if arrays is None:
        return None
    vectors, rivals = arrays.get("vectors"), arrays.get("rivals")
    if vectors is None or vectors.shape != (texts, dim) or rivals is None or rivals.shape != (dim + 1, intents):
        return None
    return vectors, rivals


def fit_rivals(vectors: Floats, intents: Ints) -> Floats:
    """Train the classifier of all intents: float32 (dim + 1, intents). Arguments as in `Background`."""
    count = int(intents.max()) + 1
    features = vectors.copy()
    basis = logistic_regression.find_basis(features, count, COST)
    fitted = logistic_regression.fit(
        basis.project(features), np.arange(len(intents)), intents, count, basis.penalty, ITERATIONS
    )
    return np.vstack(basis.weights(*fitted)).astype(np.float32)


def choose(background: Background, vectors: Floats, owners: Ints) -> Chosen:
    """Choose the rivals and the prompts that concern some routes.

    `vectors`: of the utterances, float32 (n, dim), L2-normalised; `owners`: int64 (n,), the route of each, ascending.
    """
    near, own = compare(background, vectors, owners)
    shared: NDArray[np.bool_] = np.logical_or.reduce(own, axis=1)
    apart = ~shared
    nearest = near.max(axis=1)
    usable = np.flatnonzero(apart[background.intents] & (nearest < SAME))
    usable = usable[np.argsort(-nearest[usable], kind="stable")]
    few = max(0.0, 1 - near.shape[1] / MANY)
    hard = usable[: round(few * HARD)]
    others = usable[len(hard) + round((1 - few) * len(usable) / 2) :]
    spread = np.random.default_rng(SEED).permutation(others)[: round(LEAST + few * (SPREAD - LEAST))]
    rows = np.sort(np.concatenate((hard, spread)))
    return Chosen(rows, np.isin(rows, hard), np.flatnonzero(apart))


def compare(background: Background, vectors: Floats, owners: Ints) -> tuple[Floats, NDArray[np.bool_]]:
    """Compare the background with some routes. Arguments as in `choose`.

    Returns the cosine of each prompt with the nearest utterance of each route, float32 (texts, routes), and whether
    an intent is what a route is about: (intents, routes).
    """
    routes = int(owners[-1]) + 1
    near = np.empty((len(background.texts), routes), np.float32)
    usual = np.full(routes, SAME, np.float32)
    for route in range(routes):
        utterances = vectors[owners == route]
        utterances = utterances[:: -(-len(utterances) // COMPARED)]
        near[:, route] = (background.vectors @ utterances.T).max(axis=1)
        if len(utterances) > 1:
            among = utterances @ utterances.T
            np.fill_diagonal(among, -1)
            usual[route] = np.median(among.max(axis=1))
    shares = np.zeros((len(background.names), routes), np.float32)
    np.add.at(shares, background.intents, near >= usual)
    members = np.bincount(background.intents, minlength=len(background.names))
    return near, shares / members[:, None] >= OWN_SHARE
