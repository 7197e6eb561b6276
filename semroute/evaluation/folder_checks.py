"""Check what only the embeddings of a routes folder show, its evaluation files, and what was learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from semroute.config.config import Config, WrittenAt
from semroute.config.error_wording import quote, words
from semroute.config.problems import nameless, problem_at
from semroute.errors import EmbedderError, Problem, RequestError
from semroute.evaluation.jsonl import numbered_lines
from semroute.evaluation.lint import Corpus, lint
from semroute.evaluation.route_borders import Border, borders, report
from semroute.json_errors import UNREADABLE
from semroute.router import Router
from semroute.routing.fixed_thresholds import fixed_thresholds
from semroute.routing.learned_gain import Gain
from semroute.semantic.array_cache import Cache
from semroute.semantic.background import open_background
from semroute.semantic.embedder import Embedder
from semroute.semantic.gain_file import FILE, read_gain
from semroute.semantic.tuned_thresholds import stale

THRESHOLD_KEYS = {"tuned": "tuned.thresholds.{}", "route": "routes.{}.threshold", "abstain": "abstain.threshold"}
"""The key of a threshold in the route files, by who set the threshold."""
MAX_SHARE_ERROR = 0.1
"""The largest expected error of the share of strong answers that is not reported."""
MOST_MATCHED = 20
"""How many utterances of a route are matched to see whether its threshold can be reached."""


class _Row(msgspec.Struct):
    text: str
    route: str | None = None


class MeaningFindings(NamedTuple):
    """What only the embeddings show."""

    problems: list[Problem]
    borders: list[Border]
    """For each route, what it takes of the prompts at its border."""


def check_meaning(
    config: Config, progress: Callable[[int, int], None] | None = None, cache: Cache | None = None
) -> MeaningFindings:
    """Find what only the embeddings show.

    This takes about 3 ms for each utterance that is not in the cache. Raises `EmbedderError`.
    """
    router = Router.build(config, progress=progress, cache=cache)
    descriptions = np.zeros((len(config.routes), router.embedder.dim), dtype=np.float32)
    described = [number for number, route in enumerate(config.routes.values()) if route.description.strip()]
    if described:
        texts = [route.description for route in config.routes.values() if route.description.strip()]
        descriptions[described] = router.embedder.embed(texts)
    corpus = Corpus(config=config, vectors=router.vectors, descriptions=descriptions)
    found = borders(router, open_background(router.embedder, cache)) if config.routes else []
    problems = [
        *_stale(config, router.embedder),
        *lint(corpus),
        *_thresholds(router),
        *report(config, found),
    ]
    return MeaningFindings(problems, found)


def leakage(folder: Path, config: Config) -> Iterator[Problem]:
    """Find rows of `*.jsonl` files in the folder that are utterances or negatives.

    Such rows would measure memory, not routing.
    """
    keys = nameless(config.sources, "negatives")
    owners: dict[str, tuple[str | None, WrittenAt | None]] = {
        words(text): (None, config.sources[key]) for key, text in zip(keys, config.negatives, strict=False)
    } | {
        words(utterance): (route.name, config.sources.get(f"routes.{route.name}.utterances[{index}]"))
        for route in config.routes.values()
        for index, utterance in enumerate(route.utterances)
    }
    for file in sorted(folder.glob("*.jsonl")):
        for line, row in _rows(file):
            if words(row.text) not in owners:
                continue
            name, source = owners[words(row.text)]
            yield _leak(file, line, row, name, source)


def _leak(file: Path, line: int, row: _Row, name: str | None, source: WrittenAt | None) -> Problem:
    what = "a negative" if name is None else f"an utterance of `{name}`"
    where = f" at {source.file}:{source.line}" if source else ""
    contradicts = f", and the file expects {quote(row.route) if row.route else 'no route'}" * (row.route != name)
    message = f"{quote(row.text)} is {what}{where}{contradicts}"
    here = WrittenAt(file=str(file), line=line, path="$.text")
    return problem_at(here, message, "warning", "leakage", "take it out of one of the two")


def unlearned(folder: Path, config: Config) -> Iterator[Problem]:
    """Find policies with `by: learned` without a learned file, or with too few labels."""
    policies = {"policy": config.policy, "default.policy": config.default.policy}
    policies |= {f"routes.{route.name}.policy": route.policy for route in config.routes.values()}
    gain = None
    if (folder / FILE).is_file():
        with suppress(EmbedderError):  # the log says so, and `check_meaning`
            gain = read_gain(folder / FILE)
    for key, policy in policies.items():
        if policy is None or policy.difficulty is None or policy.difficulty.by != "learned":
            continue
        if not (folder / FILE).is_file():
            source = config.sources.get(f"{key}.difficulty") or WrittenAt(file=str(folder), line=0)
            message = f"got `by: learned`, but there is no {FILE}: every prompt goes to the strongest model"
            advice = "run `semroute train`, or set `by: complexity`"
            yield problem_at(source, message, "warning", "unlearned", advice)
        elif gain is not None and (share := policy.difficulty.strong_share) is not None:
            yield from _share_error(config, f"{key}.difficulty.strong_share", share, gain)


def _share_error(config: Config, key: str, share: float, gain: Gain) -> Iterator[Problem]:
    """Warn of a share for which there are too few labels."""
    error = gain.share_error(share)
    if error is None or error <= MAX_SHARE_ERROR:
        return
    labels = len(gain.calibration.predicted)
    message = f"got {share:g}, but {labels} labels are too few: the real share is expected to be off by {error:.2f}"
    source = config.sources.get(key) or WrittenAt(file="routes", line=0)
    yield problem_at(source, message, "warning", "few-labels", "grade more answers, and run `semroute train` again")


def _rows(file: Path) -> Iterator[tuple[int, _Row]]:
    """Yield the rows with a text, and their lines. `semroute eval` reports malformed lines."""
    with suppress(RequestError):
        for number, line in numbered_lines(file):
            with suppress(*UNREADABLE):
                yield number, msgspec.json.decode(line, type=_Row)


def _stale(config: Config, embedder: Embedder) -> Iterator[Problem]:
    """Warn of thresholds that were tuned or swept with another embedder. They do not count."""
    for one in stale(config, embedder):
        source = config.sources.get(f"{one.section}.encoder") or WrittenAt(file="routes", line=0)
        yield problem_at(source, one.told, "warning", "stale-thresholds", one.advice)


def _thresholds(router: Router) -> Iterator[Problem]:
    """Find routes whose threshold is so high that not even their own utterances, which the router knows, reach it."""
    for route, fixed in zip(router.config.routes.values(), fixed_thresholds(router.config), strict=True):
        if fixed is None:
            continue
        threshold, set_by = fixed
        matches = router.match(route.utterances[:MOST_MATCHED])
        firsts = [match.candidates[0] for match in matches if match.candidates]
        best = max((first.confidence for first in firsts if first.route == route.name), default=0.0)
        if best < threshold:
            key = THRESHOLD_KEYS[set_by].format(route.name)
            source = router.config.sources.get(key) or WrittenAt(file="routes", line=0)
            message = (
                f"`{route.name}` cannot be reached: its own utterances get a confidence of {best:.2f} at most, "
                f"its threshold is {threshold:.2f}"
            )
            yield problem_at(source, message, "warning", "unreachable", "lower the threshold, or remove it")
