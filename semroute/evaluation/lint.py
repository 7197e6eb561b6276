"""Find problems in utterances: two that collide, one in the wrong route, routes without variety.

Pure: arrays and names in, problems out. The limits are cosines of the embedded model. They were read off the 150 routes
of CLINC150's 10-shot split, at the points where the reports begin to be right. The shipped routes have no finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from semroute.bases import Frozen
from semroute.config.config import Config, WrittenAt
from semroute.config.error_wording import quote, words
from semroute.config.problems import problem_at
from semroute.errors import Problem
from semroute.evaluation.held_out_scores import Floats, Rows, cross_fitted, nearest_by_route, similarities

COLLISION = 0.85
"""Two utterances of different routes that are more similar than this ask for the same thing in other words: "how many
vacation days have I used" and "… do I have". CLINC150 has 19 such pairs among 1,500 utterances. At .80 it has 65, and a
reader easily tells half of them apart."""
NEAR_DUPLICATE = 0.96
"""Two utterances of one route that are more similar than this differ by a "please" or an article. The second teaches
almost nothing. CLINC150 has 24 such pairs. At .92 it has 96, which are paraphrases, and paraphrases are welcome."""
MISPLACED_GAP = 0.10
"""How much more an utterance looks like another route than like the rest of its own. Smaller gaps are common between
neighbouring routes. With MISPLACED_SIMILARITY, 17 of CLINC150's 1,500 utterances are over this gap."""
MISPLACED_SIMILARITY = 0.70
"""How similar to an utterance of the other route it must also be. Below this, the utterance is only unlike everything,
which is normal in varied routes. The shipped routes have 17 utterances over the gap, and none over this similarity."""
UNIFORM = 0.82
"""The mean similarity of all pairs in a route. The routes of CLINC150 hold paraphrases of one request: their median is
.66, and 3 of the 150 exceed .82. The shipped routes lie below .40."""
UNIFORM_UTTERANCES = 4
"""Routes with fewer utterances are not checked: another check reports that they are few."""
DESCRIPTION_GAP = 0.10
"""How much nearer a description must be to another route's utterances than to those of its own."""
UNREACHED = 3
"""Routes with fewer utterances are not checked. None of them may look like its own route by mere chance."""


class Corpus(Frozen, frozen=True, kw_only=True):
    """The utterances and descriptions of a configuration, as vectors."""

    config: Config
    vectors: Floats
    """The utterances in the order of `config.routes`: float32 (n, dim), L2-normalised."""
    descriptions: Floats
    """float32 (routes, dim), L2-normalised; zeros for a route without one."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the routes."""
        return tuple(self.config.routes)

    @property
    def owners(self) -> Rows:
        """The route of each utterance, as a number: int64 (n,)."""
        counts = [len(route.utterances) for route in self.config.routes.values()]
        return np.repeat(np.arange(len(counts)), counts).astype(np.int64)


def lint(corpus: Corpus) -> list[Problem]:
    """Return every warning about the utterances, in the order of the files."""
    if not len(corpus.vectors):
        return []
    places = _Places(corpus)
    nearest, rows = nearest_by_route(corpus.vectors, corpus.owners)
    scores = cross_fitted(corpus.vectors, corpus.owners)
    collisions = _collisions(corpus)
    found = [
        *_report_collisions(places, collisions),
        *_near_duplicates(corpus, places),
        *_misplaced(places, scores, nearest, rows, {(a, places.owner(b)) for _, a, b in collisions}),
        *_uniform(corpus, places),
        *_unreached(places, scores),
        *_descriptions(corpus, places),
    ]
    return sorted(found, key=lambda problem: (problem.file, problem.line))


class _Places:
    """Looks up the text and the place of each row."""

    def __init__(self, corpus: Corpus) -> None:
        self.names = corpus.names
        self.owners = corpus.owners
        self._sources = corpus.config.sources
        routes = corpus.config.routes.values()
        self.texts = [utterance for route in routes for utterance in route.utterances]
        self._keys = [f"routes.{route.name}.utterances[{i}]" for route in routes for i in range(len(route.utterances))]

    def owner(self, row: int) -> int:
        return int(self.owners[row])

    def name(self, row: int) -> str:
        return self.names[self.owner(row)]

    def where(self, row: int) -> str:
        source = self._source(self._keys[row])
        return f"{source.file}:{source.line}"

    def at_row(self, row: int, code: str, severity: str, message: str, suggestion: str) -> Problem:
        return self.at(self._keys[row], code, severity, message, suggestion)

    def at(self, key: str, code: str, severity: str, message: str, suggestion: str) -> Problem:
        return problem_at(self._source(key), message, severity, code, suggestion)

    def _source(self, key: str) -> WrittenAt:
        return self._sources.get(key) or WrittenAt(file="routes", line=0)


def _collisions(corpus: Corpus) -> list[tuple[float, int, int]]:
    """Return pairs of utterances of different routes that are too similar.

    Each pair comes in both directions, the most similar first.
    """
    owners = corpus.owners
    pairs = []
    for first, block in similarities(corpus.vectors):
        for a, b in np.argwhere(block >= COLLISION):
            if owners[first + a] != owners[b]:
                pairs.append((float(block[a, b]), first + int(a), int(b)))
    return sorted(pairs, reverse=True)


def _report_collisions(places: _Places, collisions: list[tuple[float, int, int]]) -> Iterator[Problem]:
    """Report one problem for each two routes: their most similar pair, and how many more there are."""
    forward = [pair for pair in collisions if pair[1] < pair[2]]
    count = Counter((places.owner(a), places.owner(b)) for _, a, b in forward)
    for similarity, a, b in forward:
        more = count.pop((places.owner(a), places.owner(b)), 0) - 1
        if more < 0:
            continue
        others = f", and {more} more pair{'s' * (more != 1)} of these routes" if more else ""
        yield places.at_row(
            b,
            "collision",
            "warning",
            f"{quote(places.texts[b])} of `{places.name(b)}` collides with {quote(places.texts[a])} of "
            f"`{places.name(a)}` at {places.where(a)} (similarity {similarity:.2f}){others}",
            "reword one of them, move it to the other route, or merge the routes",
        )


def _near_duplicates(corpus: Corpus, places: _Places) -> Iterator[Problem]:
    """Report each utterance that nearly repeats an earlier one of its route."""
    owners = corpus.owners
    for first, block in similarities(corpus.vectors):
        block[owners[first : first + len(block), None] != owners] = -1
        for row, line in enumerate(block, start=first):
            earlier = int(line[: row + 1].argmax())
            if line[earlier] >= NEAR_DUPLICATE and not _same(places.texts[earlier], places.texts[row]):
                yield places.at_row(
                    row,
                    "near-duplicate",
                    "info",
                    f"{quote(places.texts[row])} nearly repeats {quote(places.texts[earlier])} at "
                    f"{places.where(earlier)} (similarity {line[earlier]:.2f})",
                    "keep one, and replace the other by a different wording",
                )


def _same(a: str, b: str) -> bool:
    """Return whether the check of the files already reports them."""
    return words(a) == words(b)


def _misplaced(
    places: _Places, scores: Floats, nearest: Floats, rows: Rows, collided: set[tuple[int, int]]
) -> Iterator[Problem]:
    """Report utterances that look like another route.

    Utterances that collide with that route are reported already, so they are left out. The only utterance of a route
    cannot be compared with others of its route.
    """
    best = scores.argmax(axis=1)
    every = np.arange(len(scores))
    gaps = scores[every, best] - scores[every, places.owners]
    alone = np.bincount(places.owners)[places.owners] == 1
    doubtful = (gaps >= MISPLACED_GAP) & (nearest[every, best] >= MISPLACED_SIMILARITY) & ~alone
    for row in np.flatnonzero(doubtful):
        other = int(best[row])
        if (int(row), other) in collided:
            continue
        near = int(rows[row, other])
        yield places.at_row(
            int(row),
            "misplaced",
            "warning",
            f"{quote(places.texts[row])} looks more like `{places.names[other]}` than like the rest of "
            f"`{places.name(int(row))}`: nearest is {quote(places.texts[near])} at {places.where(near)} "
            f"(similarity {nearest[row, other]:.2f})",
            f"move it to `{places.names[other]}`, or give `{places.name(int(row))}` more utterances like it",
        )


def _uniform(corpus: Corpus, places: _Places) -> Iterator[Problem]:
    """Report routes whose utterances are all alike: |sum of n unit vectors|² = n + the sum over ordered pairs."""
    for number, name in enumerate(places.names):
        vectors = corpus.vectors[corpus.owners == number]
        n = len(vectors)
        if n < UNIFORM_UTTERANCES:
            continue
        mean = (float(np.square(vectors.sum(axis=0)).sum()) - n) / (n * (n - 1))
        if mean >= UNIFORM:
            yield places.at(
                f"routes.{name}.utterances",
                "uniform",
                "warning",
                f"the {n} utterances of `{name}` are all alike (mean similarity {mean:.2f})",
                "add utterances that differ in length, in words and in what they ask for, as those of your users do",
            )


def _unreached(places: _Places, scores: Floats) -> Iterator[Problem]:
    """Report routes that take none of their own utterances once these are held out."""
    best = scores.argmax(axis=1)
    for number, name in enumerate(places.names):
        own = np.flatnonzero(places.owners == number)
        if len(own) < UNREACHED or (best[own] == number).any():
            continue
        winner = Counter(int(other) for other in best[own]).most_common(1)[0][0]
        yield places.at(
            f"routes.{name}",
            "unreachable",
            "warning",
            f"each of the {len(own)} utterances of `{name}` looks more like another route than like the rest of "
            f"its own, most often like `{places.names[winner]}`",
            "add utterances that resemble each other, or merge the routes",
        )


def _descriptions(corpus: Corpus, places: _Places) -> Iterator[Problem]:
    """Report descriptions that fit another route better than their own."""
    sums = np.stack([corpus.vectors[corpus.owners == number].sum(axis=0) for number in range(len(places.names))])
    likeness = corpus.descriptions @ (sums / np.linalg.norm(sums, axis=1, keepdims=True).clip(1e-12)).T
    for number, name in enumerate(places.names):
        other = int(likeness[number].argmax())
        gap = likeness[number, other] - likeness[number, number]
        if corpus.descriptions[number].any() and gap >= DESCRIPTION_GAP:
            yield places.at(
                f"routes.{name}.description",
                "description",
                "warning",
                f"the description of `{name}` fits the utterances of `{places.names[other]}` better "
                f"(similarity {likeness[number, other]:.2f}, its own {likeness[number, number]:.2f})",
                "describe what its utterances ask for, or correct the utterances",
            )
