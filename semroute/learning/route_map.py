"""A map of utterances in two dimensions. Prompts can be put on it.

Each route has a place on a circle, beside the routes that it resembles. A text is drawn to each route in proportion to
how much it resembles the utterances of that route, and to the centre if it resembles none. So the map shows whether a
text belongs to one route, lies between two, or belongs to none. Distances along the circle mean little.

Texts that are drawn alike would hide each other. So each is moved a little, in two directions in which texts of one
route differ most.

The idea is that of RadViz (Hoffman et al. 1997). Projections on straight axes show less, because two axes cannot hold
many routes apart: with 20 routes of CLINC150, the five nearest points of the map name the right route for .95 of new
prompts, and for .61 after a linear discriminant analysis (`bench/libraries.py map`).

The same utterances always give the same map.
"""

from __future__ import annotations

import numpy as np

from semroute.bases import Frozen
from semroute.router import Router
from semroute.routing.scoring import Doubles, Floats, Ints

MOST_POINTS = 2000
"""The most utterances that the map shows. Of more, each route shows its share, evenly over its list."""
OUTSIDERS = 0.05
"""This share of the utterances resembles its own route so little that the centre draws it more."""
OWN_DRAW = 0.8
"""How strongly an utterance is drawn to its own route on average, as a share of all draws."""
CLOUD = 0.15
"""How far the utterances of a route are spread around it, as a share of the way to the next route."""
NARROW, WIDE = 0.01, 0.5
"""How sharp the map may be. A difference of similarities of this size makes one draw e times the other."""


class MapRoute(Frozen, frozen=True, kw_only=True):
    """A route on the map."""

    name: str
    x: float
    """From -1 to 1. The centre of the map is at 0, 0."""
    y: float
    utterances: int
    """How many it has. The map may show fewer."""


class MapPoint(Frozen, frozen=True, kw_only=True):
    """An utterance on the map."""

    route: int
    """The number of its route in the list of routes."""
    x: float
    y: float
    text: str


class MapPicture(Frozen, frozen=True, kw_only=True):
    """All that a page needs to draw the map."""

    config_version: str
    routes: tuple[MapRoute, ...]
    points: tuple[MapPoint, ...]
    utterances: int
    """How many there are. More than the points: the map shows a part of them."""


class RouteMap:
    """The map of one router's utterances. Immutable."""

    def __init__(self, vectors: Floats, owners: Ints) -> None:
        """`vectors`: of the utterances, float32 (n, dim), L2-normalised. `owners`: the number of each one's route.

        Numbers begin at 0, and each has an utterance. It takes time in n.
        """
        routes = int(owners.max()) + 1 if len(owners) else 0
        sums = np.zeros((routes, vectors.shape[1]), np.float32)
        np.add.at(sums, owners, vectors)
        self._centres = _unit(sums)
        self.anchors = _on_circle(self._centres)
        """The places of the routes: float64 (routes, 2)."""
        similarities = vectors @ self._centres.T
        rows = np.arange(len(owners))
        # An utterance is compared with the others of its route, because a new prompt is no part of the centre either.
        others = sums[owners] - vectors
        alone = np.bincount(owners, minlength=routes)[owners] == 1
        similarities[rows, owners] = np.where(alone, 1.0, (_unit(others) * vectors).sum(axis=1))
        own = similarities[rows, owners]
        self._outside = float(np.quantile(own, OUTSIDERS)) if len(own) else 0.0
        self._sharpness = self._fit(similarities, owners)
        self._cloud = self._spread(vectors - self._centres[owners])
        self.points = self._placed(vectors, similarities)
        """The places of the utterances: float64 (n, 2)."""

    def place(self, vectors: Floats) -> Doubles:
        """Return the places of texts: float64 (n, 2). `vectors`: float32 (n, dim), L2-normalised."""
        return self._placed(vectors, vectors @ self._centres.T)

    def _placed(self, vectors: Floats, similarities: Floats) -> Doubles:
        draws = self._draws(similarities, self._sharpness)
        moved = np.tanh((vectors - draws.astype(np.float32) @ self._centres) @ self._cloud)
        apart = min(1.0, 2 * np.sin(np.pi / max(2, len(self.anchors))))
        return np.asarray(draws @ self.anchors + 2 * CLOUD * apart * moved, np.float64)

    def _spread(self, residuals: Floats) -> Floats:
        """Return two directions in which texts of one route differ most, scaled: float32 (dim, 2)."""
        found = np.zeros((residuals.shape[1], 2), np.float32)
        if len(residuals) > 2:
            variances, vectors = np.linalg.eigh(residuals.T @ residuals / len(residuals))
            signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(vectors))])
            scales = 2 * np.sqrt(np.maximum(variances[:-3:-1], 1e-6))
            found[:] = (vectors * signs)[:, :-3:-1] / scales
        return found

    def _fit(self, similarities: Floats, owners: Ints) -> float:
        """Return how sharp the map must be so that utterances are drawn to their own routes by `OWN_DRAW`."""
        low, high = NARROW, WIDE
        rows = np.arange(len(owners))
        for _ in range(20):
            middle = (low + high) / 2
            drawn = self._draws(similarities, middle)[rows, owners].mean() if len(owners) else 0.0
            low, high = (middle, high) if drawn > OWN_DRAW else (low, middle)
        return (low + high) / 2

    def _draws(self, similarities: Floats, sharpness: float) -> Doubles:
        """Return the share with which each route draws each text. The centre has the rest."""
        scaled = similarities.astype(np.float64) / sharpness
        centre = np.full((len(scaled), 1), self._outside / sharpness)
        highest = np.maximum(scaled.max(axis=1, keepdims=True, initial=-np.inf), centre)
        draws = np.exp(scaled - highest)
        return np.asarray(draws / (draws.sum(axis=1, keepdims=True) + np.exp(centre - highest)), np.float64)


def picture(router: Router, route_map: RouteMap) -> MapPicture:
    """Return what a page needs to draw the map of a router."""
    routes = list(router.config.routes.values())
    total = sum(len(route.utterances) for route in routes)
    every = max(1.0, total / MOST_POINTS)
    points: list[MapPoint] = []
    first = 0
    for number, route in enumerate(routes):
        shown = np.arange(0, len(route.utterances), every).astype(int)
        for place in shown:
            x, y = route_map.points[first + place]
            points.append(MapPoint(route=number, x=_rounded(x), y=_rounded(y), text=route.utterances[place]))
        first += len(route.utterances)
    return MapPicture(
        config_version=router.config.version,
        routes=tuple(
            MapRoute(name=route.name, x=_rounded(x), y=_rounded(y), utterances=len(route.utterances))
            for route, (x, y) in zip(routes, route_map.anchors, strict=True)
        ),
        points=tuple(points),
        utterances=total,
    )


def map_of(router: Router) -> RouteMap:
    """Return the map of a router. It takes a tenth of a second for 15,000 utterances, so do not call it on the event
    loop.
    """
    counts = [len(route.utterances) for route in router.config.routes.values()]
    return RouteMap(router.vectors, np.repeat(np.arange(len(counts)), counts))


def _on_circle(centres: Floats) -> Doubles:
    """Return places on the circle with radius 1, so that similar routes are neighbours: float64 (routes, 2).

    The order is that of the angles in the second and third eigenvectors of the normalised graph Laplacian of the
    similarities (Shi and Malik 2000).
    """
    count = len(centres)
    if count > 3:  # with fewer, every order is the same
        weights = np.exp((centres @ centres.T).astype(np.float64) / 0.1)
        np.fill_diagonal(weights, 0)
        roots = np.sqrt(weights.sum(axis=1))
        _, vectors = np.linalg.eigh(np.eye(count) - weights / np.outer(roots, roots))
        flat = vectors[:, 1:3]
        flat = flat * np.sign(flat[np.abs(flat).argmax(axis=0), [0, 1]])  # either sign is an eigenvector
        order = np.argsort(np.arctan2(flat[:, 1], flat[:, 0]), kind="stable")
    else:
        order = np.arange(count)
    angles = np.empty(count)
    angles[order] = 2 * np.pi * np.arange(count) / max(count, 1)
    return np.column_stack((np.sin(angles), np.cos(angles)))


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)


def _rounded(value: float) -> float:
    return round(float(value), 4)
