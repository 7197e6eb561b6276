"""Measure on the route files alone: each utterance is decided by a router that was made without it."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from semroute.config.schema import Config
from semroute.errors import RequestError
from semroute.evaluation.evaluate import Outcome, Progress, Row, decide_rows
from semroute.router import Router

SEED = 0


def cross_validate(router: Router, folds: int, progress: Progress | None = None) -> list[Outcome]:
    """Every utterance once, in `folds` parts, each holding its share of every route.

    A route's only utterance is never held out. Raises `RequestError` where no route has two.
    """
    held_out = assign(router.config, folds)
    total = sum(fold >= 0 for numbers in held_out.values() for fold in numbers)
    if not total:
        raise RequestError("cross-validation needs a route with two utterances or more")
    outcomes: list[Outcome] = []
    for fold in range(folds):
        rows = [
            Row(text=utterance, route=name)
            for name, numbers in held_out.items()
            for utterance, number in zip(router.config.routes[name].utterances, numbers, strict=True)
            if number == fold
        ]
        if not rows:
            continue
        without = Router.build(leave_out(router.config, held_out, fold), previous=router)
        outcomes += decide_rows(without, rows, _after(len(outcomes), total, progress))
    return outcomes


def _after(before: int, total: int, progress: Progress | None) -> Progress | None:
    """Counts one fold as part of all."""
    return None if progress is None else lambda done, _: progress(before + done, total)


def assign(config: Config, folds: int) -> dict[str, list[int]]:
    """The fold in which each utterance is held out, by route; -1: in none. The same every time."""
    generator = np.random.default_rng(SEED)
    assigned = {}
    for name, route in config.routes.items():
        count = len(route.utterances)
        # Started at random, so that routes of few utterances do not all fall into the first folds.
        numbers = (np.arange(count) + generator.integers(folds)) % folds
        assigned[name] = [int(n) for n in generator.permutation(numbers)] if count > 1 else [-1]
    return assigned


def leave_out(config: Config, held_out: dict[str, list[int]], fold: int) -> Config:
    """The configuration without one fold's utterances."""
    routes = {
        name: replace(
            route,
            utterances=tuple(u for u, number in zip(route.utterances, held_out[name], strict=True) if number != fold),
        )
        for name, route in config.routes.items()
    }
    return replace(config, routes=routes)
