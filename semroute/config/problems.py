"""What the checks share: problems with their places, and look-ups of names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from semroute.config.config import Draft, WrittenAt
from semroute.config.error_wording import did_you_mean, listed, quote
from semroute.config.partial_entries import STAND_IN
from semroute.config.regular_expressions import compiled, misread
from semroute.errors import Problem


def error(draft: Draft, key: str, message: str) -> Problem:
    """Return an error at the place of this key in the draft's sources, or at the folder if the key has no place."""
    return problem_at(_source(draft, key), message)


def warning(draft: Draft, key: str, message: str, code: str, suggestion: str) -> Problem:
    """Return a warning. `code`: the kind of warning. `suggestion`: what to do about it."""
    return problem_of(draft, key, message, "warning", code, suggestion)


def problem_of(draft: Draft, key: str, message: str, severity: str, code: str, suggestion: str) -> Problem:
    """Return a problem of any severity."""
    return problem_at(_source(draft, key), message, severity, code, suggestion)


def problem_at(
    source: WrittenAt, message: str, severity: str = "error", code: str = "config", suggestion: str = ""
) -> Problem:
    """Return a problem at a source."""
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
    """Report a regular expression that RE2 refuses, or reads in its own way."""
    try:
        compiled(pattern)
    except ValueError as problem:
        yield error(draft, key, f"got a pattern that RE2 refuses: {problem}")
    else:
        told = misread(pattern)
        if told is not None and told.is_error:
            yield error(draft, key, f"{told.message} ({told.suggestion})")
        elif told is not None:
            yield warning(draft, key, told.message, "regex", told.suggestion)


def nameless(sources: Iterable[str], section: str) -> list[str]:
    """Return the keys of a section whose entries have no names, such as the negatives, in the order of the files."""
    entry = re.compile(rf".*:{section}\[\d+\]")
    return [key for key in sources if entry.fullmatch(key)]


def names(draft: Draft, section: str) -> set[str]:
    """Return the names that a section defines, including names of wrong entries."""
    merged = draft.merged
    sound: dict[str, Iterable[str]] = {
        "providers": merged.providers,
        "models": merged.models,
        "routes": [route.name for route in merged.routes],
    }
    broken = [key.removeprefix(f"{section}.") for key in draft.broken if key.startswith(f"{section}.")]
    return {*sound[section], *broken}


def uncertain(draft: Draft, section: str) -> bool:
    """Return whether a part of a section is wrong, so that its content is not fully known."""
    return section in draft.broken or any(key.startswith(f"{section}.") for key in draft.broken)


def incomplete(draft: Draft, key: str) -> bool:
    """Return whether a wrong part was left out at this key. Do not conclude anything from its absence."""
    return any(one == key or one.startswith((f"{key}.", f"{key}[")) for one in draft.missing)


def unknown(draft: Draft, section: str, references: dict[str, str]) -> Iterator[Problem]:
    """Report references that a section does not define. `references`: by key, the name that is written there."""
    defined = names(draft, section)
    if section in draft.broken or (not defined and section != "routes"):  # a wrong entry has a problem of its own
        return
    known = listed(defined) or "none is defined"
    for key, name in references.items():
        if name not in defined and not name.startswith(STAND_IN):
            expected = f"expected one of `{section}` ({known})"
            yield error(draft, key, f"got {quote(name)}, {expected}{did_you_mean(name, defined)}")
