"""Check aliases: names that clients insist on, and what they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from semroute.config.config import Draft
from semroute.config.error_wording import did_you_mean, listed, quote
from semroute.config.problems import error, names
from semroute.config.schema.models import deployment_ids
from semroute.errors import Problem

AUTO = "auto"
DIFFICULTY = "auto:difficulty-"
WILD = "*"
"""Stands for any text in an alias. No other character is special."""


def specific_first(aliases: Mapping[str, str]) -> dict[str, str]:
    """Sort aliases by precedence: whole names first, then those with the most letters, not counting their `*`."""
    return dict(sorted(aliases.items(), key=lambda item: (WILD in item[0], -len(item[0].replace(WILD, "")))))


def check_aliases(draft: Draft) -> Iterator[Problem]:
    """Find aliases whose target does not exist, and aliases that can never be used."""
    models = names(draft, "models")
    targets = {AUTO, *models, *(f"{AUTO}:{name}" for name in names(draft, "routes"))}
    targets |= {id_ for model, entry in draft.merged.models.items() for id_ in deployment_ids(model, entry)}
    unread = not draft.broken.isdisjoint({"models", "routes"})
    for alias, target in draft.merged.aliases.items():
        key = f"aliases.{alias}"
        if not alias.strip():
            yield error(draft, key, "got a blank name, expected one that clients send")
        elif alias == AUTO or alias.startswith(f"{AUTO}:"):
            reserved = "`auto` and `auto:<route>` ask for routing"
            yield error(draft, key, f"got {quote(alias)}, expected another name: {reserved}")
        elif alias in targets:
            yield error(draft, key, f"got {quote(alias)}, which is a model's id: expected a name that no model has")
        if not unread and target not in targets and not _is_share(target):
            expected = f"expected `auto`, `auto:<route>` or a model's id ({listed(models)})"
            yield error(draft, key, f"got {quote(target)}, {expected}{did_you_mean(target, targets)}")


def _is_share(target: str) -> bool:
    """Return whether a target asks for a share of strong answers, such as `auto:difficulty-0.3`."""
    try:
        return target.startswith(DIFFICULTY) and 0 <= float(target.removeprefix(DIFFICULTY)) <= 1
    except ValueError:
        return False
