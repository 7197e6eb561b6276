"""Find models that their provider has shut down, or will shut down soon."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping

from semroute.config.config import Config, Draft, WrittenAt
from semroute.config.dialects import rules_of
from semroute.config.openai_shutdowns import shutdown_of
from semroute.config.problems import problem_at
from semroute.errors import Problem

SOON_DAYS = 30
Lists = Mapping[str, Mapping[str, datetime.date | None]]
"""The models that each provider lists. Each model has the day on which the provider stops serving it. None: not
known."""


def check_shutdowns(draft: Draft, today: datetime.date) -> Iterator[Problem]:
    """Find models whose shutdown date is past or near.

    The date is the one in the files, or else the one known for the model's name.
    """
    for id_, model in draft.merged.models.items():
        places = [(f"models.{id_}", model.provider, model.name)]
        places += [
            (f"models.{id_}.deployments[{number}]", place.provider, place.name or model.name)
            for number, place in enumerate(model.deployments)
        ]
        for key, provider_id, name in places:
            provider = draft.merged.providers.get(provider_id)
            known = shutdown_of(name) if provider is not None and rules_of(provider.dialect).of_openai else None
            source = _source(draft.sources, draft.folder, f"{key}.name", key)
            if known is not None and model.shutdown_date is None:
                yield from _told(source, name, known.date, today, known.instead)
        source = _source(draft.sources, draft.folder, f"models.{id_}.shutdown_date", f"models.{id_}")
        yield from _told(source, model.name, model.shutdown_date, today)


def check_lists(config: Config, lists: Lists, today: datetime.date) -> Iterator[Problem]:
    """Compare the models with the providers' own lists."""
    for id_, model in config.models.items():
        listed = lists.get(model.provider)
        if listed is None:
            continue
        key = f"models.{id_.partition('@')[0]}"
        source = _source(config.sources, config.folder, f"{key}.name", key)
        if model.name in listed:
            yield from _told(source, model.name, listed[model.name], today)
        else:
            message = f"got {model.name}, which is not in the list of `{model.provider}`: calls of it may fail"
            yield problem_at(source, message, "warning", "not-listed", "compare the name with the provider's list")


def _source(sources: Mapping[str, WrittenAt], folder: str, *keys: str) -> WrittenAt:
    found = next((sources[key] for key in keys if key in sources), None)
    return found or WrittenAt(file=folder, line=0)


def _told(
    source: WrittenAt, name: str, date: datetime.date | None, today: datetime.date, instead: str = ""
) -> Iterator[Problem]:
    """Report a model whose date is past or near. `instead`: the model that its provider recommends."""
    if date is None or (date - today).days > SOON_DAYS:
        return
    advice = f"call another, such as {instead}" if instead else "call another"
    if date <= today:
        message = f"got {name}, which its provider has shut down on {date}: calls of it fail"
        yield problem_at(source, message, "warning", "shut-down", advice)
    else:
        message = f"got {name}, which its provider shuts down on {date}, in {(date - today).days} days"
        yield problem_at(source, message, "warning", "shuts-down", advice)
