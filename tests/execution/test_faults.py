from __future__ import annotations

from typing import get_args

import pytest

from semroute.config.schema.models import Model
from semroute.config.schema.resilience import FaultName, OnError
from semroute.dialects.shared.error_bodies import broken_off
from semroute.errors import (
    BadAnswerError,
    ContentPolicyError,
    EmptyAnswerError,
    ErrorAnswerError,
    HtmlAnswerError,
    MalformedAnswerError,
    NoPlaceError,
    ProviderDNSError,
    ProviderError,
    ProviderServerError,
    ProviderTimeoutError,
    ProviderTLSError,
    RateLimitedError,
)
from semroute.execution import faults
from semroute.execution.faults import FAULTS, fault_of, later_s, name_of
from semroute.providers.bad_answers import classify_bad_answer


def every(kind: type[ProviderError] = ProviderError) -> list[type[ProviderError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in every(child))]


def test_every_name_has_a_line() -> None:
    assert tuple(FAULTS) == get_args(FaultName)


@pytest.mark.parametrize("kind", every()[1:])
def test_every_error_has_a_class(kind: type[ProviderError]) -> None:
    assert name_of(kind("x")) != "other"


def test_only_these_end_a_plan_at_once() -> None:
    assert {kind for kind in every() if fault_of(kind("x"), {}).then == "fail"} == {NoPlaceError, ContentPolicyError}


@pytest.mark.parametrize("change", [{}, {"malformed": OnError(retries=3)}])
def test_what_a_model_wrote_is_not_the_deployments_fault(change: dict[FaultName, OnError]) -> None:
    body = b'{"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}'
    error = classify_bad_answer(broken_off("x", body))
    assert name_of(error) == "malformed"
    assert not fault_of(error, change).ours
    assert fault_of(classify_bad_answer(BadAnswerError("x", body=body)), change).ours
    assert fault_of(error, change).retries == (3 if change else FAULTS["malformed"].retries)


def test_retries_are_for_what_may_pass() -> None:
    assert {name for name, fault in FAULTS.items() if fault.retries == 2} == {
        "rate_limited",
        "overloaded",
        "server_error",
        "connection",
        "stream_broken",
    }
    assert fault_of(ProviderTimeoutError("x"), {}).retries == 0


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ProviderServerError("x", status=503), "overloaded"),
        (ProviderServerError("x", status=529), "overloaded"),
        (ProviderServerError("x", status=500), "server_error"),
        (RateLimitedError("x", status=429), "rate_limited"),
        (ProviderDNSError("x"), "dns"),
        (ProviderTLSError("x"), "tls"),
        (MalformedAnswerError("x"), "malformed"),
        (HtmlAnswerError("x"), "html"),
        (ErrorAnswerError("x"), "error_body"),
        (EmptyAnswerError("x"), "empty_choices"),
        (ProviderError("x"), "other"),
    ],
)
def test_errors_are_told_apart(error: ProviderError, name: str) -> None:
    assert name_of(error) == name


def test_a_route_changes_single_cells() -> None:
    changed = fault_of(ContentPolicyError("x"), {"content_policy": OnError(then="next")})
    assert (changed.then, changed.retries, changed.ours) == ("next", 0, False)
    assert fault_of(RateLimitedError("x"), {"rate_limited": OnError(retries=0)}).then == "next"


def test_the_page_has_a_line_for_each_class() -> None:
    assert len(faults.markdown().splitlines()) == len(FAULTS) + 2


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([("a", 30, 1)], 30),
        ([("a", 30, 3)], 30),  # two tries before did not say how long
        ([("a", 2, 3)], None),  # it was waited for, and did not help
        ([("a", 2, 1), ("b", 1, 2), ("c", None, 1)], 2),
        ([("a", 60, 1), ("b", 40, 2)], 40),
        ([], None),
    ],
)
def test_a_caller_hears_of_the_shortest_pause_that_nobody_waited_for(
    asked: list[tuple[str, float | None, int]], expected: float | None
) -> None:
    failures = []
    for name, wait_s, _ in asked:
        error = RateLimitedError("slow down")
        error.retry_after_s = wait_s
        failures.append((Model(id=name, provider="p", name=name), error))
    assert later_s(failures, {name: calls for name, _, calls in asked}, 5) == expected
