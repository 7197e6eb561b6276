"""Suggest changes of route files from logged prompts: utterances, routes, negatives, routes to merge.

`suggest` takes the prompts of a log as `semroute.learning.logged_prompts` collects them, with what today's routes say
of each. It changes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np

from semroute.bases import Frozen
from semroute.config.config import WrittenAt
from semroute.config.error_wording import words
from semroute.learning.clusters import varied
from semroute.learning.logged_prompts import Prompt
from semroute.learning.new_routes import SURE, Group, Seen, find_groups, name_for, telling_words
from semroute.router import Router
from semroute.routing.difficulty import Reading
from semroute.routing.scoring import Floats

MOST_ADDED = 5
"""The most utterances that are suggested for a route at once."""
OF_A_BORDER = 2
"""How many prompts of a group at a border are suggested: the most central ones."""
SHOWN = 10
"""How many utterances a suggested route has."""
LEAST_WRONG = 2
"""An utterance pulls wrongly if it drew at least this many prompts to the wrong route, and fewer to the right one."""
CLOSE = 0.1
"""Two routes compete for a prompt if the second has a confidence at most this far behind."""
LEAST_COMPARED, MERGED_SHARE = 10, 0.25
"""Two routes may be one if they have at least this many prompts and this share of them is confused or contested."""
MAX_CHARS = 300
"""A longer text is no utterance."""


class AddedUtterance(Frozen, frozen=True, kw_only=True):
    """An utterance to add to a route."""

    route: str
    text: str
    kind: Literal["corrected", "uncertain", "border"]
    """`corrected`: feedback names this route, and another was taken. `uncertain`: this route is right, but with little
    confidence. `border`: nobody said. Read it before you add it."""
    reason: str
    requests: int
    """How many requests it stands for."""


class PullingUtterance(Frozen, frozen=True, kw_only=True):
    """An utterance that draws prompts to the wrong route."""

    route: str
    text: str
    file: str
    line: int
    wrong: int
    """Prompts that it was nearest to, and that went to its route but should not."""
    right: int
    """Prompts that it was nearest to, and that went to its route rightly."""
    belong_to: dict[str, int]
    """Where the wrong ones belong. Empty text: to no route, or nobody said."""
    example: str


class NewRoute(Frozen, frozen=True, kw_only=True):
    """A route to add."""

    name: str
    description: str
    utterances: tuple[str, ...]
    words: tuple[str, ...]
    """What tells its prompts from all others."""
    texts: tuple[str, ...]
    """All its prompts, the most central first."""
    prompts: int
    """How many different prompts are in the group."""
    requests: int
    apart: float
    """How much more like each other than like the nearest utterance they are: a difference of cosines."""
    now: dict[str, int]
    """How many of the prompts each route takes today. Empty text: the default."""


class Merge(Frozen, frozen=True, kw_only=True):
    """Two routes that may be one."""

    routes: tuple[str, str]
    prompts: int
    """Prompts with feedback for one of the two, or whose best route is one of the two."""
    confused: int
    """How many of them feedback says went to the other one."""
    contested: int
    """How many of them nearly went to the other one."""
    same_models: bool
    """Whether both have the same models, so that merging them changes no answer."""
    example: str


class Negative(Frozen, frozen=True, kw_only=True):
    """A prompt that a route takes, though feedback says that none should."""

    text: str
    route: str
    requests: int


class Suggestions(Frozen, frozen=True, kw_only=True):
    """All suggestions."""

    utterances: tuple[AddedUtterance, ...]
    pulling: tuple[PullingUtterance, ...]
    routes: tuple[NewRoute, ...]
    merges: tuple[Merge, ...]
    negatives: tuple[Negative, ...]
    unsure: int
    """Prompts that no route takes with a confidence of at least .95, or with bad feedback."""
    grouped: int
    """How many of these were compared with each other. If they are fewer, they are a random sample."""


def suggest(router: Router, prompts: Sequence[Prompt], readings: Sequence[Reading], seed: int = 0) -> Suggestions:
    """Suggest changes. `readings`: what the router says of each prompt."""
    judged = [_Judged(router, prompt, reading) for prompt, reading in zip(prompts, readings, strict=True)]
    seen = _seen(router, judged)
    groups = find_groups(seen, seed)
    known = {words(text) for route in router.config.routes.values() for text in route.utterances}
    return Suggestions(
        utterances=tuple(_added(router, judged, groups.border, known)),
        pulling=tuple(_pulling(router, judged)),
        routes=tuple(_new_routes(router, judged, groups.new, seen.vectors, known)),
        merges=tuple(_merges(router, judged)),
        negatives=tuple(_negatives(judged)),
        unsure=groups.unsure,
        grouped=groups.grouped,
    )


class _Judged:
    """A prompt beside what today's routes say of it."""

    def __init__(self, router: Router, prompt: Prompt, reading: Reading) -> None:
        self.prompt, self.text, self.vector = prompt, prompt.text, reading.embedding
        self.candidates = reading.match.candidates
        self.taken = router.choose_semantic(reading.match).route or ""
        """The route that it takes. Empty: the default."""
        label = prompt.label
        self.right = label is not None and label == self.taken
        self.wrong = (label is not None and label != self.taken) or self.taken in prompt.disliked

    @property
    def best(self) -> str:
        return self.candidates[0].route if self.candidates else ""

    @property
    def confidence(self) -> float:
        return self.candidates[0].confidence if self.candidates else 0.0

    @property
    def utterable(self) -> bool:
        return len(self.text) <= MAX_CHARS


def _seen(router: Router, judged: Sequence[_Judged]) -> Seen:
    numbers = {name: number for number, name in enumerate(router.config.routes)}
    vectors = np.array([one.vector for one in judged], np.float32).reshape(len(judged), router.embedder.dim)
    nearest = np.zeros(len(judged), np.float32)
    for start in range(0, len(vectors) if len(router.vectors) else 0, 1024):
        nearest[start : start + 1024] = (vectors[start : start + 1024] @ router.vectors.T).max(axis=1)
    labels = [-2 if one.prompt.label is None else numbers.get(one.prompt.label, -1) for one in judged]
    return Seen(
        vectors,
        nearest,
        np.array([numbers.get(one.best, -1) for one in judged], np.int64),
        np.array([one.confidence for one in judged], np.float32),
        np.array(labels, np.int64),
        np.array([one.taken in one.prompt.disliked for one in judged], bool),
    )


def _added(router: Router, judged: Sequence[_Judged], border: Sequence[Group], known: set[str]) -> list[AddedUtterance]:
    """Return utterances to add, by route in the order of the files: corrected ones first, then those least sure."""
    by_route: defaultdict[str, list[tuple[tuple[int, float], AddedUtterance]]] = defaultdict(list)
    for one in judged:
        label = one.prompt.label
        if label and (one.taken != label or one.confidence < SURE):
            wrong = one.taken != label
            told = f"{one.prompt.labels} times feedback" if one.prompt.labels > 1 else "feedback"
            reason = (
                f"{told} names this route; {f'`{one.taken}`' if one.taken else 'the default'} takes it"
                if wrong
                else f"{told} confirms this route, which has a confidence of only {one.confidence:.2f}"
            )
            added = _addition(one, label, "corrected" if wrong else "uncertain", reason)
            by_route[label].append(((0, one.confidence if one.best == label else -1.0), added))
    names = tuple(router.config.routes)
    for found in border:
        route, size = names[found.route], len(found.members)
        reason = f"one of {size} prompts that are alike; the best route of {found.agreed:.0%}, but without confidence"
        requests = sum(judged[row].prompt.requests for row in found.members)
        free = [judged[row] for row in found.members if judged[row].prompt.label is None]
        for one in free[:OF_A_BORDER]:
            by_route[route].append(((1, -requests), _addition(one, route, "border", reason)))
    found_now = []
    for name in names:
        ranked = sorted(by_route[name], key=lambda pair: (pair[0], pair[1].text))
        fresh = [added for _, added in ranked if words(added.text) not in known and len(added.text) <= MAX_CHARS]
        found_now += fresh[:MOST_ADDED]
    return found_now


def _addition(
    one: _Judged, route: str, kind: Literal["corrected", "uncertain", "border"], reason: str
) -> AddedUtterance:
    return AddedUtterance(route=route, text=one.text, kind=kind, reason=reason, requests=one.prompt.requests)


def _pulling(router: Router, judged: Sequence[_Judged]) -> list[PullingUtterance]:
    """Return the utterances that draw more prompts wrongly than rightly, the worst first."""
    drawn: defaultdict[tuple[str, str], list[_Judged]] = defaultdict(list)
    for one in judged:
        if (one.right or one.wrong) and one.taken and one.taken == one.best:
            nearest = one.candidates[0].nearest
            if nearest is not None:
                drawn[one.taken, nearest.utterance].append(one)
    found = []
    for (route, text), prompts in drawn.items():
        wrong = [one for one in prompts if one.wrong]
        right = len(prompts) - len(wrong)
        if len(wrong) >= LEAST_WRONG and len(wrong) > right:
            place = router.config.routes[route].utterances.index(text)
            where = router.config.sources.get(f"routes.{route}.utterances[{place}]") or WrittenAt(file="routes", line=0)
            found.append(
                PullingUtterance(
                    route=route,
                    text=text,
                    file=where.file,
                    line=where.line,
                    wrong=len(wrong),
                    right=right,
                    belong_to=dict(Counter(one.prompt.label or "" for one in wrong).most_common()),
                    example=wrong[0].text,
                )
            )
    return sorted(found, key=lambda one: (one.right - one.wrong, one.route, one.text))


def _new_routes(
    router: Router, judged: Sequence[_Judged], groups: Sequence[Group], vectors: Floats, known: set[str]
) -> list[NewRoute]:
    taken = {*router.config.routes, *router.config.models}
    found: list[NewRoute] = []
    for one in groups:
        members = [judged[row] for row in one.members]
        usable = [row for row in one.members if judged[row].utterable and words(judged[row].text) not in known]
        if not usable:
            continue
        inside = set(one.members.tolist())
        others = [each.text for row, each in enumerate(judged) if row not in inside]
        telling = telling_words([each.text for each in members], others)
        name = name_for(telling, taken)
        taken.add(name)
        chosen = [judged[usable[place]] for place in varied(vectors[usable], SHOWN)]
        example = chosen[0].text
        about = f"Prompts about {_listed(telling)}, such as: {example}" if telling else f"Prompts such as: {example}"
        found.append(
            NewRoute(
                name=name,
                description=about,
                utterances=tuple(each.text for each in chosen),
                words=tuple(telling),
                texts=tuple(each.text for each in members),
                prompts=len(members),
                requests=sum(each.prompt.requests for each in members),
                apart=round(one.apart, 3),
                now=dict(Counter(each.taken for each in members).most_common()),
            )
        )
    return sorted(found, key=lambda route: -route.requests)


def _listed(telling: Sequence[str]) -> str:
    *first, last = telling
    return f"{', '.join(first)} and {last}" if first else last


def _merges(router: Router, judged: Sequence[_Judged]) -> list[Merge]:
    """Return pairs of routes that feedback confuses in both directions, or that often compete for a prompt."""
    concerned: Counter[str] = Counter()
    confused: Counter[tuple[str, str]] = Counter()
    contested: Counter[frozenset[str]] = Counter()
    examples: dict[frozenset[str], str] = {}
    for one in judged:
        at_home = one.prompt.label or (one.best if one.prompt.label is None else "")
        concerned[at_home] += 1
        if one.prompt.label and one.taken and one.wrong:
            confused[one.prompt.label, one.taken] += 1
            examples.setdefault(frozenset((one.prompt.label, one.taken)), one.text)
        elif one.taken and len(one.candidates) > 1 and one.confidence - one.candidates[1].confidence < CLOSE:
            pair = frozenset((one.best, one.candidates[1].route))
            contested[pair] += 1
            examples.setdefault(pair, one.text)
    found = []
    for pair in {*map(frozenset, confused), *contested}:
        first, second = sorted(pair, key=list(router.config.routes).index)
        there, back = confused[first, second], confused[second, first]
        prompts = concerned[first] + concerned[second]
        both_ways = there + back if there and back else 0
        if prompts >= LEAST_COMPARED and both_ways + contested[pair] >= MERGED_SHARE * prompts:
            routes = router.config.routes
            found.append(
                Merge(
                    routes=(first, second),
                    prompts=prompts,
                    confused=there + back,
                    contested=contested[pair],
                    same_models=routes[first].models == routes[second].models,
                    example=examples[pair],
                )
            )
    return sorted(found, key=lambda one: (-(one.confused + one.contested), one.routes))


def _negatives(judged: Sequence[_Judged]) -> list[Negative]:
    wrongly = [one for one in judged if one.prompt.label == "" and one.taken and one.utterable]
    return [Negative(text=one.text, route=one.taken, requests=one.prompt.requests) for one in wrongly]
