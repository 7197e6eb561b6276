"""The dials of `semroute sweep`: where they stand, how they are turned, and what an overlay does."""

from __future__ import annotations

import pytest

from semroute.config.dials import DIALS, positions, turned, value_in
from semroute.config.schema.matching import Swept
from semroute.routing.fixed_thresholds import fixed_thresholds
from tests.config.conftest import Read

FOLDER = """
    policy: {difficulty: {by: complexity, moderate_from: 0.2, complex_from: 0.5}}
    routes:
      - {name: a, utterances: [one, two, three], models: [small, large]}
      - name: b
        utterances: [four, five, six]
        models: [small, large]
        threshold: 0.4
        policy:
          select: balanced
          cost_quality: 0.7
          cascade: {checks: {min_certainty: 0.6, min_logprob: -1, judge: {model: large, rubric: good}}}
"""


def test_a_dial_stands_where_the_route_files_use_it(read_files: Read) -> None:
    config, _ = read_files(all=FOLDER)
    assert config is not None
    found = {dial: at for dial in DIALS if (at := positions(config, dial))}
    assert found == {
        "moderate_from": {"policy": 0.2},
        "complex_from": {"policy": 0.5},
        "cost_quality": {"routes.b.policy": 0.7},
        "judge_threshold": {"routes.b.policy": 0.7},
        "min_certainty": {"routes.b.policy": 0.6},
        "min_logprob": {"routes.b.policy": -1},
        "abstain_threshold": {"abstain.threshold": None},
    }


@pytest.mark.parametrize(("dial", "value"), [("judge_threshold", 0.9), ("min_logprob", -2.0), ("cost_quality", 0.1)])
def test_a_turned_dial_changes_nothing_else(read_files: Read, dial: str, value: float) -> None:
    config, _ = read_files(all=FOLDER)
    assert config is not None
    other = turned(config, dial, value)
    policy = other.routes["b"].policy
    assert policy is not None and value_in(policy, dial) == value
    present = positions(config, dial)["routes.b.policy"]
    assert present is not None and turned(other, dial, present) == config


def test_the_tiers_of_difficulty_stay_in_order(read_files: Read) -> None:
    config, _ = read_files(all=FOLDER)
    assert config is not None
    assert positions(turned(config, "moderate_from", 0.9), "moderate_from") == {"policy": 0.5}
    assert positions(turned(config, "complex_from", 0.0), "complex_from") == {"policy": 0.2}


def test_the_abstention_threshold_spares_routes_with_their_own(read_files: Read) -> None:
    config, _ = read_files(all=FOLDER)
    assert config is not None
    assert fixed_thresholds(turned(config, "abstain_threshold", 0.3)) == [(0.3, "abstain"), (0.4, "route")]


def test_an_overlay_sets_dials_and_leaves_the_files_alone(read_files: Read) -> None:
    overlay = "swept: {moderate_from: 0.4, min_certainty: 0.3, abstain_threshold: 0.25}\n"
    config, problems = read_files(all=FOLDER, swept=overlay)
    assert config is not None and not [one for one in problems if "swept" in one.message]
    assert positions(config, "moderate_from") == {"policy": 0.4}
    assert positions(config, "min_certainty") == {"routes.b.policy": 0.3}
    assert positions(config, "abstain_threshold") == {"abstain.threshold": 0.25}
    assert config.swept == Swept(moderate_from=0.4, min_certainty=0.3, abstain_threshold=0.25)


def test_an_overlay_of_a_dial_that_nothing_uses_is_told(read_files: Read) -> None:
    config, problems = read_files(all=FOLDER, swept="swept:\n  strong_share: 0.4\n")
    assert config is not None
    [told] = [one for one in problems if one.file.endswith("swept.yaml")]
    assert (told.line, told.severity) == (2, "warning")
    assert "no policy uses `strong_share`, so it has no effect" in told.message


def test_a_wrong_value_in_an_overlay_is_an_error(read_files: Read) -> None:
    config, problems = read_files(all=FOLDER, swept="swept: {moderate_from: 2, judge: 1}\n")
    assert config is None
    told = " ".join(str(one) for one in problems if one.severity == "error")
    assert "$.swept.moderate_from: got 2, expected a number from 0 to 1" in told
    assert "$.swept.judge" in told
