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

import msgspec
import numpy as np
from numpy.typing import NDArray

from semroute.config.load import load
from semroute.config.schema import Config, Tuned
from semroute.routing.decide import Choice, choose_semantic, choose_static, decide
from semroute.routing.explain import explain
from semroute.routing.facts import Facts, read_facts
from semroute.routing.scoring import confidences, prototypes
from semroute.semantic.embedder import Embedder, open_embedder
from semroute.semantic.index import Index
from semroute.types import Candidate, ChatRequest, Decision, Message, Nearest, Signals, Text

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

    def __init__(self, config: Config, embedder: Embedder, vectors: Floats) -> None:
        """`vectors`: float32 (n, dim), L2-normalised, a row for each utterance in the order of `config.routes`."""
        # Thresholds mean something for the encoder alone with which they were found.
        fits = config.tuned.encoder in ("", embedder.fingerprint)
        self.config = config if fits else msgspec.structs.replace(config, tuned=Tuned())
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

    @property
    def vectors(self) -> Floats:
        """The utterances, in the order of `config.routes`: float32 (n, dim), L2-normalised."""
        return self._vectors

    def route(self, request: str | ChatRequest, signals: Signals = Signals(), *, explain: bool = False) -> Decision:
        """Decide where a prompt or a request goes. `explain`: with `details`, for which a prompt is matched many times.

        Raises `UnknownModelError` and `UnknownRouteError` where the request names what does not exist.
        """
        started = time.perf_counter()
        if isinstance(request, str):
            request = ChatRequest(id=new_id(), messages=(Message(role="user", parts=(Text(text=request),)),))
        facts = self.read_facts(request)
        choice = self.choose(request, facts)
        if choice is None:
            choice = self.choose_semantic(self.match([facts.text])[0], facts)
        decision = self.decide(request, facts, choice, signals)
        decision = msgspec.structs.replace(decision, latency_ms=(time.perf_counter() - started) * 1000)
        return self.explain(decision, facts) if explain or request.explain else decision

    def read_facts(self, request: ChatRequest) -> Facts:
        """What the decision looks at."""
        return read_facts(request, self.config.route_on)

    def explain(self, decision: Decision, facts: Facts) -> Decision:
        """The decision with `details`. Matches the prompt once for each of its words: not for the event loop."""
        details = explain(facts.text, decision, self.match, lambda found: self.choose_semantic(found, facts).route)
        return msgspec.structs.replace(decision, details=details)

    def choose(self, request: ChatRequest, facts: Facts) -> Choice | None:
        """The choice that a pin or a rule makes; null: the prompt must be matched."""
        return choose_static(self.config, request, facts)

    def match(self, texts: Sequence[str]) -> list[tuple[Candidate, ...]]:
        """The routes most like each text, best first. Takes milliseconds: not for the event loop."""
        if not self._names:
            return [() for _ in texts]
        vectors = self.embedder.embed(texts)
        similarities, rows = self._index.search(vectors, NEIGHBOURS)
        prototype_similarities = vectors @ self._prototypes.T
        return [
            self._candidates(*evidence) for evidence in zip(prototype_similarities, similarities, rows, strict=True)
        ]

    def choose_semantic(self, candidates: Sequence[Candidate], facts: Facts | None = None) -> Choice:
        """The choice that a match makes. `facts`: of the request; null: its language is not looked at."""
        return choose_semantic(self.config, candidates, facts)

    def decide(self, request: ChatRequest, facts: Facts, choice: Choice, signals: Signals) -> Decision:
        """Turn a choice into a decision with a plan."""
        return decide(self.config, request, facts, choice, signals)

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
