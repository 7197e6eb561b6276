"""The batches that `bench/train_encoder.py` trains on."""

from collections import Counter

from bench.train_encoder import Draws, Recipe, Texts

LABELS = [f"{corpus}/{number}" for corpus in ("snips", "everyday", "sgd") for number in range(20)]
TEXTS = Texts([f"text {number}" for number in range(420)], [label for label in LABELS for _ in range(6)])
RECIPE = Recipe(labels=24, each=3, together=12, unlabelled=10)


def test_a_batch_holds_some_texts_of_each_label_and_some_without() -> None:
    draws = Draws(RECIPE, TEXTS, seed=1)
    for _ in range(20):
        rows, labels = draws.batch()
        assert Counter(labels).most_common()[-1][1] == RECIPE.each
        assert len(set(labels)) == RECIPE.labels
        assert [TEXTS.labels[row] for row in rows[: len(labels)]] == labels
        assert len(set(rows)) == len(rows) == RECIPE.labels * RECIPE.each + RECIPE.unlabelled
        assert min(rows[len(labels) :]) >= len(TEXTS.labels)


def test_a_seed_gives_the_same_batches() -> None:
    first, again, other = Draws(RECIPE, TEXTS, 1), Draws(RECIPE, TEXTS, 1), Draws(RECIPE, TEXTS, 2)
    drawn = [first.batch() for _ in range(5)]
    assert [again.batch() for _ in range(5)] == drawn
    assert [other.batch() for _ in range(5)] != drawn
