"""Removes log-probabilities from answers. A check asked for them, but the caller did not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from semroute.messages import Completion

NAME = "logprobs"


def without_logprobs(completion: Completion, drop: Callable[[dict[str, Any]], None] | None) -> Completion:
    """Return the answer as it would be if nobody had asked for log-probabilities.

    `drop` removes them from the provider's own body, in place. None: the body has none.
    """
    raw = completion.raw
    if drop is not None:
        answer = msgspec.json.decode(raw)  # the body was read before, so it is an object
        drop(answer)
        raw = msgspec.json.encode(answer)
    dropped = tuple(name for name in completion.dropped if name != NAME)
    return replace(completion, logprobs=(), raw=raw, dropped=dropped)
