"""What the checks share: how a problem finds its place, and whether a name leads anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from semroute.config.config import Draft, WrittenAt
from semroute.config.error_wording import did_you_mean, listed, quote
from semroute.config.partial_entries import STAND_IN
from semroute.config.regular_expressions import compiled, misread
from semroute.errors import Problem


def error(draft: Draft, key: str, message: str) -> Problem:
    """A problem at what has this key in the draft's sources; at the folder where nothing has."""
    return problem_at(_source(draft, key), message)


def warning(draft: Draft, key: str, message: str, code: str, suggestion: str) -> Problem:
    """The same, for what is doubtful only: what kind of doubt, and what to do about it."""
    return problem_of(draft, key, message, "warning", code, suggestion)


def problem_of(draft: Draft, key: str, message: str, severity: str, code: str, suggestion: str) -> Problem:
    """The same, of any severity."""
    return problem_at(_source(draft, key), message, severity, code, suggestion)


def problem_at(
    source: WrittenAt, message: str, severity: str = "error", code: str = "config", suggestion: str = ""
) -> Problem:
    """A problem where something was written."""
    return Problem(
        file=source.file,
        line=source.line,
        path=source.path,
        message=message,
        severity=severity,
        code=code,
        suggestion=suggestion,
    )


def _source(draft: Draft, key: str) -> WrittenAt:
    return draft.sources.get(key) or WrittenAt(file=draft.folder, line=0)


def check_pattern(draft: Draft, key: str, pattern: str) -> Iterator[Problem]:
    """A regular expression that RE2 refuses, or reads in its own way."""
    try:
        compiled(pattern)
    except ValueError as problem:
        yield error(draft, key, f"got a pattern that RE2 does not know: {problem}")
    else:
        told = misread(pattern)
        if told is not None and told.is_error:
            yield error(draft, key, f"{told.message} ({told.suggestion})")
        elif told is not None:
            yield warning(draft, key, told.message, "regex", told.suggestion)


def nameless(sources: Iterable[str], section: str) -> list[str]:
    """The keys of a section's entries without names, such as the negatives, in the order of the files."""
    entry = re.compile(rf".*:{section}\[\d+\]")
    return [key for key in sources if entry.fullmatch(key)]


def names(draft: Draft, section: str) -> set[str]:
    """The names that a section defines, even where what they name is wrong."""
    merged = draft.merged
    sound: dict[str, Iterable[str]] = {
        "providers": merged.providers,
        "models": merged.models,
        "routes": [route.name for route in merged.routes],
    }
    broken = [key.removeprefix(f"{section}.") for key in draft.broken if key.startswith(f"{section}.")]
    return {*sound[section], *broken}


def uncertain(draft: Draft, section: str) -> bool:
    """Whether something of a section is wrong, so that it is not known what all of it says."""
    return section in draft.broken or any(key.startswith(f"{section}.") for key in draft.broken)


def incomplete(draft: Draft, key: str) -> bool:
    """Whether something was left out, because it is wrong, of what has this key. Nothing follows from its absence."""
    return any(one == key or one.startswith((f"{key}.", f"{key}[")) for one in draft.missing)


def unknown(draft: Draft, section: str, references: dict[str, str]) -> Iterator[Problem]:
    """References, by the key where they stand, that a section does not define."""
    defined = names(draft, section)
    if section in draft.broken or (not defined and section != "routes"):  # has its own problem
        return
    known = listed(defined) or "none is defined"
    for key, name in references.items():
        if name not in defined and not name.startswith(STAND_IN):
            expected = f"expected one of `{section}` ({known})"
            yield error(draft, key, f"got {quote(name)}, {expected}{did_you_mean(name, defined)}")
