"""The map of utterances: what is near what, and that it is always the same."""

from __future__ import annotations

import numpy as np
import pytest

from semroute import Router
from semroute.learning import route_map
from semroute.learning.route_map import RouteMap, map_of, picture
from semroute.routing.scoring import Floats, Ints
from tests.learning.logs import write_folder

DIM = 32


def topics(routes: int, each: int, seed: int = 0) -> tuple[Floats, Ints, Floats]:
    """Vectors of utterances around a centre for each route, their routes, and the centres."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(routes, DIM))
    owners = np.repeat(np.arange(routes), each)
    return unit(centres[owners] + 0.6 * random.normal(size=(routes * each, DIM))), owners, unit(centres)


def unit(vectors: object) -> Floats:
    found = np.asarray(vectors, np.float32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("routes", [3, 12, 40])
def test_utterances_lie_near_their_own_route(routes: int) -> None:
    vectors, owners, centres = topics(routes, 10)
    made = RouteMap(vectors, owners)
    assert np.allclose(np.linalg.norm(made.anchors, axis=1), 1)
    apart = np.linalg.norm(made.points[:, None] - made.anchors[None], axis=2)
    assert (apart.argmin(axis=1) == owners).mean() > 0.95
    placed = np.linalg.norm(made.place(centres)[:, None] - made.anchors[None], axis=2)
    assert (placed.argmin(axis=1) == np.arange(routes)).all()


def test_what_resembles_no_route_lies_near_the_centre() -> None:
    vectors, owners, centres = topics(8, 10)
    made = RouteMap(vectors, owners)
    strangers = unit(np.random.default_rng(9).normal(size=(200, DIM)) - 20 * centres.mean(axis=0))
    far = np.linalg.norm(made.place(strangers), axis=1)
    assert np.median(far) < 0.3 < 0.7 < np.median(np.linalg.norm(made.points, axis=1))


def test_what_resembles_two_routes_lies_between_them() -> None:
    vectors, owners, centres = topics(2, 10)
    ((x, y),) = RouteMap(vectors, owners).place(unit(centres.sum(axis=0, keepdims=True)))
    assert abs(x) < 0.3
    assert abs(y) < 0.5


def test_similar_routes_are_neighbours() -> None:
    random = np.random.default_rng(1)
    groups = random.normal(size=(3, DIM)) * 2
    centres = np.repeat(groups, 3, axis=0) + random.normal(size=(9, DIM))
    order = random.permutation(9)  # so that the order of the files says nothing
    owners = np.repeat(np.arange(9), 6)
    vectors = unit(centres[order][owners] + 0.5 * random.normal(size=(54, DIM)))
    anchors = RouteMap(vectors, owners).anchors
    around = np.argsort(np.arctan2(anchors[:, 1], anchors[:, 0]))
    kinds = (order // 3)[around]
    assert sum(kinds[place] != kinds[place - 1] for place in range(9)) == 3


def test_the_same_utterances_give_the_same_map() -> None:
    vectors, owners, _ = topics(9, 7)
    first, second = RouteMap(vectors, owners), RouteMap(vectors.copy(), owners.copy())
    assert np.array_equal(first.points, second.points)
    assert np.array_equal(first.place(vectors[:3]), second.place(vectors[:3]))


@pytest.mark.parametrize("routes", [0, 1, 2, 5])
def test_routes_with_one_utterance_can_be_drawn(routes: int) -> None:
    made = RouteMap(np.eye(DIM, dtype=np.float32)[:routes], np.arange(routes))
    assert made.points.shape == (routes, 2)
    assert np.isfinite(made.points).all()
    assert np.isfinite(made.place(np.eye(DIM, dtype=np.float32)[-2:])).all()


def test_equal_utterances_can_be_drawn() -> None:
    vectors = np.repeat(np.eye(DIM, dtype=np.float32)[:1], 6, axis=0)
    assert np.isfinite(RouteMap(vectors, np.array([0, 0, 0, 1, 1, 1])).points).all()


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Router:
    return Router.load(write_folder(tmp_path_factory.mktemp("map") / "routes"))


def test_the_picture_names_each_utterance(router: Router) -> None:
    drawn = picture(router, map_of(router))
    assert drawn.config_version == router.config.version
    assert [(route.name, route.utterances) for route in drawn.routes] == [("weather", 3), ("sport", 3)]
    texts = {name: list(route.utterances) for name, route in router.config.routes.items()}
    for number, route in enumerate(drawn.routes):
        assert [point.text for point in drawn.points if point.route == number] == texts[route.name]


def test_many_utterances_are_thinned_out_evenly(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route_map, "MOST_POINTS", 4)
    drawn = picture(router, map_of(router))
    assert drawn.utterances == 6
    assert [point.route for point in drawn.points] == [0, 0, 1, 1]
    assert [point.text for point in drawn.points][:2] == ["will it rain tomorrow", "how cold is it outside"]
