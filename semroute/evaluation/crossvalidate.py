"""Measure on the route files alone: each utterance is decided by a router that was made without it."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from semroute.config.config import Config
from semroute.errors import RequestError
from semroute.evaluation.measure import Outcome, Progress, Row, decide_rows
from semroute.router import Router
from semroute.semantic.crossfit import leaders

SEED = 0


def cross_validate(router: Router, folds: int, progress: Progress | None = None) -> list[Outcome]:
    """Decide every utterance and every negative once, in `folds` parts with the same share of every route.

    A route's only utterance is never held out. Raises `RequestError` if no route has two.
    """
    config = router.config
    held_out = assign(router, folds)
    total = sum(fold >= 0 for numbers in held_out.values() for fold in numbers)
    if not any(fold >= 0 for name in config.routes for fold in held_out[name]):
        raise RequestError("cross-validation needs a route with two utterances or more")
    outcomes: list[Outcome] = []
    for fold in range(folds):
        rows = [
            Row(text=text, route=name)
            for name, numbers in held_out.items()
            for text, number in zip(_texts(config, name), numbers, strict=True)
            if number == fold
        ]
        if not rows:
            continue
        without = Router.build(leave_out(config, held_out, fold), previous=router)
        outcomes += decide_rows(without, rows, _after(len(outcomes), total, progress))
    return outcomes


def _after(before: int, total: int, progress: Progress | None) -> Progress | None:
    """Count one fold as part of all."""
    return None if progress is None else lambda done, _: progress(before + done, total)


def assign(router: Router, folds: int) -> dict[str | None, list[int]]:
    """Return the fold in which each utterance is held out, by route. None stands for the negatives, -1 for no fold.

    The result is always the same. Utterances of a route that nearly repeat each other are held out together. Otherwise
    one would give the other away.
    """
    config, generator = router.config, np.random.default_rng(SEED)
    assigned: dict[str | None, list[int]] = {}
    first = 0
    for name in (*config.routes, None):
        count = len(_texts(config, name))
        leads = (
            np.arange(count) if name is None else leaders(router.vectors[first : first + count], np.zeros(count, int))
        )
        first += count
        groups, members = np.unique(leads, return_inverse=True)
        # The first fold is drawn at random. Otherwise routes of few utterances would all fall into the first folds.
        numbers = (np.arange(len(groups)) + generator.integers(folds)) % folds
        alone = name is not None and len(groups) == 1
        assigned[name] = [-1] * count if alone else generator.permutation(numbers)[members].tolist()
    return assigned


def leave_out(config: Config, held_out: dict[str | None, list[int]], fold: int) -> Config:
    """Return the configuration without one fold's utterances and negatives."""

    def kept(name: str | None) -> tuple[str, ...]:
        return tuple(text for text, number in zip(_texts(config, name), held_out[name], strict=True) if number != fold)

    routes = {name: replace(route, utterances=kept(name)) for name, route in config.routes.items()}
    return replace(config, routes=routes, negatives=kept(None))


def _texts(config: Config, name: str | None) -> tuple[str, ...]:
    return config.negatives if name is None else config.routes[name].utterances
