from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from semroute.errors import EmbedderError
from semroute.routing.scoring import Floats, together
from semroute.semantic import background
from semroute.semantic.array_cache import Cache
from semroute.semantic.background import Background, choose, compare, fit_rivals, numbered, open_background, prompts
from semroute.semantic.embedder import Features, OnnxEmbedder

DIM = 32


class Directions:
    """An embedder of which nothing is shipped: each word has a direction of its own."""

    name, dim, fingerprint = "directions", DIM, "0123456789abcdef"

    def __init__(self) -> None:
        self.embedded = 0

    def featurize(self, texts: Sequence[str], *, passages: bool = False) -> Features:
        self.embedded += len(texts)
        vectors = np.zeros((len(texts), DIM), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for word in text.split():
                vector += np.random.default_rng([*word.encode()]).normal(size=DIM).astype(np.float32)
        return Features(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), self.tokens(texts))

    def embed(self, texts: Sequence[str]) -> Floats:
        return self.featurize(texts).vectors

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        return [[len(word) for word in text.split()] for text in texts]

    def count_tokens(self, text: str) -> int:
        return len(text.split())


@pytest.fixture(scope="module")
def embedder() -> OnnxEmbedder:
    return OnnxEmbedder(threads=1)


def world(kinds: int, each: int, noise: float, seed: int = 0) -> Background:
    """Intents as directions with noise."""
    chance = np.random.default_rng(seed)
    middles = chance.normal(size=(kinds, DIM))
    intents = np.repeat(np.arange(kinds), each)
    vectors = middles[intents] + chance.normal(size=(len(intents), DIM)) * noise
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    texts = tuple(f"{intent} {number}" for number, intent in enumerate(intents))
    return Background(texts, intents, tuple(map(str, range(kinds))), unit, fit_rivals(unit, intents))


def test_the_shipped_vectors_are_those_of_the_embedded_model(embedder: OnnxEmbedder) -> None:
    """If this fails, the embedded model has changed: run `bench/make_background.py`."""
    opened = open_background(embedder)
    texts, intents = prompts()
    assert opened.texts == texts
    assert len(texts) > 9000
    assert opened.rivals.shape == (embedder.dim + 1, len(set(intents)))
    rows = list(range(0, len(texts), 500))
    cosines = (opened.vectors[rows] * embedder.embed([texts[row] for row in rows])).sum(axis=1)
    assert cosines.min() > 0.999
    assert open_background(embedder) is not opened  # 20 MB that only training needs are not kept


def test_rivals_know_their_intents(embedder: OnnxEmbedder) -> None:
    opened = open_background(embedder)
    vectors = embedder.embed(["kindly turn the lamp in the hall off", "who is the singer of that tune"])
    best = (vectors @ opened.rivals[:-1] + opened.rivals[-1]).argmax(axis=1)
    assert [opened.names[intent] for intent in best] == ["home.lights", "media.identify"]


def test_what_a_route_is_about_is_no_rival() -> None:
    around = world(kinds=12, each=20, noise=0.4)
    # A tight route is what intent 3 is about, and a wide one takes in 5, 6 and 7.
    tight, wide = around.vectors[60:64], around.vectors[[100, 101, 105, 120, 122, 128, 140, 142, 145]]
    owners = np.repeat([0, 1], [len(tight), len(wide)])
    chosen = choose(around, np.vstack((tight, wide)), owners)
    assert set(range(12)) - set(chosen.rivals.tolist()) == {3, 5, 6, 7}
    assert not set(around.intents[chosen.rows].tolist()) & {3, 5, 6, 7}
    _, own = compare(around, np.vstack((tight, wide)), owners)
    assert np.argwhere(own).tolist() == [[3, 0], [5, 1], [6, 1], [7, 1]]


def test_a_prompt_that_is_almost_an_utterance_is_left_out_alone() -> None:
    around = world(kinds=6, each=20, noise=0.7)
    # One utterance of intent 2 among those of others does not make the route one about intent 2.
    chosen = choose(around, around.vectors[[40, 0, 20, 60]], np.array([0, 1, 2, 3]))
    assert 40 not in chosen.rows
    assert {41, 42, 43} <= set(chosen.rows.tolist())


def test_rivals_and_prompts_are_matched() -> None:
    around = world(kinds=6, each=10, noise=0.3)
    beside = choose(around, around.vectors[:4], np.zeros(4, np.int64)).beside(around)
    assert beside.weights.shape == (DIM + 1, 5)
    assert set(beside.intents.tolist()) == {1, 2, 3, 4, 5}
    assert (beside.own == beside.intents - 1).all()
    best = beside.logits(around.vectors[10:]).argmax(axis=1)
    assert (best + 1 == around.intents[10:]).mean() > 0.95


def test_a_negative_is_a_rival_of_its_own() -> None:
    around = world(kinds=6, each=10, noise=0.3)
    beside = choose(around, around.vectors[:4], np.zeros(4, np.int64)).beside(around)
    more = beside.with_negatives(around.vectors[[5, 20]])
    assert more.weights.shape == (DIM + 1, beside.weights.shape[1] + 2)
    assert more.own[-2:].tolist() == [5, 6]
    logits = more.logits(around.vectors[[5, 20]])
    np.testing.assert_allclose([logits[0, 5], logits[1, 6]], 12, rtol=1e-4)
    assert logits[0, 6] < 4


def test_routes_about_everything_leave_no_rival() -> None:
    around = world(kinds=3, each=10, noise=0.3)
    chosen = choose(around, around.vectors, around.intents)
    assert len(chosen.rivals) == len(chosen.rows) == 0
    beside = chosen.beside(around)
    assert together(beside.logits(around.vectors)).tolist() == [-30.0] * 30


def test_another_embedder_embeds_a_part_once_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = Directions(), Directions()
    with caplog.at_level(logging.INFO):
        made = open_background(first, Cache(tmp_path))
    expected = sum(min(background.OTHERS_PROMPTS, count) for count in np.bincount(numbered(prompts()[1])).tolist())
    assert first.embedded == len(made.texts) == expected
    assert "with the embedder directions: semroute ships their vectors for the bundled one only" in caplog.text
    caplog.clear()
    again = open_background(second, Cache(tmp_path))
    assert second.embedded == 0
    assert not caplog.records
    np.testing.assert_array_equal(again.vectors, made.vectors)
    np.testing.assert_array_equal(again.rivals, made.rivals)


def test_damaged_files_are_told(embedder: OnnxEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "vectors.npz"
    damaged.write_bytes(b"PK")
    monkeypatch.setattr(background, "VECTORS", damaged)
    with pytest.raises(EmbedderError, match=r"the background prompts cannot be read.*reinstall semroute"):
        open_background(embedder)
