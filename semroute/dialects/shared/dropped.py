"""Notes about parts of a request that a dialect cannot express. Nothing is left out without a note.

A note about a field begins with its path, as Chat Completions calls it. Its value may follow, and after a colon what
was sent instead. Callers are told their own names for the fields: see `as_asked`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from semroute.messages import Params

FieldNames = Mapping[str, tuple[str, ...]]
"""What a dialect calls the fields of Chat Completions. Of several names the first that a body holds counts."""
_PATH = re.compile(r"[\w.]+")


def as_asked(notes: Iterable[str], names: FieldNames, body: Mapping[str, Any]) -> tuple[str, ...]:
    """Return notes with the caller's own names of the fields. `names`: of its dialect. `body`: what it sent."""
    return tuple(dict.fromkeys(_PATH.sub(lambda path: _own(path[0], names, body), note, count=1) for note in notes))


def _own(path: str, names: FieldNames, body: Mapping[str, Any]) -> str:
    """Rename a field, or the one that it is a part of."""
    head, rest = path, ""
    while head and head not in names:
        head, _, last = head.rpartition(".")
        rest = f".{last}{rest}"
    if not head:
        return path
    return next((name for name in names[head] if _holds(body, name)), names[head][0]) + rest


def _holds(body: Any, path: str) -> bool:
    for step in path.split("."):
        if not isinstance(body, dict) or step not in body:
            return False
        body = body[step]
    return True


class Dropped:
    """Collects notes in order. Each is kept once."""

    def __init__(self, unread: Iterable[str] = ()) -> None:
        """`unread`: fields of the caller's body that the `ChatRequest` cannot hold."""
        self.notes = dict.fromkeys(unread)
        """The notes on what is left out or changed."""
        self.adapted: dict[str, None] = {}
        """The notes on what is expressed in another form."""

    def add(self, note: str) -> None:
        """Note that something is left out, or sent as something else."""
        self.notes[note] = None

    def add_given(self, **values: object) -> None:
        """Note each name whose value asks for something. None, False and empty values ask for nothing."""
        for name, value in values.items():
            if value not in (None, False, "", ()):
                self.add(name)

    def add_chat_sampling(self, params: Params) -> None:
        """Note each sampling parameter that was given and that few formats beside Chat Completions have."""
        self.add_given(
            frequency_penalty=params.frequency_penalty,
            presence_penalty=params.presence_penalty,
            seed=params.seed is not None,
            n=params.n is not None and params.n > 1,
        )

    def adapt(self, note: str) -> None:
        """Note that something is expressed in another form, without loss."""
        self.adapted[note] = None
