"""What a change of route files does to decisions: the same prompts, decided by the Router before and the one after."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

import numpy as np

from semroute.bases import Frozen
from semroute.decision import Decision, Signals
from semroute.messages import ChatRequest, Message, Text
from semroute.router import DecisionInputs, Router
from semroute.routing.scoring import Floats
from semroute.semantic.embedder import Features
from semroute.semantic.embedder_prefixes import prefixes_of

BATCH = 32
SEED = 0
MAX_EXAMPLES = 200
MAX_MOVES = 1000
"""The most kinds of moves that are counted apart."""
TOLD_MOVES = 3
"""How many of them one line tells."""

Place = tuple[str | None, str | None]
"""A route and a model."""


class MovedDecisions(Frozen, frozen=True, kw_only=True):
    """How many prompts went from one route and model to another."""

    route_before: str | None
    route_after: str | None
    model_before: str | None
    model_after: str | None
    count: int


class ChangedDecision(Frozen, frozen=True, kw_only=True):
    """A prompt that is decided otherwise."""

    text: str
    route_before: str | None
    route_after: str | None
    model_before: str | None
    model_after: str | None
    confidence_before: float
    confidence_after: float


class DecisionDiff(Frozen, frozen=True, kw_only=True):
    """What changes on some prompts."""

    on: str
    """What the prompts are, in words: `utterances`, `prompts of FILE` or `requests of LOG`."""
    compared: int
    """How many prompts were decided by both."""
    total: int
    """How many there are. More than `compared`: the rest was left out."""
    changed: int
    """Prompts whose route or model changes."""
    changed_routes: int
    changed_models: int
    cost_before_usd: Decimal
    """The estimated cost of all compared prompts."""
    cost_after_usd: Decimal
    right_before: float | None = None
    """The share of right routes, if the prompts are labelled."""
    right_after: float | None = None
    moves: tuple[MovedDecisions, ...]
    """The most frequent first."""
    examples: tuple[ChangedDecision, ...]
    """The first prompts that change."""

    @property
    def share(self) -> float:
        """Return the share of prompts that change."""
        return self.changed / self.compared if self.compared else 0.0


class DiffCounter:
    """Counts pairs of decisions. It takes little memory, however many there are."""

    def __init__(self) -> None:
        self.compared = 0
        self._routes = self._models = self._changed = 0
        self._labelled = self._right_before = self._right_after = 0
        self._cost_before = self._cost_after = Decimal(0)
        self._moves: Counter[tuple[Place, Place]] = Counter()
        self._examples: list[ChangedDecision] = []

    def add(self, text: str, before: Decision, after: Decision) -> None:
        """Count the two decisions about a prompt."""
        self.compared += 1
        self._cost_before += before.estimate.cost_usd
        self._cost_after += after.estimate.cost_usd
        here, there = (before.route, before.model), (after.route, after.model)
        if here == there:
            return
        self._changed += 1
        self._routes += here[0] != there[0]
        self._models += here[1] != there[1]
        if (here, there) in self._moves or len(self._moves) < MAX_MOVES:
            self._moves[here, there] += 1
        if len(self._examples) < MAX_EXAMPLES:
            example = ChangedDecision(
                text=text,
                route_before=here[0],
                route_after=there[0],
                model_before=here[1],
                model_after=there[1],
                confidence_before=before.confidence,
                confidence_after=after.confidence,
            )
            self._examples.append(example)

    def grade(self, right: str | None, before: Decision, after: Decision) -> None:
        """Count which of the two decisions is right."""
        self._labelled += 1
        self._right_before += before.route == right
        self._right_after += after.route == right

    def result(self, on: str, total: int | None = None) -> DecisionDiff:
        """Return what was counted. `total`: how many prompts there are."""
        moves = (
            MovedDecisions(
                route_before=here[0], model_before=here[1], route_after=there[0], model_after=there[1], count=count
            )
            for (here, there), count in self._moves.most_common()
        )
        labelled = self._labelled
        return DecisionDiff(
            on=on,
            compared=self.compared,
            total=self.compared if total is None else total,
            changed=self._changed,
            changed_routes=self._routes,
            changed_models=self._models,
            cost_before_usd=self._cost_before,
            cost_after_usd=self._cost_after,
            right_before=self._right_before / labelled if labelled else None,
            right_after=self._right_after / labelled if labelled else None,
            moves=tuple(moves),
            examples=tuple(self._examples),
        )


def diff_utterances(
    before: Router,
    after: Router,
    limit: int | None = None,
    *,
    seconds: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DecisionDiff:
    """Decide the utterances of both Routers by both. Blocking: it takes about a millisecond for each utterance.

    `limit`: the most utterances that are decided. New and deleted ones come first, then a sample with a fixed seed.
    `seconds`: after this time no further ones are decided. Their vectors are there already, so they are not embedded.
    """
    old, new = _vectors(before), _vectors(after)
    texts = [*(text for text in new if text not in old), *(text for text in old if text not in new)]
    both = [text for text in old if text in new]
    random.Random(SEED).shuffle(both)
    chosen = [*texts, *both][:limit]
    counter, end = DiffCounter(), None if seconds is None else time.monotonic() + seconds
    for first in range(0, len(chosen), BATCH):
        if end is not None and time.monotonic() >= end:
            break
        batch = chosen[first : first + BATCH]
        decided = zip(batch, decide_texts(before, batch, old), decide_texts(after, batch, new), strict=True)
        for text, here, there in decided:
            counter.add(text, here, there)
        if progress is not None:
            progress(counter.compared, len(chosen))
    return counter.result("utterances", len(texts) + len(both))


def decide_texts(
    router: Router, texts: Sequence[str], known: Mapping[str, Floats | None] | None = None
) -> list[Decision]:
    """Decide prompts together, as the service would decide each alone. `known`: vectors that are there already."""
    requests = [
        ChatRequest(id=text, messages=(Message(role="user", parts=(Text(text=text),)),), input_tokens=0)
        for text in texts
    ]
    every = [router.read_facts(request) for request in requests]
    matched = [text for facts in every for text in facts.ask.matched]
    features = _features(router, matched, known or {})
    readings = router.read_features(features, [len(facts.ask.matched) for facts in every], matched)
    started = time.perf_counter()
    return [
        router.decide_with(DecisionInputs(router, Signals(), started, facts, reading), request)
        for request, facts, reading in zip(requests, every, readings, strict=True)
    ]


def summary(diff: DecisionDiff, before: Router, after: Router) -> str:
    """Say in one line what changes."""
    left_out = f" (of {diff.total})" if diff.total > diff.compared else ""
    told = [f"{diff.changed} of {diff.compared} {diff.on}{left_out} are decided otherwise ({diff.share:.1%})"]
    moves = [f"{describe(move)}: {move.count}" for move in diff.moves[:TOLD_MOVES]]
    if len(diff.moves) > TOLD_MOVES:
        moves.append(f"and {len(diff.moves) - TOLD_MOVES} other moves")
    told += [", ".join(moves)] if moves else []
    for what, here, there in (
        ("routes", before.config.routes, after.config.routes),
        ("models", before.config.models, after.config.models),
    ):
        told += _named(f"new {what}", [name for name in there if name not in here])
        told += _named(f"{what} gone", [name for name in here if name not in there])
    return "; ".join(told)


def describe(move: MovedDecisions) -> str:
    """Say from where to where: the route, and the model if it changes."""
    routes = [name or "(none)" for name in (move.route_before, move.route_after)]
    models = [name or "(none)" for name in (move.model_before, move.model_after)]
    told = [] if routes[0] == routes[1] else [" → ".join(routes)]
    told += [] if models[0] == models[1] else [" → ".join(models)]
    return " with ".join([routes[0], *told] if routes[0] == routes[1] else told)


def _named(what: str, names: Sequence[str]) -> Iterable[str]:
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        yield f"{what}: {', '.join(names[:5])}{more}"


def _vectors(router: Router) -> dict[str, Floats | None]:
    """Return the utterances, each with its vector. None: the encoder gives prompts another one than utterances."""
    settings = router.config.embedder
    prefixes = prefixes_of(settings.model, settings.query_prefix, settings.passage_prefix)
    utterances = (text for route in router.config.routes.values() for text in route.utterances)
    if prefixes.query != prefixes.passage:
        return dict.fromkeys(utterances)
    return dict(zip(utterances, router.vectors, strict=True))


def _features(router: Router, texts: Sequence[str], known: Mapping[str, Floats | None]) -> Features:
    """Return features, and embed only what is not known."""
    there = {text: vector for text in texts if (vector := known.get(text)) is not None}
    new = [text for text in texts if text not in there]
    there |= zip(new, router.embedder.featurize(new).vectors, strict=True) if new else {}
    vectors = np.stack([there[text] for text in texts]) if texts else np.empty((0, router.embedder.dim), np.float32)
    return Features(vectors, router.embedder.tokens(texts))
