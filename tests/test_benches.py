"""The scripts in `bench/` can be started."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from bench.gateway import put_behind_stub
from semroute.config.load import load

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("script", sorted(file.stem for file in (ROOT / "bench").glob("*.py")))
def test_a_script_can_be_imported(script: str) -> None:
    importlib.import_module("bench" if script == "__init__" else f"bench.{script}")


def test_the_shipped_routes_can_be_served_with_a_stub_behind_every_model(tmp_path: Path) -> None:
    put_behind_stub(tmp_path, 9)
    served, shipped = load(tmp_path), load(ROOT / "routes", environ={})
    assert list(served.routes) == list(shipped.routes)
    assert {model for route in served.routes.values() for model in route.models} == {"stub"}
