"""Repeated prompts are answered from memory, and the memory is bounded."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from semroute.semantic.embedder import Features, OnnxEmbedder
from semroute.semantic.feature_cache import RecentFeatures


class Counting(OnnxEmbedder):
    """The bundled model, and what it was asked for."""

    def __init__(self) -> None:
        super().__init__(threads=1)
        self.asked: list[str] = []

    def featurize(self, texts: Sequence[str], *, passages: bool = False) -> Features:
        self.asked += texts
        return super().featurize(texts)


@pytest.fixture
def embedder() -> Counting:
    return Counting()


def test_a_repeated_text_is_not_embedded_again(embedder: Counting) -> None:
    recent = RecentFeatures(embedder, 8)
    first, again = (recent.featurize(["where is my parcel"])[0] for _ in range(2))
    assert embedder.asked == ["where is my parcel"]
    assert np.array_equal(first.vectors, again.vectors) and first.tokens == again.tokens
    assert np.array_equal(first.vectors, embedder.embed(["where is my parcel"]))


def test_new_texts_are_embedded_together_and_repeated_ones_once(embedder: Counting) -> None:
    recent = RecentFeatures(embedder, 8)
    recent.featurize(["b"])
    found = recent.featurize(["a", "b", "c", "a"])
    assert embedder.asked == ["b", "a", "c"]
    for text, features in zip("abca", found, strict=True):
        assert np.array_equal(features.vectors, embedder.embed([text]))
        assert features.tokens == embedder.tokens([text])


def test_nobody_writes_to_what_is_kept(embedder: Counting) -> None:
    with pytest.raises(ValueError, match="read-only"):
        RecentFeatures(embedder, 8).featurize(["hello"])[0].vectors[0, 0] = 1


def test_the_least_recently_asked_for_goes_first(embedder: Counting) -> None:
    recent = RecentFeatures(embedder, 2)
    for text in ("a", "b", "a", "c", "a", "b"):
        recent.featurize([text])
    assert embedder.asked == ["a", "b", "c", "b"]
    assert len(recent) == 2


def test_size_0_keeps_nothing(embedder: Counting) -> None:
    recent = RecentFeatures(embedder, 0)
    recent.featurize(["a"])
    recent.featurize(["a"])
    assert embedder.asked == ["a", "a"]
    assert not len(recent)


def test_texts_that_are_no_utf8_are_told_apart(embedder: Counting) -> None:
    recent = RecentFeatures(embedder, 8)
    recent.featurize(["refund \udc00", "refund \udc01"])
    assert len(recent) == 2


def test_threads_share_it(embedder: Counting) -> None:
    recent = RecentFeatures(embedder, 4)
    texts = [f"prompt {number % 8}" for number in range(64)]
    with ThreadPoolExecutor(4) as threads:
        found = [features for (features,) in threads.map(lambda text: recent.featurize([text]), texts)]
    assert len(recent) == 4
    for text, features in zip(texts, found, strict=True):
        assert np.array_equal(features.vectors, found[texts.index(text)].vectors)
