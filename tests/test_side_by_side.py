"""What `bench/side_by_side.py` makes of its measurements."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.side_by_side import build_of, ratios


def test_the_ratios_are_those_of_the_least_of_the_quartiles_and_of_pairs() -> None:
    found = ratios([100, 200, 400, 800], [90, 220, 420, 600])
    assert found["minimum"] == 0.9
    assert (found["old_us"], found["new_us"]) == (200, 220)
    assert found["lower_quartile"] == 1.1
    assert found["median"] == pytest.approx((0.9 + 1.05) / 2)


def test_a_checkout_is_run_by_the_python_of_its_environment_or_by_another(tmp_path: Path) -> None:
    python = tmp_path / ".venv/bin/python"
    with pytest.raises(SystemExit, match="python does not exist"):
        build_of(str(tmp_path))
    python.parent.mkdir(parents=True)
    python.touch()
    assert build_of(str(tmp_path)) == (tmp_path, python)
    other = tmp_path / "python"
    other.touch()
    assert build_of(f"{tmp_path}:{other}") == (tmp_path, other)
