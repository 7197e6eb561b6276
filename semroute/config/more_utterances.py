"""Give routes the utterances that other files add to them."""

from __future__ import annotations

from msgspec.structs import replace

from semroute.config.config import Draft
from semroute.config.problems import nameless, unknown
from semroute.errors import Problem


def with_more_utterances(draft: Draft) -> tuple[Draft, list[Problem]]:
    """Return the draft with all utterances at their routes, and a problem for each route that does not exist.

    The new places in `sources` lead to the files that the utterances were written in. If an entry is wrong, the routes
    stay as they are: the folder cannot be used before it is mended.
    """
    entries = draft.merged.more_utterances
    if not entries or nameless(draft.broken, "more_utterances"):
        return draft, []
    keys = nameless(draft.sources, "more_utterances")
    routes = {route.name: route for route in draft.merged.routes}
    sources = dict(draft.sources)
    problems: list[Problem] = []
    for key, entry in zip(keys, entries, strict=True):
        route = routes.get(entry.route)
        if route is None:
            problems += unknown(draft, "routes", {f"{key}.route": entry.route})
            continue
        for number in range(len(entry.utterances)):
            if (place := draft.sources.get(f"{key}.utterances[{number}]")) is not None:
                sources[f"routes.{route.name}.utterances[{len(route.utterances) + number}]"] = place
        routes[route.name] = replace(route, utterances=(*route.utterances, *entry.utterances))
    merged = replace(draft.merged, routes=tuple(routes.values()), more_utterances=())
    return replace(draft, merged=merged, sources=sources), problems
