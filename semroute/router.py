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
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import NamedTuple, cast

import msgspec
import numpy as np

from semroute.config.config import Config
from semroute.config.folder import RouteFiles, read_files
from semroute.config.load import load_files
from semroute.config.schema.routes import Route
from semroute.decision import Candidate, Decision, Match, Nearest, Signals, Tier
from semroute.dialects.native.conversation import Asked, as_request
from semroute.messages import ChatRequest, new_id
from semroute.routing import model_aliases
from semroute.routing.ask import Ask, find_ask
from semroute.routing.decide import (
    Choice,
    choose_classified,
    choose_semantic,
    choose_static,
    decide,
    most_demanding,
    needs_reading,
)
from semroute.routing.difficulty import Reading
from semroute.routing.explain import ask_and_material, explain
from semroute.routing.facts import Facts, read_facts
from semroute.routing.fixed_thresholds import fixed_thresholds
from semroute.routing.learned_gain import Gain
from semroute.routing.scoring import Floats
from semroute.semantic import calibration
from semroute.semantic.array_cache import Cache, default_folder
from semroute.semantic.embedder import Embedder, Features, open_embedder
from semroute.semantic.feature_cache import RecentFeatures, join
from semroute.semantic.gain_file import load_gain
from semroute.semantic.matcher import Matcher, Near
from semroute.semantic.training import Progress, Task, Trained, prepare
from semroute.semantic.tuned_thresholds import without_stale


class Router:
    """Decides where requests go. Immutable, without network, safe to share among threads."""

    def __init__(
        self,
        config: Config,
        embedder: Embedder,
        trained: Trained | None,
        *,
        tiers: Router | None = None,
        gain: Gain | None = None,
        recent: RecentFeatures | None = None,
    ) -> None:
        """`trained`: for the utterances, in the order of `config.routes`. None: there are no routes.

        `tiers`: a router whose routes are the exemplar tiers. `gain`: what `semroute train` learned. `recent`: the
        embedder's memory of prompts, from an earlier router.
        """
        self.config = without_stale(config, embedder)
        self.embedder = embedder
        self.gain = gain
        self.candidates: Mapping[str, Router] = {}
        """The routers of the folders that are arms of experiments, by folder. `semroute.reload` builds them."""
        self.tiers = tiers
        self._recent = recent or RecentFeatures(embedder, config.embedder.cached_prompts)
        self._names = tuple(config.routes)
        self._utterances = tuple(u for route in config.routes.values() for u in route.utterances)
        self._fixed = fixed_thresholds(self.config)
        self.trained = trained
        if trained is not None:
            self._matcher = Matcher(trained.head, trained.vectors, Task.of(config).owners)
            self._calibrated: list[float] = trained.head.thresholds.tolist()

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str] = "routes",
        *,
        environ: Mapping[str, str] = os.environ,
        previous: Router | None = None,
        progress: Progress | None = None,
    ) -> Router:
        """Read the route files of a folder, embed and index their utterances, and learn from them.

        What was learned is kept in `$SEMROUTE_CACHE_DIR`, else in the user's cache folder. `previous`: a router whose
        embedder and vectors of unchanged utterances are used again. Raises `ConfigError` with every problem found, and
        `EmbedderError`.
        """
        return cls.of(read_files(Path(folder)), environ=environ, previous=previous, progress=progress)

    @classmethod
    def of(
        cls,
        files: RouteFiles,
        *,
        environ: Mapping[str, str] = os.environ,
        previous: Router | None = None,
        progress: Progress | None = None,
    ) -> Router:
        """Build a Router as `load` does, from files that have been read."""
        cache, config = Cache(default_folder(environ)), load_files(files, environ)
        return cls.build(config, previous=previous, progress=progress, cache=cache, learned=files.learned)

    @classmethod
    def build(
        cls,
        config: Config,
        *,
        previous: Router | None = None,
        progress: Progress | None = None,
        cache: Cache | None = None,
        learned: bytes | None = None,
    ) -> Router:
        """Embed and index the utterances of a configuration, and learn from them. Raises `EmbedderError`.

        `progress` is called with the work done and the work in all. Without `cache`, nothing is kept.
        `learned`: the file that `semroute train` wrote, if it has been read already.
        """
        known: dict[str, Floats] = {}
        recent = None
        if previous is not None and previous.config.embedder == config.embedder:
            embedder, recent = previous.embedder, previous._recent
            if previous.trained is not None:
                known = dict(zip(previous._utterances, previous.trained.vectors, strict=True))
        else:
            embedder = open_embedder(config.embedder)
        trained = prepare(Task.of(config), embedder, cache, known, progress) if config.routes else None
        tiers = _tier_router(config, embedder, cache) if config.tiers else None
        return cls(config, embedder, trained, tiers=tiers, gain=load_gain(config, embedder, learned), recent=recent)

    @property
    def vectors(self) -> Floats:
        """Return the vectors of the utterances, in the order of `config.routes`: float32 (n, dim), L2-normalised."""
        return np.empty((0, self.embedder.dim), np.float32) if self.trained is None else self.trained.vectors

    @property
    def threshold_claim(self) -> str:
        """Say what the calibrated thresholds promise for prompts like the utterances. Empty: none is used."""
        used = self._fixed.count(None)
        if self.trained is None or not used:
            return ""
        claim = calibration.claim(self.trained.head.calibrated_on, self.config.abstain.target_false_abstain)
        return claim if used == len(self._fixed) else f"used for {used} of {len(self._fixed)} routes; {claim}"

    def route(self, request: Asked, signals: Signals = Signals(), *, explain: bool = False) -> Decision:
        """Decide where a prompt, a conversation or a request goes. A conversation is a list of messages in OpenAI's or
        Anthropic's form. `explain`: add `details`, for which the prompt is matched many times.

        Raises `RequestError` for messages that cannot be read, and for names that do not exist.
        """
        inputs = DecisionInputs(self, signals, time.perf_counter())
        return self.decide_with(inputs, as_request(request, new_id(), explain=explain))

    def route_many(self, requests: Iterable[Asked], signals: Signals = Signals()) -> list[Decision]:
        """Decide several requests as `route` does. Their prompts are embedded together, which takes less time."""
        asked = [as_request(request, new_id()) for request in requests]
        started = time.perf_counter()
        every = [self.read_facts(request) for request in asked]
        readings = self.read([facts.ask for facts in every])
        return [
            self.decide_with(DecisionInputs(self, signals, started, facts, reading), request)
            for request, facts, reading in zip(asked, every, readings, strict=True)
        ]

    def decide_with(self, inputs: DecisionInputs, request: ChatRequest) -> Decision:
        """Decide with inputs that are all there already, so that nothing has to be waited for."""
        try:
            self.decide_in(inputs, request).send(None)
        except StopIteration as ended:
            return cast("Decided", ended.value).decision
        raise AssertionError("a decision without a service waited for something")

    async def decide_in(self, inputs: DecisionInputs, asked: ChatRequest) -> Decided:
        """Run all steps of a decision. The library and the service both use this method.

        `inputs`: gives the facts that the steps need. The coroutine waits only for these. Raises `UnknownModelError`
        and `UnknownRouteError` if the request names a model or a route that does not exist.
        """
        config = self.config
        request = model_aliases.resolve_aliases(config, asked) if config.aliases else asked
        facts = await inputs.facts(request)
        choice = choose_static(config, request, facts)
        must_read = choice is None or needs_reading(config, request, facts, choice)
        reading = await inputs.reading(facts.ask) if must_read else Reading()
        if choice is None:
            choice = choose_semantic(config, reading.match, facts)
            if config.classifier is not None:
                choice = await inputs.classified(choice, request, facts, reading)
        if request.session:
            choice = await inputs.continued(choice, facts)
        signals, why_cheap = await inputs.signals(choice, facts)
        decision = decide(config, request, facts, choice, signals, reading=reading, gain=self.gain)
        decision = msgspec.structs.replace(
            decision,
            thrift=signals.thrift,
            explanation=decision.explanation
            + (model_aliases.describe_alias(asked, request) if request is not asked else "")
            + (f"; {why_cheap}, so cheaper models are preferred" if why_cheap else ""),
            latency_ms=(time.perf_counter() - inputs.started) * 1000,
        )
        if request.explain:
            decision = await inputs.explained(decision, facts)
        return Decided(request, facts, choice, reading, signals, decision)

    def read_facts(self, request: ChatRequest) -> Facts:
        """Return the facts of a request."""
        return read_facts(request, self.config.route_on, self.config.strip)

    def explain(self, decision: Decision, facts: Facts) -> Decision:
        """Add `details` to a decision. Matches the prompt once for each word, so do not call it on the event loop."""
        matched = " ".join(facts.ask.matched)
        details = explain(matched, decision, self.match, lambda match: self.choose_semantic(match, facts).route)
        pieces = ask_and_material(facts.prompt, facts.ask)
        return msgspec.structs.replace(decision, details=msgspec.structs.replace(details, pieces=pieces))

    def match(self, texts: Sequence[str]) -> list[Match]:
        """Compare each text with the routes. Takes milliseconds, so do not call it on the event loop."""
        return self.match_features(self.embedder.featurize(texts))

    def read(self, prompts: Sequence[str | Ask]) -> list[Reading]:
        """Embed asks, and return all that the embeddings say: routes, exemplar tier, learned gains. Takes milliseconds.

        An ask that was read before is not embedded again, even after a reload. Several asks together take less time
        than one by one.
        """
        asks = [find_ask(prompt) if isinstance(prompt, str) else prompt for prompt in prompts]
        texts = [text for ask in asks for text in ask.matched]
        if not texts:
            return []
        each = self._recent.featurize(texts)
        return self.read_features(each[0] if len(each) == 1 else join(each), [len(ask.matched) for ask in asks], texts)

    def read_features(self, features: Features, counts: Sequence[int], texts: Sequence[str] = ()) -> list[Reading]:
        """As `read`, for the features of `counts` asks a request. Without their `texts`, no gains are predicted."""
        tiers, size = self.tiers, len(features.tokens)
        chosen = [None] * size if tiers is None else [*map(tiers.choose_semantic, tiers.match_features(features))]
        compared = self._compare(features)
        of_each = map(self._reading, texts or repeat(None, size), *features, compared, chosen)
        return [most_demanding(self.config, [next(of_each) for _ in range(count)]) for count in counts]

    def _reading(
        self,
        text: str | None,
        vector: Floats,
        tokens: Sequence[int],
        compared: tuple[Match, Floats],
        tier: Choice | None,
    ) -> Reading:
        match, confidences = compared
        gains, parts = self.gain.predict(text, vector) if self.gain is not None and text is not None else ({}, {})
        return Reading(
            match=match,
            embedding=vector,
            tokens=tokens,
            scores=confidences,
            tier=cast("Tier | None", tier.route) if tier is not None else None,
            tier_confidence=tier.compared.confidence if tier is not None else 0.0,
            gains=gains,
            parts=parts,
        )

    def on(self, day: datetime.date) -> Router:
        """Return the same router with the prices of a day."""
        models = {id_: model.on(day) for id_, model in self.config.models.items()}
        same = models == self.config.models
        return self if same else self.configured(msgspec.structs.replace(self.config, models=models))

    def configured(self, config: Config) -> Router:
        """Return the same router with another configuration of the same routes."""
        router = copy.copy(self)
        router.config = config
        router._fixed = fixed_thresholds(config)
        return router

    def choose_semantic(self, match: Match, facts: Facts | None = None) -> Choice:
        """Return the choice that a match makes. `facts`: tell the prompt's language."""
        return choose_semantic(self.config, match, facts)

    def choose_classified(self, label: str, semantic: Choice) -> Choice:
        """Return the choice of a classifier's label, which replaces the semantic one."""
        return choose_classified(self.config, label, semantic)

    def decide(
        self, request: ChatRequest, facts: Facts, choice: Choice, signals: Signals, reading: Reading | None = None
    ) -> Decision:
        """Turn a choice into a decision with a plan. `reading`: see `needs_reading`."""
        return decide(self.config, request, facts, choice, signals, reading=reading, gain=self.gain)

    def match_features(self, features: Features) -> list[Match]:
        """Compare texts that are embedded already with the routes."""
        return [match for match, _ in self._compare(features)]

    def _compare(self, features: Features) -> list[tuple[Match, Floats]]:
        """Compare texts with the best routes, and return the confidence in every route: float32 (routes,)."""
        if self.trained is None:
            return [(Match(), np.empty(0, np.float32)) for _ in features.tokens]
        found = []
        for vector, tokens in zip(features.vectors, features.tokens, strict=True):
            scores = self._matcher.compare(vector, tokens)
            candidates = tuple([self._candidate(scores.in_scope, near) for near in scores.nearest])
            found.append((Match(candidates=candidates, in_scope=round(scores.in_scope, 4)), scores.confidences))
        return found

    def _candidate(self, in_scope: float, near: Near) -> Candidate:
        """Return a route as a candidate.

        A calibrated threshold applies to the probability of being in scope, which shows best what belongs to no route.
        The confidence is the route's share of that probability. So the threshold is multiplied by the same share.
        """
        threshold, source = self._fixed[near.route] or (self._calibrated[near.route] * near.share, "calibrated")
        return Candidate(
            route=self._names[near.route],
            confidence=round(in_scope * near.share, 4),
            threshold=round(threshold, 4),
            threshold_from=source,
            nearest=Nearest(utterance=self._utterances[near.utterance], similarity=round(near.similarity, 4)),
        )


class DecisionInputs:
    """The inputs of one decision. This class takes them from its arguments. The service has a class of its own."""

    def __init__(
        self,
        router: Router,
        signals: Signals,
        started: float,
        facts: Facts | None = None,
        reading: Reading | None = None,
    ) -> None:
        """`started`: when the request came, by `time.perf_counter()`. `facts`, `reading`: if they are known already."""
        self.router = router
        self.started = started
        self._signals = signals
        self._facts = facts
        self._reading = reading

    async def facts(self, request: ChatRequest) -> Facts:
        """Return the facts of a request."""
        return self._facts or self.router.read_facts(request)

    async def reading(self, ask: Ask) -> Reading:
        """Return what the embedding of an ask says."""
        return self._reading or self.router.read([ask])[0]

    async def classified(self, semantic: Choice, request: ChatRequest, facts: Facts, reading: Reading) -> Choice:
        """Return the classifier's choice. Return the semantic one if there is no classifier, as here."""
        return semantic

    async def continued(self, choice: Choice, facts: Facts) -> Choice:
        """Return the choice with the route and the model of the conversation. Here no conversation is remembered."""
        return choice

    async def signals(self, choice: Choice, facts: Facts) -> tuple[Signals, str]:
        """Return the facts of the moment, and why cheaper models are preferred. Empty: they are not."""
        return self._signals, ""

    async def explained(self, decision: Decision, facts: Facts) -> Decision:
        """Return the decision with `details`."""
        return self.router.explain(decision, facts)


class Decided(NamedTuple):
    """A decision, and all that it was made from."""

    request: ChatRequest
    """The request with its aliases replaced."""
    facts: Facts
    choice: Choice
    reading: Reading
    """Empty: the prompt was not embedded."""
    signals: Signals
    decision: Decision


def _tier_router(config: Config, embedder: Embedder, cache: Cache | None) -> Router:
    """Build a router whose routes are the exemplar tiers. They have no models."""
    routes: dict[str, Route] = {
        tier: Route(name=tier, utterances=utterances, models=config.default.models)
        for tier, utterances in config.tiers.items()
    }
    tiers = msgspec.structs.replace(config, routes=routes, rules=(), tiers={}, classifier=None, folder="")
    return Router(tiers, embedder, prepare(Task.of(tiers), embedder, cache))
