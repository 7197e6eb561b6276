"""Every fault that we know of, through the whole service."""

from __future__ import annotations

import pytest
from rich.console import Console

from bench import faults


def test_every_fault_ends_in_a_whole_answer_or_a_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    results = faults.measure(None, 0, faults.QUICK)
    with capsys.disabled():
        faults.show(results, Console(width=150))
    assert {name: result.note for name, result in results.items() if not result.passed} == {}
