"""What two judgements of the same pair of answers say together. Pure."""

from __future__ import annotations

from typing import Literal

from semroute.execution.judge_prompts import Better

Verdict = Literal["served", "tried", "tie"]
SCORES: dict[Verdict, tuple[float, float]] = {"served": (1.0, 0.0), "tried": (0.0, 1.0), "tie": (0.5, 0.5)}
"""The scores of the served answer and of the other one."""
_SERVED_FIRST: dict[Better, Verdict] = {"first": "served", "second": "tried", "tie": "tie"}
_SERVED_SECOND: dict[Better, Verdict] = {"first": "tried", "second": "served", "tie": "tie"}


def verdict(served_first: Better, served_second: Better) -> Verdict:
    """Return which answer is better. `served_first`: the judgement when the served answer came first.

    Only an answer that is better in both orders is better. A judgement that changes with the order is about the order.
    """
    one, other = _SERVED_FIRST[served_first], _SERVED_SECOND[served_second]
    return one if one == other else "tie"


def flipped(served_first: Better, served_second: Better) -> bool:
    """Return whether the judgements contradict each other, so that only the order decided."""
    return served_first == served_second != "tie"
