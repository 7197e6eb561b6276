"""Find models for a request that no model of its route can take: an image that none can see, a text that is too long.

The default's models are asked first, then the cheapest of all that can take it. What a policy, a rule or a key excludes
stays excluded. Models that the caller or a rule names have no substitutes.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from semroute.config.schema.models import Model
from semroute.routing.difficulty import Standing
from semroute.routing.policy import Plan, Terms, away_reason, make_plan, resolve

MAX_TOLD = 3
"""How many models the explanation lists with what they lack."""


def with_substitutes(
    plan: Plan, default: tuple[str, ...], registry: Mapping[str, Model], terms: Terms
) -> tuple[Plan, str]:
    """Return another plan for an empty one, and the words to add to the explanation.

    A plan that is empty only because its models cannot be called now stays empty: they may be back in a moment.
    """
    unable = {id_: why for id_, why in plan.rejected.items() if away_reason(id_, terms.signals) is None}
    if not unable:
        return plan, ""
    told = ", ".join(f"{id_}: {why}" for id_, why in list(unable.items())[:MAX_TOLD])
    cheapest = replace(terms, policy=replace(terms.policy, select="cheapest"), standing=Standing())
    everyone = tuple(model.id for model in registry.values() if not model.group)
    for who, ids, under in (("the default's", default, terms), ("the cheapest that can", everyone, cheapest)):
        others = make_plan(resolve(ids, registry), registry, under)
        if not others.models:
            continue
        because = f"{who}, because no model of the route can take the request"
        entries = tuple(replace(entry, why=f"{because}; {entry.why}") for entry in others.entries)
        found = replace(others, entries=entries, rejected={**plan.rejected, **others.rejected})
        return (
            found,
            f"; no model of the route can take the request ({told}), so it goes to {who}: {found.models[0].id}",
        )
    return plan, ""
