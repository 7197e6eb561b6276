"""Experiments in route files: what arms change, and what is wrong with them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from semroute.config.config import Config
from semroute.config.load import load, read
from semroute.config.overlays import arm_config
from semroute.errors import ConfigError, Problem

ROUTES = """
providers: {local: {dialect: echo}}
models: {small: {provider: local, name: s, quality: 0.7}, large: {provider: local, name: l, quality: 0.9}}
default: {models: [large]}
policy: {select: best, min_quality: 0.5, deadline_s: 30}
routes:
  - {name: billing, models: [large, small], utterances: [a, b, c, d, e], threshold: 0.5}
  - {name: shipping, models: [large], utterances: [f, g, h, i, j], policy: {select: fastest}}
tuned: {thresholds: {billing: 0.7, shipping: 0.6}}
"""


def written(folder: Path, experiments: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "routes.yaml").write_text(ROUTES)
    (folder / "tests.yaml").write_text(experiments)
    return folder


def problems(folder: Path, experiments: str) -> list[Problem]:
    return read(written(folder, experiments), environ={})[1]


def arm(folder: Path, text: str) -> Config:
    written(folder, "experiments:\n  trial:\n    arms:\n      control: {}\n      other: " + text)
    return arm_config(load(folder, environ={}), "trial", "other")


def test_only_the_written_keys_of_a_policy_replace_those_of_every_policy(tmp_path: Path) -> None:
    config = arm(tmp_path, "{policy: {select: ordered, hedge_after_ms: null}}")
    assert (config.policy.select, config.policy.min_quality, config.policy.hedge_after_ms) == ("ordered", 0.5, None)
    shipping = config.routes["shipping"].policy
    assert shipping is not None
    assert (shipping.select, shipping.min_quality) == ("ordered", None)
    assert config.routes["billing"].policy is None


def test_models_are_for_all_routes_or_by_route(tmp_path: Path) -> None:
    config = arm(tmp_path, "{models: [small]}")
    assert [route.models for route in config.routes.values()] == [("small",), ("small",)]
    assert config.default.models == ("small",)
    config = arm(tmp_path, "{models: {billing: [small], default: [small, large]}}")
    assert [route.models for route in config.routes.values()] == [("small",), ("large",)]
    assert config.default.models == ("small", "large")


def test_thresholds_override_tuned_ones(tmp_path: Path) -> None:
    config = arm(tmp_path, "{thresholds: {billing: 0.2}}")
    assert (config.routes["billing"].threshold, config.tuned.thresholds) == (0.2, {"shipping": 0.6})


def test_an_adopted_arm_is_part_of_the_configuration(tmp_path: Path) -> None:
    written(tmp_path, "adopted: {experiment: trial, arm: other, policy: {select: cheapest}, models: [small]}")
    config = load(tmp_path, environ={})
    assert (config.policy.select, config.policy.min_quality, config.default.models) == ("cheapest", 0.5, ("small",))


def test_a_folder_is_an_arm(tmp_path: Path) -> None:
    other = written(tmp_path / "candidate", "")
    (other / "routes.yaml").write_text(ROUTES.replace("[large, small]", "[small]"))
    folder = tmp_path / "routes"
    written(folder, "budgets: [{name: all, usd: 9}]\nexperiments: {trial: {arms: {a: {}, b: {folder: ../candidate}}}}")
    config = load(folder, environ={})
    candidate = arm_config(config, "trial", "b")
    assert candidate.routes["billing"].models == ("small",)
    assert candidate.budgets == config.budgets != ()
    before = config.version
    (other / "routes.yaml").write_text(ROUTES)
    assert load(folder, environ={}).version != before  # so a reload happens


def test_a_folder_with_errors_is_an_error_at_the_arm_and_at_its_own_lines(tmp_path: Path) -> None:
    other = written(tmp_path / "candidate", "")
    (other / "routes.yaml").write_text(ROUTES.replace("[large, small]", "[huge]"))
    text = (
        "experiments:\n  trial:\n    arms:\n      a: {}\n      b: {folder: ../candidate}\n      c: {folder: ../gone}\n"
    )
    found = problems(tmp_path / "routes", text)
    told = [f"{Path(one.file).name}:{one.line} {one.message}" for one in found]
    assert any(one.startswith("gone:0 no such folder") for one in told)
    assert any(one.startswith('routes.yaml:7 got "huge", expected one of `models`') for one in told)
    assert any(one.startswith('tests.yaml:5 got "../candidate", which cannot be used: 1 errors') for one in told)
    assert any(one.startswith('tests.yaml:6 got "../gone", which cannot be used') for one in told)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("arms:\n      a: {}\n      b: {models: [smal]}", 5, 'got "smal", expected one of `models`'),
        ("arms:\n      a: {}\n      b: {models: {billing: [x]}}", 5, 'got "x", expected one of `models`'),
        ("arms:\n      a: {}\n      b: {models: {biling: [small]}}", 5, 'got "biling", expected one of `routes`'),
        ("arms:\n      a: {}\n      b: {models: []}", 5, "got an empty list"),
        ("arms:\n      a: {}\n      b: {models: [small, small]}", 5, 'got "small" a second time'),
        ("arms:\n      a: {}\n      b: {thresholds: {biling: 0.3}}", 5, 'got "biling", expected one of `routes`'),
        ("arms:\n      a: {}\n      b: {policy: {cascade: {checks: {judge: {model: x, rubric: r}}}}}", 5, 'got "x"'),
        ("arms:\n      a: {}\n      b: {polcy: {}}", 5, "unknown key `polcy`"),
        ("arms:\n      a: {}\n      b: {weight: -1}", 5, "got -1"),
        ("arms:\n      a: {}\n      b: {folder: x, models: [small]}", 5, "got `folder` and `models`"),
        ("arms:\n      a: {}", 3, "got 1 arms, expected two or more"),
        ("arms:\n      a: {}\n      'b 1': {}", 5, 'got the name "b 1"'),
        ("arms: {a: {weight: 0}, b: {weight: 0}}", 3, "got the weight 0 for every arm"),
        ("arms: {a: {}, b: {}}\n    control: c", 4, 'got "c", expected one of its arms (`a`, `b`)'),
        ("arms: {a: {}, b: {}}\n    guards: {error_rate: 1}", 4, "got 1, expected a string"),
        ("arms: {a: {}, b: {}}\n    guards: {p95_ms: -20%}", 4, 'got "-20%", expected a change such as `+1%`'),
        ("arms: {a: {}, b: {}}\n    guards: {quality: +2%}", 4, 'got "+2%", expected a change such as `-2%`'),
        ("arms: {a: {}, b: {}}\n    start: 2026-12-02\n    end: 2026-12-01", 5, "got 2026-12-01, expected a day"),
        ("arms: {a: {}, b: {}}\n    budget_usd_per_day: -1", 4, "got -1, expected an amount"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    found = [one for one in problems(tmp_path, f"experiments:\n  trial:\n    {text}\n") if "gone" not in one.file]
    here = [one for one in found if Path(one.file).name == "tests.yaml"]
    assert any(one.line == line and one.message.startswith(message) for one in here), [str(one) for one in found]
    assert {one.severity for one in here} == {"error"}


def test_experiments_that_overlap_are_an_error_that_names_both_lines(tmp_path: Path) -> None:
    text = "experiments:\n  one: {arms: {a: {}, b: {}}}\n  two: {arms: {a: {}, b: {}}, start: 2026-12-01}\n"
    [problem] = problems(tmp_path, text)
    assert problem.line == 3
    assert f"`one` at {tmp_path / 'tests.yaml'}:2" in problem.message
    with pytest.raises(ConfigError):
        load(tmp_path, environ={})


@pytest.mark.parametrize(
    ("one", "two", "fine"),
    [
        ("end: 2026-12-01", "start: 2026-12-02", True),
        ("end: 2026-12-02", "start: 2026-12-02", False),
        ("only: {teams: [x, y]}", "only: {teams: [z]}", True),
        ("only: {teams: [x, y]}", "only: {teams: [y]}", False),
        ("only: {teams: [x]}", "only: {features: [z]}", False),
        ("only: {keys: [k], teams: [x]}", "only: {keys: [k], teams: [z]}", True),
    ],
)
def test_other_days_or_other_requests_do_not_overlap(tmp_path: Path, one: str, two: str, fine: bool) -> None:
    text = f"experiments:\n  one: {{arms: {{a: {{}}, b: {{}}}}, {one}}}\n  two: {{arms: {{a: {{}}, b: {{}}}}, {two}}}\n"
    assert (problems(tmp_path, text) == []) == fine


def test_an_adopted_experiment_is_over_and_overlaps_with_none(tmp_path: Path) -> None:
    text = "experiments: {one: {arms: {a: {}, b: {}}}, two: {arms: {a: {}, b: {}}}}\nadopted: {experiment: one}\n"
    assert problems(tmp_path, text) == []


def test_an_experiment_too_short_for_a_conclusion_is_warned_of(tmp_path: Path) -> None:
    days = "start: 2026-12-01, end: 2026-12-03, budget_usd_per_day: 2.5"
    [problem] = problems(tmp_path, f"experiments: {{one: {{arms: {{a: {{}}, b: {{}}}}, {days}}}}}")
    assert (problem.severity, problem.message) == (
        "warning",
        "it runs for 3 days, but nothing is concluded before 7",
    )
    assert load(tmp_path, environ={}).experiments["one"].budget_usd_per_day == Decimal("2.5")
