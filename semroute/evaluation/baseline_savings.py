"""Compute what routing saves on a log of requests, compared with sending all of them to one model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from semroute.bases import Frozen
from semroute.decision import Decision
from semroute.errors import NoModelError, UnknownModelError
from semroute.evaluation.jsonl import read_lines
from semroute.messages import Usage
from semroute.router import Router
from semroute.routing.pricing import cost_usd, estimate_text_tokens

Count = Annotated[int, Meta(ge=0)]


class Logged(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of a log."""

    prompt: Annotated[str, Meta(min_length=1)]
    output_tokens: Count
    input_tokens: Count | None = None
    """Tokens of the input. None: counted from the prompt."""


class Savings(Frozen, frozen=True, kw_only=True):
    """What `semroute savings` reports."""

    requests: int
    baseline: str
    """The model that all requests would have gone to."""
    before_usd: Decimal
    after_usd: Decimal
    saved: float
    """Share of the cost that is saved."""
    by_model: dict[str, int]
    """Requests by the model that the plan begins with, the most frequent first."""
    by_route: dict[str, int]
    """Requests by route; `-` where none was confident enough."""


def read_log(path: Path) -> list[Logged]:
    """Read a log, one JSON object a line. Raises `RequestError` with the line at fault."""
    expected = '{"prompt": …, "output_tokens": …}, optional "input_tokens"'
    return [row for _, row in read_lines(path, Logged, expected)]


def savings(
    router: Router,
    rows: list[Logged],
    baseline: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Savings:
    """Decide each request, and compare costs at list prices. Equal prompts are decided once.

    `baseline`: a model's id. None: the baseline of the route files. Raises `UnknownModelError`, and `NoModelError` for
    a plan without models.
    """
    models = router.config.models
    name = baseline or router.config.baseline
    if name not in models:
        raise UnknownModelError(f"model {name!r} does not exist", param="baseline")
    decided: dict[str, Decision] = {}
    before = after = Decimal(0)
    by_model: Counter[str] = Counter()
    by_route: Counter[str] = Counter()
    for number, row in enumerate(rows, start=1):
        decision = decided.get(row.prompt) or decided.setdefault(row.prompt, router.route(row.prompt))
        if decision.model is None and decision.answer is None:
            raise NoModelError(decision.rejected)
        tokens = estimate_text_tokens(row.prompt) if row.input_tokens is None else row.input_tokens
        usage = Usage(input_tokens=tokens, output_tokens=row.output_tokens)
        before += cost_usd(models[name], usage)
        after += cost_usd(models[decision.model], usage) if decision.model is not None else 0
        by_model[decision.model or "-"] += 1
        by_route[decision.route or "-"] += 1
        if progress is not None:
            progress(number, len(rows))
    return Savings(
        requests=len(rows),
        baseline=name,
        before_usd=before,
        after_usd=after,
        saved=round(float(1 - after / before), 4) if before else 0.0,
        by_model=dict(by_model.most_common()),
        by_route=dict(by_route.most_common()),
    )
