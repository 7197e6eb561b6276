"""Every fault that we know of, through the whole service; and those that two models alone must stand."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from rich.console import Console

from bench import faults
from bench.fault_cases import DEFAULTS, Case
from semroute.config.schema.policies import Policy
from semroute.execution import hedging
from semroute.providers import stream_reading
from tests.execution.rig import Rig


def test_every_fault_ends_in_a_whole_answer_or_a_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    results = faults.measure(None, 0, faults.QUICK)
    with capsys.disabled():
        faults.show(results, Console(width=150))
    assert {name: result.note for name, result in results.items() if not result.passed} == {}


@pytest.mark.parametrize("case", [case for case in DEFAULTS if "refused" not in case.plan], ids=lambda case: case.name)
async def test_the_defaults_stand_it(execution: Rig, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    monkeypatch.setattr(hedging, "FLOOR_S", 0.3)
    monkeypatch.setattr(stream_reading, "TEXT_STALL_S", 0.3)
    retry = replace(Policy().retry, max_wait_s=Policy().retry.max_wait_s if "retry" in case.plan[0] else 0.2)
    plan = [scenario.replace("late-close-60", "late-close-3") for scenario in case.plan]
    models = [execution.model(scenario, features=("tools", "json")) for scenario in plan]
    assert await execution.ask(*models, policy=Policy(retry=retry), stream=case.stream) == case.text
    fewest, most = case.attempts
    assert fewest <= len(execution.server.requests) <= most
    if case.served_by is not None:
        assert [attempt.model for attempt in execution.attempts if attempt.status == "ok"] == [plan[case.served_by]]
