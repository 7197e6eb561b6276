"""How long a model may be silent before another is asked as well. Pure.

What a model did tells most: half as long again as its slowest calls took. It is always given `FLOOR_S`, and at first
more where the request or the route files say that it thinks.
"""

from __future__ import annotations

from collections import deque

from semroute.config.schema.models import Model
from semroute.config.schema.policies import Policy
from semroute.messages import ChatRequest, Params

FLOOR_S = 8.0
THINKING_S = 20.0
"""For who thinks before the first word, as long as little is known."""
UNPROVEN_S = 16.0
"""The most that silence alone earns: a model that gave no answer yet may be slow, or gone."""
SLACK = 1.5
KEPT = 64
FEW = 8
"""With fewer answers, what the route files say of a model counts as well."""
TOKENS_PER_S = 50.0
"""The pace of a whole answer, as long as little is known."""
SLOWEST = 0.95


class Silences:
    """How long one model's calls of one kind were silent: until the first content, or until the whole answer."""

    def __init__(self) -> None:
        self._answered: deque[tuple[float, int]] = deque(maxlen=KEPT)
        """Seconds, and the tokens that came at once after them; 0: more came later."""
        self._slow = 0
        """How many of them are worth a look."""
        self._unanswered_s = 0.0

    def __len__(self) -> int:
        return len(self._answered)

    def answered(self, silent_s: float, tokens: int = 0) -> None:
        """A call was answered after so long; `tokens`: of an answer that came whole."""
        if len(self._answered) == KEPT:
            self._slow -= _is_slow(self._answered[0][0])
        self._answered.append((silent_s, tokens))
        self._slow += _is_slow(silent_s)
        self._unanswered_s = 0.0

    def unanswered(self, silent_s: float) -> None:
        """Nobody waited any longer."""
        self._unanswered_s = max(self._unanswered_s, silent_s)

    def longest_s(self, max_tokens: int | None) -> float:
        """How long an answer may take by what was seen; 0: nothing was seen that takes longer than `FLOOR_S`.

        `max_tokens`: of an answer that comes whole. One that is shorter takes less time.
        """
        seen_s = 0.0
        if self._slow:
            seen = sorted(_within(max_tokens, silent_s, tokens) for silent_s, tokens in self._answered)
            seen_s = SLACK * seen[int(SLOWEST * len(seen))]
        return max(seen_s, min(SLACK * self._unanswered_s, UNPROVEN_S))


def patience_s(silences: Silences, model: Model, request: ChatRequest, policy: Policy, *, whole: bool) -> float:
    """How long a call may be silent. `whole`: until the whole answer, otherwise until its first content."""
    params = request.params
    floor_s = THINKING_S if _asks_to_think(params) else FLOOR_S
    if len(silences) < FEW:
        if "reasoning" in model.features and params.effort not in ("none", "minimal") and params.thinking_tokens != 0:
            floor_s = THINKING_S
        if model.latency_ms is not None:
            floor_s = max(floor_s, SLACK * model.latency_ms / 1000)
        if whole:
            tokens = min(policy.expected_output_tokens, params.max_tokens or policy.expected_output_tokens)
            floor_s = max(floor_s, tokens / TOKENS_PER_S)
    return max(floor_s, silences.longest_s(params.max_tokens if whole else None))


def _asks_to_think(params: Params) -> bool:
    return params.effort in ("medium", "high", "xhigh", "max") or params.thinking_tokens not in (None, 0)


def _within(max_tokens: int | None, silent_s: float, tokens: int) -> float:
    """What an answer of so many tokens would have taken, had it been allowed fewer."""
    return silent_s if max_tokens is None or max_tokens >= tokens else silent_s * max_tokens / tokens


def _is_slow(silent_s: float) -> bool:
    return silent_s * SLACK > FLOOR_S
