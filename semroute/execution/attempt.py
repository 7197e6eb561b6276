"""One call to one model, and its account."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from semroute.errors import ProviderError
from semroute.providers.base import Provider
from semroute.routing.pricing import cost_usd, estimate_input_tokens, estimate_text_tokens
from semroute.types import (
    Attempt,
    ChatRequest,
    Completion,
    Frozen,
    Model,
    Part,
    Text,
    Thinking,
    Timeouts,
    ToolCall,
    Usage,
)


class Work(Frozen, frozen=True, kw_only=True):
    """What is to be done: a request, the models to try, and who serves them."""

    request: ChatRequest
    plan: tuple[Model, ...]
    timeouts: Timeouts
    providers: Mapping[str, Provider]
    """By model id."""
    count_tokens: Callable[[str], int] = estimate_text_tokens
    """Counts what a provider does not report."""


class Stopwatch:
    """Measures one attempt, in milliseconds."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.first_token_ms: float | None = None

    @property
    def elapsed_ms(self) -> float:
        """Since the attempt began."""
        return (time.perf_counter() - self._started) * 1000

    def first_token(self) -> None:
        """Note that the first content has come."""
        self.first_token_ms = self.elapsed_ms


async def complete(work: Work, model: Model, attempts: list[Attempt]) -> Completion:
    """Call one model for a whole answer, and append the account to `attempts`, whatever happens.

    Raises the provider's `ProviderError`.
    """
    watch = Stopwatch()
    try:
        completion = await work.providers[model.id].complete(work.request, model, work.timeouts)
    except ProviderError as error:
        attempts.append(failed(model, watch, error))
        raise
    except asyncio.CancelledError:
        attempts.append(cancelled(model, watch))
        raise
    usage = completion.usage or estimate_usage(work, completion.parts)
    attempts.append(succeeded(model, watch, usage))
    return completion


def running(model: Model, watch: Stopwatch) -> Attempt:
    """The account of a stream that has begun."""
    return Attempt(model=model.id, status="running", latency_ms=watch.elapsed_ms, first_token_ms=watch.first_token_ms)


def succeeded(model: Model, watch: Stopwatch, usage: Usage) -> Attempt:
    """The account of a call that gave an answer."""
    return Attempt(
        model=model.id,
        status="ok",
        latency_ms=watch.elapsed_ms,
        first_token_ms=watch.first_token_ms,
        usage=usage,
        cost_usd=cost_usd(model, usage),
    )


def failed(model: Model, watch: Stopwatch, error: ProviderError, usage: Usage = Usage()) -> Attempt:
    """The account of a call that failed, after the given usage."""
    return Attempt(
        model=model.id,
        status="failed",
        latency_ms=watch.elapsed_ms,
        first_token_ms=watch.first_token_ms,
        error_code=error.code,
        error=str(error),
        usage=usage,
        cost_usd=cost_usd(model, usage),
    )


def cancelled(model: Model, watch: Stopwatch, usage: Usage = Usage()) -> Attempt:
    """The account of a call that the caller did not wait for, after the given usage."""
    return Attempt(
        model=model.id,
        status="cancelled",
        latency_ms=watch.elapsed_ms,
        first_token_ms=watch.first_token_ms,
        usage=usage,
        cost_usd=cost_usd(model, usage),
    )


def estimate_usage(work: Work, parts: tuple[Part, ...] | list[Part]) -> Usage:
    """About what a call consumed, where the provider does not say."""
    return Usage(
        input_tokens=estimate_input_tokens(work.request, work.count_tokens),
        output_tokens=work.count_tokens("".join(_written(part) for part in parts)),
        estimated=True,
    )


def _written(part: Part) -> str:
    match part:
        case Text(text=text) | Thinking(text=text):
            return text
        case ToolCall(name=name, arguments=arguments):
            return name + arguments
        case _:
            return ""
