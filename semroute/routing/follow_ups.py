"""Recognise turns that make no sense alone, such as "yes, do it", "and for Python?" or "why?". Pure.

Such a turn is read together with the ask before it. A turn with a task and a subject of its own is a change of topic.
"""

from __future__ import annotations

from semroute.routing.ask_words import EARLIER, EMPTY, FILLERS, FOLLOWS, NEEDS_TEXT, QUESTIONS, VERBS, WORD

MAX_CHARS = 80
"""A longer turn, in words, makes sense alone."""
MAX_WORDS = 10
SHORT_WORDS = 4

_ABOUT = (["what", "about"], ["how", "about"], ["what", "if"])
_CHANGES = frozenset(("instead", "too", "also", "else", "again", "same"))
"""Words that refer to an earlier turn. "It" is not one of them: "will it rain tomorrow"."""
_OWNERS = frozenset(("i", "my", "me", "our", "we", "your"))


def says_nothing(turn: str) -> bool:
    """Return whether a turn names no subject, so that it needs the turn before it."""
    if len(turn) > MAX_CHARS:
        return False
    words = [word.lower() for word in WORD.findall(turn)]
    telling = [word for word in words if word not in FILLERS]
    if not telling:
        return True
    if len(words) > MAX_WORDS or len(telling) > 2:
        return False
    return _hangs_on(words, telling)


def names_subject(turn: str) -> bool:
    """Return whether a turn adds something to the ask before it."""
    return any(word.lower() not in FILLERS for word in WORD.findall(turn)) or any(map(str.isdigit, turn))


def _hangs_on(words: list[str], telling: list[str]) -> bool:
    """Return whether a turn with only one or two telling words refers to an earlier turn."""
    led = words[0] in FOLLOWS or words[:2] in _ABOUT or "what about" in " ".join(words)
    verb = next((word for word in words if word in VERBS or word in NEEDS_TEXT), "")
    points = not EARLIER.isdisjoint(words)
    if verb:
        others = len(telling) - (verb in telling)
        return others == 0 or (others == 1 and (points or ("the" in words and len(words) <= SHORT_WORDS)))
    if led or (points and len(telling) == 1):
        return True
    if not _CHANGES.isdisjoint(words) and len(words) <= SHORT_WORDS:
        return True
    return (
        len(words) <= SHORT_WORDS
        and words[0] not in QUESTIONS
        and _OWNERS.isdisjoint(words)
        and (len(words) <= 2 or any(word in EMPTY or word in EARLIER or word == "since" for word in words))
    )
