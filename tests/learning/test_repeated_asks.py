"""Which requests look like a retry."""

from __future__ import annotations

import numpy as np
import pytest

from semroute.learning.retries import LAST, MAX_USERS, Retries
from semroute.stores.misroutes import LoggedAsk

WITHIN_S = 300.0
EAST, NORTH = (1.0, 0.0), (0.0, 1.0)
NEARLY_EAST = (1.0, 0.25)


def ask(
    name: str, at: float, direction: tuple[float, float] = EAST, *, unit: str = "u1", tokens: int = 100,
    answered: bool = True, took_s: float = 2.0,
) -> LoggedAsk:  # fmt: skip
    return LoggedAsk(name, at, at + took_s, unit, tokens, answered, np.array(direction, "<f2").tobytes())


@pytest.fixture
def retries() -> Retries:
    return Retries(WITHIN_S)


def test_an_answer_that_is_made_anew_or_asked_for_in_other_words_is_a_retry(retries: Retries) -> None:
    assert retries.see(ask("a", 0)) is None
    assert retries.see(ask("b", 10, tokens=101)) == "a"
    assert retries.see(ask("c", 20, NEARLY_EAST, tokens=300)) == "b"
    assert retries.see(ask("d", 30, NORTH, tokens=300)) is None
    assert retries.see(ask("e", 40, NEARLY_EAST, tokens=300)) == "c"  # it came back to it


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(ask("b", 10, unit="u2"), id="another user"),
        pytest.param(ask("b", 1.5), id="sent while the first one was answered"),
        pytest.param(ask("b", 3 + WITHIN_S), id="much later"),
        pytest.param(ask("b", 10, NORTH), id="another ask"),
        pytest.param(ask("b", 10, tokens=400), id="the next step of an agent"),
        pytest.param(ask("b", 10)._replace(embedding=np.ones(3, "<f2").tobytes()), id="another encoder"),
        pytest.param(ask("b", 10)._replace(embedding=b"\x00"), id="damaged"),
        pytest.param(ask("b", 10)._replace(embedding=b"\x00" * 4), id="no length"),
    ],
)
def test_what_is_no_retry(retries: Retries, later: LoggedAsk) -> None:
    retries.see(ask("a", 0))
    assert retries.see(later) is None


def test_a_request_after_a_failure_is_no_retry(retries: Retries) -> None:
    retries.see(ask("a", 0, answered=False))
    assert retries.see(ask("b", 10)) is None
    assert retries.see(ask("c", 20)) == "b"


def test_behind_a_key_alone_there_may_be_many_people(retries: Retries) -> None:
    for unit in ("k1", ""):
        retries.see(ask("a", 0, unit=unit))
        assert retries.see(ask("b", 10, unit=unit)) is None
    assert len(retries) == 0
    retries.see(ask("a", 0, unit="s1"))
    assert retries.see(ask("b", 10, unit="s1")) == "a"


def test_only_the_last_asks_of_the_last_users_are_remembered(retries: Retries) -> None:
    retries.see(ask("a", 0))
    for number in range(LAST):
        retries.see(ask(f"other-{number}", 10, NORTH, unit="u1", took_s=20 + number))
    assert retries.see(ask("b", 20)) is None
    for number in range(2, MAX_USERS + 2):
        retries.see(ask("a", 0, unit=f"u{number}"))
    assert len(retries) == MAX_USERS
    assert retries.see(ask("c", 30)) is None
