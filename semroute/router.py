"""The Router: a configuration, an index and an embedder, bound together and never changed.

from semroute import Router

router = Router.load("routes")
decision = router.route("why was I charged twice?")
decision.route, decision.model, decision.confidence
"""

from __future__ import annotations

import copy
import datetime
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from semroute.config.load import load
from semroute.config.schema import Config
from semroute.routing.decide import Choice, choose_semantic, choose_static, decide
from semroute.routing.facts import Facts, read_facts
from semroute.routing.scoring import confidences, prototypes
from semroute.semantic.embedder import Embedder, open_embedder
from semroute.semantic.index import Index
from semroute.types import Candidate, ChatRequest, Decision, Frozen, Message, Nearest, Signals, Text

Floats = NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with the number of utterances embedded so far, and of all."""

NEIGHBOURS = 32
CANDIDATES = 5
_BATCH = 64


class Observation(Frozen, frozen=True, kw_only=True):
    """How a text compares with the routes."""

    candidates: tuple[Candidate, ...]
    """The best, best first."""
    embedding: bytes = b""
    """Of the text: float16, little-endian."""
    scores: bytes = b""
    """The confidence of every route, in the order of `Router.config.routes`: float16, little-endian."""


def new_id() -> str:
    """A fresh request id. Ids sort by the time they were made."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"


class Router:
    """Decides where requests go. Immutable, without network, safe to share among threads."""

    def __init__(self, config: Config, embedder: Embedder, vectors: Floats) -> None:
        """`vectors`: float32 (n, dim), L2-normalised, a row for each utterance in the order of `config.routes`."""
        self.config = config
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
        return cls(config, embedder, vectors)

    def route(self, request: str | ChatRequest, signals: Signals = Signals()) -> Decision:
        """Decide where a prompt or a request goes.

        Raises `UnknownModelError` and `UnknownRouteError` where the request names what does not exist.
        """
        started = time.perf_counter()
        if isinstance(request, str):
            request = ChatRequest(id=new_id(), messages=(Message(role="user", parts=(Text(text=request),)),))
        facts = read_facts(request)
        choice = self.choose(request, facts)
        if choice is None:
            choice = choose_semantic(self.config, self.match([facts.text])[0])
        decision = self.decide(request, facts, choice, signals)
        return msgspec.structs.replace(decision, latency_ms=(time.perf_counter() - started) * 1000)

    def choose(self, request: ChatRequest, facts: Facts) -> Choice | None:
        """The choice that a pin or a rule makes; null: the prompt must be matched."""
        return choose_static(self.config, request, facts)

    def on(self, day: datetime.date) -> Router:
        """The same router with the prices of a day."""
        models = {id_: model.on(day) for id_, model in self.config.models.items()}
        same = models == self.config.models
        return self if same else self.configured(msgspec.structs.replace(self.config, models=models))

    def configured(self, config: Config) -> Router:
        """The same router with another configuration of the same routes."""
        router = copy.copy(self)
        router.config = config
        return router

    def match(self, texts: Sequence[str]) -> list[tuple[Candidate, ...]]:
        """The routes most like each text, best first. Takes milliseconds: not for the event loop."""
        return [observation.candidates for observation in self.observe(texts)]

    def observe(self, texts: Sequence[str]) -> list[Observation]:
        """As `match`, with what the log keeps of it."""
        if not self._names:
            return [Observation(candidates=()) for _ in texts]
        vectors = self.embedder.embed(texts)
        similarities, rows = self._index.search(vectors, NEIGHBOURS)
        prototype_similarities = vectors @ self._prototypes.T
        evidence = zip(vectors, prototype_similarities, similarities, rows, strict=True)
        return [self._observation(*row) for row in evidence]

    def choose_semantic(self, candidates: Sequence[Candidate]) -> Choice:
        """The choice that a match makes."""
        return choose_semantic(self.config, candidates)

    def decide(self, request: ChatRequest, facts: Facts, choice: Choice, signals: Signals) -> Decision:
        """Turn a choice into a decision with a plan."""
        return decide(self.config, request, facts, choice, signals)

    def _observation(
        self, vector: Floats, prototype: Floats, similarities: Floats, rows: NDArray[np.int64]
    ) -> Observation:
        owners = self._owners[rows]
        scores = confidences(prototype, similarities, owners)
        best = np.argsort(-scores, kind="stable")[:CANDIDATES]
        candidates = tuple(
            Candidate(
                route=self._names[route],
                confidence=round(float(scores[route]), 4),
                nearest=self._nearest(int(route), similarities, rows, owners),
            )
            for route in best
        )
        return Observation(
            candidates=candidates,
            embedding=vector.astype("<f2").tobytes(),
            scores=scores.astype("<f2").tobytes(),
        )

    def _nearest(
        self, route: int, similarities: Floats, rows: NDArray[np.int64], owners: NDArray[np.int64]
    ) -> Nearest | None:
        places = np.flatnonzero(owners == route)
        if not len(places):
            return None
        place = places[0]
        return Nearest(utterance=self._utterances[rows[place]], similarity=round(float(similarities[place]), 4))
