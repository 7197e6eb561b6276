"""The Router: a configuration, an index and an embedder, bound together and never changed.

from semroute import Router

router = Router.load("routes")
decision = router.route("why was I charged twice?")
decision.route, decision.model, decision.confidence
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from semroute.config.load import load
from semroute.config.schema import Config
from semroute.routing.decide import (
    Choice,
    choose_classified,
    choose_semantic,
    choose_static,
    decide,
    needs_reading,
)
from semroute.routing.difficulty import Reading
from semroute.routing.facts import Facts, read_facts
from semroute.routing.gain import Gain
from semroute.routing.scoring import confidences, prototypes
from semroute.semantic.embedder import Embedder, open_embedder
from semroute.semantic.index import Index
from semroute.semantic.learned import load_gain
from semroute.types import Candidate, ChatRequest, Decision, Message, Nearest, Route, Signals, Text, Tier

Floats = NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with the number of utterances embedded so far, and of all."""

NEIGHBOURS = 32
CANDIDATES = 5
_BATCH = 64


def new_id() -> str:
    """A fresh request id. Ids sort by the time they were made."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"


class Router:
    """Decides where requests go. Immutable, without network, safe to share among threads."""

    def __init__(
        self,
        config: Config,
        embedder: Embedder,
        vectors: Floats,
        *,
        tiers: Router | None = None,
        gain: Gain | None = None,
    ) -> None:
        """`vectors`: float32 (n, dim), L2-normalised, a row for each utterance in the order of `config.routes`.

        `tiers`: a router whose routes are the exemplar tiers. `gain`: what `semroute train` learned.
        """
        self.config = config
        self.gain = gain
        self._tiers = tiers
        self.embedder = embedder
        self._names = tuple(config.routes)
        self._utterances = tuple(u for route in config.routes.values() for u in route.utterances)
        self._owners = np.repeat(
            np.arange(len(self._names)), [len(route.utterances) for route in config.routes.values()]
        ).astype(np.int64)
        self._vectors = vectors
        self._prototypes = prototypes(vectors, self._owners, len(self._names))
        self._index = Index(vectors)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str] = "routes",
        *,
        environ: Mapping[str, str] = os.environ,
        previous: Router | None = None,
        progress: Progress | None = None,
    ) -> Router:
        """Read the route files of a folder, and embed and index their utterances.

        `previous` lends its embedder and the vectors of unchanged utterances. Raises `ConfigError` with every problem
        found, and `EmbedderError`.
        """
        return cls.build(load(Path(folder), environ), previous=previous, progress=progress)

    @classmethod
    def build(cls, config: Config, *, previous: Router | None = None, progress: Progress | None = None) -> Router:
        """Embed and index the utterances of a configuration. Raises `EmbedderError`."""
        if previous is not None and previous.config.embedder == config.embedder:
            embedder, known = previous.embedder, dict(zip(previous._utterances, previous._vectors, strict=True))
        else:
            embedder, known = open_embedder(config.embedder), {}
        utterances = [u for route in config.routes.values() for u in route.utterances]
        vectors = np.empty((len(utterances), embedder.dim), dtype=np.float32)
        new = [row for row, utterance in enumerate(utterances) if utterance not in known]
        for row, utterance in enumerate(utterances):
            if utterance in known:
                vectors[row] = known[utterance]
        for start in range(0, len(new), _BATCH):
            rows = new[start : start + _BATCH]
            vectors[rows] = embedder.embed([utterances[row] for row in rows])
            if progress is not None:
                progress(min(start + _BATCH, len(new)), len(new))
        tiers = _tier_router(config, embedder, previous) if config.tiers else None
        return cls(config, embedder, vectors, tiers=tiers, gain=load_gain(config, embedder))

    def route(self, request: str | ChatRequest, signals: Signals = Signals()) -> Decision:
        """Decide where a prompt or a request goes.

        Raises `UnknownModelError` and `UnknownRouteError` where the request names what does not exist.
        """
        started = time.perf_counter()
        if isinstance(request, str):
            request = ChatRequest(id=new_id(), messages=(Message(role="user", parts=(Text(text=request),)),))
        facts = read_facts(request)
        choice = self.choose(request, facts)
        reading = self.read(facts.text) if self.needs_reading(request, facts, choice) else None
        if choice is None:
            choice = self.choose_semantic(reading.candidates if reading is not None else (), facts)
        decision = self.decide(request, facts, choice, signals, reading)
        return msgspec.structs.replace(decision, latency_ms=(time.perf_counter() - started) * 1000)

    def choose(self, request: ChatRequest, facts: Facts) -> Choice | None:
        """The choice that a pin or a rule makes; null: the prompt must be matched."""
        return choose_static(self.config, request, facts)

    def match(self, texts: Sequence[str]) -> list[tuple[Candidate, ...]]:
        """The routes most like each text, best first. Takes milliseconds: not for the event loop."""
        return self._match(self.embedder.embed(texts)) if self._names else [() for _ in texts]

    def read(self, text: str) -> Reading:
        """All that a prompt's embedding tells: routes, exemplar tier, learned gains. Takes milliseconds, as `match`."""
        vectors = self.embedder.embed([text])
        tier = self._tiers.choose_semantic(self._tiers._match(vectors)[0]) if self._tiers is not None else None
        gains, parts = self.gain.predict(text, vectors[0]) if self.gain is not None else ({}, {})
        return Reading(
            candidates=self._match(vectors)[0] if self._names else (),
            tier=cast("Tier | None", tier.route) if tier is not None else None,
            tier_confidence=tier.match.confidence if tier is not None else 0.0,
            gains=gains,
            parts=parts,
        )

    def needs_reading(self, request: ChatRequest, facts: Facts, choice: Choice | None) -> bool:
        """Whether `read` is needed before `decide`."""
        return needs_reading(self.config, request, facts, choice)

    def _match(self, vectors: Floats) -> list[tuple[Candidate, ...]]:
        similarities, rows = self._index.search(vectors, NEIGHBOURS)
        prototype_similarities = vectors @ self._prototypes.T
        return [
            self._candidates(*evidence) for evidence in zip(prototype_similarities, similarities, rows, strict=True)
        ]

    def choose_semantic(self, candidates: Sequence[Candidate], facts: Facts | None = None) -> Choice:
        """The choice that a match makes. `facts`: what narrowing rules look at."""
        return choose_semantic(self.config, candidates, facts)

    def choose_classified(self, label: str, semantic: Choice) -> Choice:
        """The choice that a classifier's label makes, instead of the semantic one."""
        return choose_classified(self.config, label, semantic)

    def decide(
        self, request: ChatRequest, facts: Facts, choice: Choice, signals: Signals, reading: Reading | None = None
    ) -> Decision:
        """Turn a choice into a decision with a plan. `reading`: see `needs_reading`."""
        return decide(self.config, request, facts, choice, signals, reading=reading, gain=self.gain)

    def _candidates(self, prototype: Floats, similarities: Floats, rows: NDArray[np.int64]) -> tuple[Candidate, ...]:
        owners = self._owners[rows]
        scores = confidences(prototype, similarities, owners)
        best = np.argsort(-scores, kind="stable")[:CANDIDATES]
        return tuple(
            Candidate(
                route=self._names[route],
                confidence=round(float(scores[route]), 4),
                nearest=self._nearest(int(route), similarities, rows, owners),
            )
            for route in best
        )

    def _nearest(
        self, route: int, similarities: Floats, rows: NDArray[np.int64], owners: NDArray[np.int64]
    ) -> Nearest | None:
        places = np.flatnonzero(owners == route)
        if not len(places):
            return None
        place = places[0]
        return Nearest(utterance=self._utterances[rows[place]], similarity=round(float(similarities[place]), 4))


def _tier_router(config: Config, embedder: Embedder, previous: Router | None) -> Router:
    """A router of the exemplar tiers: each is a route in all but its models."""
    routes: dict[str, Route] = {
        tier: Route(name=tier, utterances=utterances, models=config.default.models)
        for tier, utterances in config.tiers.items()
    }
    tiers = msgspec.structs.replace(config, routes=routes, rules=(), tiers={}, classifier=None, folder="")
    if previous is not None and previous.embedder is embedder and previous._tiers is not None:
        return Router.build(tiers, previous=previous._tiers)
    empty = Router(msgspec.structs.replace(tiers, routes={}), embedder, np.empty((0, embedder.dim), np.float32))
    return Router.build(tiers, previous=empty)  # which lends the embedder
