from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest

from semroute.config.schema.models import Model
from semroute.config.schema.policies import Difficulty
from semroute.messages import JsonSchema, Params
from semroute.routing.difficulty import WEIGHTS, Reading, Standing, assess, complexity, prefer
from semroute.routing.learned_gain import (
    SHAPE,
    Calibration,
    Gain,
    behind_best,
    picked,
    route_shares,
    shape,
    terms,
    tfidf,
    threshold_for_quality,
    threshold_for_share,
)
from semroute.routing.pricing import Offer
from tests.routing.build import ALL, LARGE, MIDDLE, SMALL, facts, model

EASY = "what are your opening hours?"
HARD = (
    "Design a rate limiter for a distributed API and prove that it never exceeds the limit. First compare token bucket "
    "versus sliding window, then implement it in Python:\n```python\ndef allow(key): ...\n```\nIt must use at most "
    "O(log n) memory, without locks. 1. state the equation\n2. derive the probability of error. Why is it correct? "
    "What if clocks drift? Answer as JSON."
)


def gain(**fields: Any) -> Gain:
    """Learned for small and large: large gains when the prompt says "hard"."""
    predicted = np.column_stack([np.zeros(100), np.linspace(-0.2, 0.8, 100)]).astype(np.float32)
    quality = np.column_stack([np.full(100, 0.5), np.linspace(0.3, 1.3, 100).clip(0, 1)]).astype(np.float32)
    return Gain(
        **{
            "models": ("small", "large"),
            "base_quality": 0.5,
            "vocabulary": ("hard", "very hard"),
            "idf": np.ones(2, np.float32),
            "shape_mean": np.zeros(len(SHAPE), np.float32),
            "shape_scale": np.ones(len(SHAPE), np.float32),
            "weights": {
                "embedding": np.array([[0, 0], [0.1, 0]], np.float32),
                "words": np.array([[0, 0], [0.4, 0.0]], np.float32),
                "length": np.zeros((2, len(SHAPE)), np.float32),
            },
            "bias": np.array([0, 0.1], np.float32),
            "prototypes": np.array([[1, 0], [0, 1]], np.float32),
            "priors": np.array([[0, 0], [0.2, -0.2]], np.float32),
            "prior_weight": np.array([0, 1], np.float32),
            "calibration": Calibration(predicted=predicted, quality=quality),
            "encoder": "e",
            **fields,
        }
    )


LEARNED = gain()


def offer(one: Model, place: int = 0) -> Offer:
    return Offer(
        model=one, quality=one.quality or 0.5, cost_usd=one.output_price, latency_ms=None, place=place, why="w"
    )


OFFERS = [offer(one, place) for place, one in enumerate(ALL)]


def order(standing: Standing, offers: list[Offer] = OFFERS, *, dialled: bool = False) -> list[str]:
    return [one.model.id for one in prefer(offers, standing, dialled=dialled)]


# --- complexity -------------------------------------------------------------------------------------------------------


def test_every_part_of_complexity_is_seen_and_none_passes_its_weight() -> None:
    parts = complexity(facts(HARD))
    assert parts.keys() == WEIGHTS.keys()
    assert all(0 < part <= WEIGHTS[name] for name, part in parts.items())


def test_an_easy_question_has_almost_none() -> None:
    assert sum(complexity(facts(EASY)).values()) < 0.1


@pytest.mark.parametrize(
    ("text", "maths"),
    [
        ("what is 17*23?", 0.1),
        ("simplify (2a^3 b)^2 / (4 a b^5) and 8 / 3", 0.2),
        ("what is 3/4 + 1/8?", 0.1),
        ("do I have plans on 12/03/2019?", None),
        ("are you open 24/7?", None),
        ("why does v2/items answer 401/403 to 10.0.0.1/24?", None),
    ],
)
def test_dates_and_addresses_are_no_formulas(text: str, maths: float | None) -> None:
    assert complexity(facts(text)).get("maths") == maths


def test_a_json_schema_is_structure() -> None:
    params = Params(json_output=True, json_schema=JsonSchema(document={}))
    assert complexity(facts(EASY, params=params))["structure"] == WEIGHTS["structure"]


@pytest.mark.parametrize(
    ("text", "wants"),
    [
        (EASY, "simple"),
        ("Compare both plans: first the pros and cons, then why one must be better.", "moderate"),
        (HARD, "complex"),
    ],
)
def test_complexity_wants_a_tier(text: str, wants: str) -> None:
    standing = assess(Difficulty(), facts(text), None, None)
    assert standing.wants == wants
    assert standing.difficulty == pytest.approx(min(1.0, sum(standing.contributions.values())), abs=1e-3)


def test_without_text_there_is_no_telling() -> None:
    assert assess(Difficulty(), facts(""), None, None).unsure


def test_without_a_rule_difficulty_does_not_matter() -> None:
    assert assess(None, facts(HARD), None, None) == Standing()
    assert order(Standing()) == ["small", "middle", "large"]


@pytest.mark.parametrize(
    ("wants", "expected", "others"),
    [
        ("simple", ["small", "middle", "large"], ["more", "more"]),
        ("moderate", ["middle", "large", "small"], ["more", "less"]),
        ("complex", ["large", "middle", "small"], ["less", "less"]),
    ],
)
def test_the_wanted_tier_comes_first_then_higher_then_lower_ones(
    wants: Any, expected: list[str], others: list[str]
) -> None:
    standing = Standing(wants=wants, difficulty=0.4)
    assert order(standing) == expected
    whys = [one.why for one in prefer(OFFERS, standing, dialled=False)]
    assert whys[0] == f"{wants} suits difficulty 0.40; w"
    assert [why.split()[2] for why in whys[1:]] == others


# --- exemplars --------------------------------------------------------------------------------------------------------


def test_exemplars_take_the_tier_that_was_matched() -> None:
    by = Difficulty(by="exemplars")
    standing = assess(by, facts(), Reading(tier="complex", tier_confidence=0.8), None)
    assert (standing.wants, standing.contributions) == ("complex", {"complex": 0.8})
    for reading in (None, Reading()):
        unsure = assess(by, facts(), reading, None)
        assert unsure.unsure
        assert order(unsure) == ["large", "middle", "small"]


# --- learned ----------------------------------------------------------------------------------------------------------


def reading(text: str, learned: Gain = LEARNED) -> Reading:
    gains, parts = learned.predict(text, np.array([1, 0], np.float32))
    return Reading(gains=gains, parts=parts)


def standing(text: str, learned: Gain | None = LEARNED, **rule: Any) -> Standing:
    return assess(Difficulty(by="learned", **rule), facts(text), reading(text), learned)


def test_what_was_learned_goes_with_the_router_that_learned_it() -> None:
    """A reload learns anew: what it replaces must not stay in memory for its thresholds."""
    replaced = gain()
    assert replaced.threshold(("small", "large"), 0.3, None) == replaced.threshold(("small", "large"), 0.3, None)
    prompts = weakref.ref(replaced.calibration.predicted)
    del replaced
    assert prompts() is None


def test_gains_are_the_sum_of_what_each_view_adds() -> None:
    gains, parts = LEARNED.predict("very hard", np.array([1, 0], np.float32))
    assert gains["small"] == 0
    assert gains["large"] == pytest.approx(sum(parts["large"].values()), abs=1e-6)
    assert parts["large"]["words"] > 0
    assert parts["large"]["route"] == pytest.approx(0.2, abs=1e-3)


def test_the_strong_model_comes_first_where_its_gain_passes_the_threshold() -> None:
    hard = standing("hard", strong_share=0.3)
    assert order(hard) == ["large", "small", "middle"]
    assert "at or over the threshold" in prefer(OFFERS, hard, dialled=False)[0].why
    assert hard.difficulty == pytest.approx(hard.quality["large"] - hard.quality["small"], abs=0.31)
    easy = standing("easy", strong_share=0.3)
    assert order(easy) == ["small", "large", "middle"]
    assert "under the threshold" in prefer(OFFERS, easy, dialled=False)[0].why


@pytest.mark.parametrize(("share", "first"), [(0.0, "small"), (1.0, "large")])
def test_the_ends_of_the_share(share: float, first: str) -> None:
    assert order(standing("hard", strong_share=share))[0] == first


def test_a_quality_to_keep_sets_the_threshold() -> None:
    assert order(standing("hard", min_quality_retained=0.5))[0] == "small"
    assert order(standing("hard", min_quality_retained=1.0))[0] == "large"


def test_of_several_models_the_cheapest_that_is_good_enough() -> None:
    predicted = np.column_stack([np.zeros(100), np.linspace(0, 0.5, 100), np.linspace(0, 1, 100)]).astype(np.float32)
    learned = gain(models=("small", "middle", "large"), calibration=Calibration(predicted=predicted, quality=predicted))
    stand = Standing(
        rule=Difficulty(by="learned", strong_share=0.5),
        gains={"small": 0.0, "middle": 0.4, "large": 0.6},
        quality={"small": 0.5, "middle": 0.9, "large": 1.0},
        gain=learned,
    )
    assert order(stand) == ["middle", "large", "small"]
    whys = [one.why for one in prefer(OFFERS, stand, dialled=False)]
    assert whys[1:] == ["expected to be at least as good; w", "not expected to be as good; w"]


def test_without_a_threshold_or_with_the_requests_dial_the_order_stays() -> None:
    assert order(standing("hard")) == ["small", "middle", "large"]
    assert order(standing("hard", strong_share=1.0), dialled=True) == ["small", "middle", "large"]


def test_where_fewer_than_two_models_are_known_the_strongest_comes_first() -> None:
    weak, strong = offer(model("a", quality=0.5), 0), offer(model("b", quality=0.9), 1)
    assert order(standing("easy", strong_share=0.5), [weak, strong]) == ["b", "a"]
    assert order(standing("easy", strong_share=0.5), [offer(SMALL, 0), strong]) == ["b", "small"]
    assert order(standing("easy"), [weak, strong]) == ["a", "b"]


@pytest.mark.parametrize("learned", [None, gain(trustworthy=False)])
def test_it_fails_toward_the_stronger_model(learned: Gain | None) -> None:
    unsure = standing("easy", learned, strong_share=0.1)
    assert unsure.unsure
    assert order(unsure) == ["large", "middle", "small"]


def test_without_a_reading_it_fails_toward_the_stronger_model_too() -> None:
    by = Difficulty(by="learned", strong_share=0.1)
    assert assess(by, facts(), None, LEARNED).unsure
    assert assess(by, facts(), Reading(), LEARNED).unsure


def test_thresholds_by_share() -> None:
    gaps = np.arange(10, dtype=np.float32)
    assert threshold_for_share(gaps, 0) == float("inf")
    assert threshold_for_share(gaps, 1) == float("-inf")
    assert (gaps >= threshold_for_share(gaps, 0.3)).mean() == pytest.approx(0.3)
    assert threshold_for_share(gaps[:0], 0.5) == float("-inf")


def test_thresholds_by_quality() -> None:
    behind = np.array([[3, 0], [2, 0], [1, 0]], np.float32)
    quality = np.array([[0, 1], [0, 1], [1, 1]], np.float32)
    assert threshold_for_quality(behind, quality, 0.3) == float("inf")
    assert threshold_for_quality(behind, quality, 0.6) == 3
    assert threshold_for_quality(behind, quality, 1.0) == 2
    assert threshold_for_quality(behind[:0], quality[:0], 0.5) == float("-inf")
    assert threshold_for_quality(behind, quality, 1.5) == float("-inf")


@pytest.mark.parametrize("retained", [0.7, 0.9, 0.95, 1.0])
def test_of_several_models_the_quality_to_keep_is_that_of_the_models_that_are_picked(retained: float) -> None:
    random = np.random.default_rng(3)
    hard = random.random(500)
    quality = np.column_stack([0.9 - 0.6 * hard, 0.9 - 0.4 * hard, 0.95 - 0.1 * hard]).astype(np.float32)
    behind = behind_best((quality - quality[:, :1] + random.normal(0, 0.03, quality.shape)).astype(np.float32).round(2))

    def kept(threshold: float) -> float:
        return float(quality[np.arange(500), picked(behind, threshold)].mean() / quality.mean(axis=0).max())

    threshold = threshold_for_quality(behind, quality, retained)
    larger = [gap for gap in np.unique(behind) if gap > threshold]
    assert kept(threshold) >= retained or threshold == float("-inf")
    assert all(kept(gap) < retained for gap in larger)


def test_terms_and_shape() -> None:
    assert terms("Is 12 hard?") == ["is", "1", "2", "hard", "is 1", "1 2", "2 hard"]
    assert len(shape("")) == len(SHAPE)
    assert shape("a 1 1 2?")[SHAPE.index("distinct numbers")] == pytest.approx(np.log1p(2))


def test_tfidf_has_unit_length_and_no_terms_have_none() -> None:
    assert tfidf(["hard", "hard", "unknown"], {"hard": 1}, [1.0, 1.0]) == ([1], [1.0])
    columns, values = tfidf(["hard", "very", "hard"], {"very": 0, "hard": 1}, [1.0, 2.0])
    assert columns == [1, 0]
    assert values == pytest.approx(np.array([2 * (1 + np.log(2)), 1.0]) / np.hypot(2 * (1 + np.log(2)), 1.0))
    assert tfidf(["unknown"], {"hard": 1}, [1.0, 1.0]) == ([], [])


def test_route_shares_sum_to_one_and_are_empty_without_routes() -> None:
    shares = route_shares(np.array([[1, 0]], np.float32))
    assert shares.sum() == pytest.approx(1)
    assert shares[0, 0] > 0.99
    assert route_shares(np.empty((1, 0), np.float32)).shape == (1, 0)


def test_what_was_learned_is_compared_by_identity() -> None:
    assert LEARNED == LEARNED
    assert gain() != LEARNED
    assert (SMALL, MIDDLE, LARGE) == ALL
