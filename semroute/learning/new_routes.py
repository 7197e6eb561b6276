"""Find groups of prompts that deserve a route of their own, and groups that a route nearly takes.

Only prompts that no route takes with great confidence are looked at. A group is new if its members are clearly more
like each other than like any utterance. Otherwise it lies at the border of a route.

The limits are cosines of the embedded model. They were chosen on CLINC150's validation split: see `bench/suggest.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from semroute.learning.clusters import MOST, centrality, group
from semroute.routing.scoring import Floats, Ints

SURE = 0.95
"""Prompts that a route takes with at least this confidence are left out, unless feedback says that they went wrong."""
LOOSE_ALIKE, LOOSE_APART = 0.5, 0.28
ALIKE, APART = 0.62, 0.12
"""Groups have at least this mean similarity. The members of a new group are on average this much more like the rest of
the group than like the nearest utterance. Prompts far from all routes are grouped first, and more loosely, because
nothing known is near that could be mixed with them. With mean similarities of .42 and .55, .46 and .6, .5 and .62, .5
and .65, 11.3, 14.7, 16.3 and 16.0 of 20 routes came back.
"""
LEAST_NEW = 5
"""A new group has at least this many different prompts."""
LEAST_AT_BORDER = 3
"""A group at the border of a route has at least this many."""
AGREED = 0.8
"""The share of a group at a border whose best route is the same. Of its members, 80% belonged to that route."""
KNOWN_SHARE = 0.02
"""A group is not new if feedback names one route for more than this share of it. Little traffic has feedback."""

_WORD = re.compile(r"[^\W\d_]{2,}", re.UNICODE)


class Seen(NamedTuple):
    """Prompts, and how they compare with the routes. Each array has a row for each prompt."""

    vectors: Floats
    """float32 (n, dim), L2-normalised."""
    nearest: Floats
    """The similarity of the nearest utterance, whatever its route: float32 (n,). 0: there are no utterances."""
    best: Ints
    """The number of the best route. -1: there is none."""
    confidence: Floats
    labels: Ints
    """The number of the right route. -1: no route is right. -2: nobody said."""
    disliked: NDArray[np.bool_]


class Group(NamedTuple):
    """Prompts that are alike."""

    members: Ints
    """Row numbers, the most central first."""
    apart: float
    """How much more like each other than like the nearest utterance they are."""
    route: int
    """The route that feedback names for them, or else the best route of most. -1: there is none."""
    agreed: float
    """The share of members whose best route that is."""


class Groups(NamedTuple):
    """The groups among the prompts that are not sure."""

    new: list[Group]
    """Groups that deserve a route, the largest first."""
    border: list[Group]
    """Groups that one route nearly takes."""
    unsure: int
    """How many prompts were not sure."""
    grouped: int
    """How many of them were grouped: all, or a sample of `MOST`."""


def find_groups(seen: Seen, seed: int = 0) -> Groups:
    """Group the prompts that are not sure."""
    unsure = np.flatnonzero((seen.confidence < SURE) | seen.disliked)
    grouped = unsure
    if len(unsure) > MOST:
        grouped = np.sort(np.random.default_rng(seed).choice(unsure, MOST, replace=False))
    new = []
    rest = []
    for rows in group(seen.vectors[grouped], LOOSE_ALIKE):
        found, named = _group(seen, grouped[rows])
        if found.apart >= LOOSE_APART and not named and len(rows) >= LEAST_NEW:
            new.append(found)
        else:
            rest.append(grouped[rows])
    border = []
    left = np.sort(np.concatenate(rest)) if rest else grouped[:0]
    for rows in group(seen.vectors[left], ALIKE):
        if len(rows) < LEAST_AT_BORDER:
            break
        found, named = _group(seen, left[rows])
        if found.apart >= APART and not named and len(rows) >= LEAST_NEW:
            new.append(found)
        elif found.route >= 0 and (named or (found.apart < APART and found.agreed >= AGREED)):
            border.append(found)
    return Groups(sorted(new, key=lambda one: -len(one.members)), border, len(unsure), len(grouped))


def _group(seen: Seen, members: Ints) -> tuple[Group, bool]:
    """Return a group, and whether feedback names a route for it."""
    central = centrality(seen.vectors[members])
    named = Counter(seen.labels[members][seen.labels[members] >= 0].tolist()).most_common(1)
    voted = Counter(seen.best[members].tolist()).most_common(1)[0]
    known = bool(named) and named[0][1] > KNOWN_SHARE * len(members)
    route = int(named[0][0] if known else voted[0])
    apart = float((central - seen.nearest[members]).mean())
    agreed = float((seen.best[members] == route).mean())
    return Group(members[np.argsort(-central, kind="stable")], apart, route, agreed), known


def telling_words(texts: Sequence[str], others: Sequence[str], count: int = 3) -> list[str]:
    """Return the words that tell texts apart from others, the most telling first. Each is in a fifth of the texts.

    A word counts for how common it is among the texts, times the logarithm of how much more common that is than among
    the others.
    """
    inside, outside = _shares(texts), _shares(others)
    floor = 1 / (len(others) + 1)
    worth = {
        word: share * float(np.log(share / max(outside.get(word, 0.0), floor)))
        for word, share in inside.items()
        if share >= 0.2
    }
    ranked = sorted(worth, key=lambda word: -round(worth[word], 9))
    return [word for word in ranked if worth[word] > 0][:count]


def _shares(texts: Sequence[str]) -> dict[str, float]:
    """Return the share of texts that hold each word."""
    counts = Counter(word for text in texts for word in dict.fromkeys(_WORD.findall(text.lower())))
    return {word: count / len(texts) for word, count in counts.items()}


def name_for(words: Sequence[str], taken: Collection[str]) -> str:
    """Make a free route name of words. A name may only hold ASCII letters, digits, `-`, `_` and `.`."""
    parts = [part for word in words[:2] if (part := re.sub(r"[^a-z0-9]", "", word.lower()))]
    stem = "-".join(parts)[:60] or "suggested"
    numbered = (f"{stem}-{number}" for number in range(2, len(taken) + 3))
    return stem if stem not in taken else next(name for name in numbered if name not in taken)
