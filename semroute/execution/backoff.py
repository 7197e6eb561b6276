"""Decide when a failed call is repeated. Pure: numbers in, a pause in seconds out, or None.

stamina 26.1 and tenacity 9.2 run the loop of tries themselves. This costs each call 50 µs, even if the first try
succeeds. Between two tries, semroute also looks at other models, breakers and budgets. So a library could only compute
the pause, and that is one line (2026-11-30, `bench/libraries.py backoff`).
"""

from __future__ import annotations

from collections.abc import Callable

from semroute.config.schema.resilience import Retry


def pause(
    retry: Retry,
    repeated: int,
    *,
    asked_s: float | None,
    left_s: float,
    others: bool,
    random: Callable[[], float],
) -> float | None:
    """Return how long to wait before the next call to the same model. None: do not call it again.

    Nobody waits longer than `max_wait_s` for a provider, even if no other model is left. Instead, the caller is told at
    once when to come back.

    The pause grows exponentially, with equal jitter
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). It is at least half of the longest
    pause, so a provider in trouble is never called again at once. It is never shorter than the provider asks for.

    `repeated`: how many repetitions there were. `asked_s`: the provider's Retry-After. `left_s`: seconds until the
    deadline. `others`: whether another model could take over. `random`: returns a number in [0, 1).
    """
    longest_s = min(retry.cap_s, retry.base_s * 2.0**repeated)
    wait_s = longest_s * (1 + random()) / 2
    wait_s = max(wait_s, asked_s or 0.0)
    if asked_s is not None and asked_s > retry.max_wait_s:
        return None
    most_s = min(left_s, retry.max_wait_s) if others else left_s
    return wait_s if wait_s < most_s else None
