"""Schemathesis on the service's own description of itself: nothing that a caller sends may break it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from tests.service import Service

DELIBERATE = {502, 503, 504}


@pytest.fixture(scope="module")
def fuzzed(write_routes: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of its own: its log is looked at in the end."""
    folder = tmp_path_factory.mktemp("fuzzed")
    with Service(write_routes(folder / "routes"), folder / "log", FAULTS_KEY="sk-faults-0123456789") as running:
        yield running
        assert "Traceback" not in running.log


def test_no_request_breaks_the_service(fuzzed: Service) -> None:
    schema = schemathesis.openapi.from_url(f"{fuzzed.url}/schema/openapi.json")
    results: list[Any] = list(schema.get_all_operations())
    operations = [result.ok() for result in results]
    assert {"/complete", "/v1/chat/completions", "/route"} <= {operation.path for operation in operations}
    for operation in operations:
        _fuzz(operation)


def _fuzz(operation: Any) -> None:
    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE) | operation.as_strategy())
    def ask(case: Any) -> None:
        response = case.call(timeout=20)
        assert response.status_code < 500 or response.status_code in DELIBERATE, (case, response.text)
        if response.status_code >= 400:
            assert "error" in response.json()

    ask()
