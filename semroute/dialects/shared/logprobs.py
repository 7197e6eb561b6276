"""Log-probabilities that a check asked for, taken out of the answer of a caller who did not ask for them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from semroute.messages import Completion

NAME = "logprobs"


def without_logprobs(completion: Completion, drop: Callable[[dict[str, Any]], None] | None) -> Completion:
    """The answer as the model gives it to those who ask for no log-probabilities.

    `drop`: takes them out of the provider's own body, in place; None: there are none in it.
    """
    raw = completion.raw
    if drop is not None:
        answer = msgspec.json.decode(raw)  # it was read before, so that it is an object
        drop(answer)
        raw = msgspec.json.encode(answer)
    dropped = tuple(name for name in completion.dropped if name != NAME)
    return replace(completion, logprobs=(), raw=raw, dropped=dropped)
