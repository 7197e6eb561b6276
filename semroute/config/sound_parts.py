"""Reduce a draft with errors to the parts that are right, so that one error hides no finding about the rest.

What remains can be matched and compared. It cannot serve requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from semroute.config.config import Draft, WrittenAt
from semroute.config.problems import incomplete, nameless
from semroute.config.schema.routes import Default, Route
from semroute.errors import Problem


def sound_parts(draft: Draft, problems: Iterable[Problem]) -> Draft | None:
    """Return a draft without what an error names. None: no route can be matched, or the embedder is not known."""
    if incomplete(draft, "embedder") or (draft.merged.embedder is None and "embedder" in draft.sources):
        return None
    wrong = _Wrong(draft, problems)
    sources = dict(draft.sources)
    routes = tuple(route for each in draft.merged.routes if (route := _sound_route(each, wrong, sources)).utterances)
    if not routes:
        return None
    merged = draft.merged
    providers = {id_: entry for id_, entry in merged.providers.items() if not wrong.has(f"providers.{id_}")}
    models = {
        id_: entry
        for id_, entry in merged.models.items()
        if {entry.provider, *(place.provider for place in entry.deployments)} <= providers.keys()
    }
    default = merged.default or Default(models=())
    sound = replace(
        merged,
        providers=providers,
        models=models,
        routes=routes,
        default=replace(default, models=tuple(id_ for id_ in default.models if id_ in models)),
        negatives=_sound_negatives(draft, wrong, sources),
        aliases={},
        baseline=None,
        budgets=(),
        classifier=None,
        judge=None,
        shadow=None,
        experiments={},
        adopted=None,
        rules=(),
        strip=(),
        tiers=(),
    )
    return replace(draft, merged=sound, sources=sources)


class _Wrong:
    """Knows what the errors name."""

    def __init__(self, draft: Draft, problems: Iterable[Problem]) -> None:
        self._sources = draft.sources
        errors = (problem for problem in problems if problem.severity == "error")
        self._places = {(error.file, path) for error in errors for path in _with_parents(error.path)}

    def has(self, key: str) -> bool:
        """Return whether an error names this key of the draft's sources, or a part of it."""
        source = self._sources.get(key)
        return source is not None and (source.file, source.path) in self._places


def _with_parents(path: str) -> Iterator[str]:
    """Yield a path, and every beginning of it that may be the path of something around it."""
    yield path
    yield from (path[:place] for place, character in enumerate(path) if character in ".[")


def _sound_route(route: Route, wrong: _Wrong, sources: dict[str, WrittenAt]) -> Route:
    """Return a route with its sound utterances. `sources`: gets the places of these, which are counted anew."""
    keys = [f"routes.{route.name}.utterances[{index}]" for index in range(len(route.utterances))]
    sound = [(sources.pop(key, None), text) for key, text in zip(keys, route.utterances, strict=True)]
    kept = [each for key, each in zip(keys, sound, strict=True) if not wrong.has(key)]
    sources |= {key: source for key, (source, _) in zip(keys, kept, strict=False) if source is not None}
    return replace(route, utterances=tuple(text for _, text in kept))


def _sound_negatives(draft: Draft, wrong: _Wrong, sources: dict[str, WrittenAt]) -> tuple[str, ...]:
    """Return the sound negatives. `sources`: loses the places of the others."""
    kept = []
    read = iter(draft.merged.negatives)
    for key in nameless(draft.sources, "negatives"):
        text = next(read, None) if key not in draft.broken else None
        if text is None or wrong.has(key):
            del sources[key]
        else:
            kept.append(text)
    return tuple(kept)
