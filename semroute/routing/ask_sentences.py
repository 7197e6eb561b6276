"""Give points to the sentences of a prompt, by their wording and their place. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from semroute.routing.ask_words import (
    ANSWERS,
    ASKED,
    BEFORE_COMMA,
    CLOSING,
    GREETINGS,
    HELP,
    HOW,
    LANGUAGES,
    LEADS,
    MANNERS,
    NEEDS_TEXT,
    QUESTIONS,
    SAYING,
    VERBS,
    WEIGHTS,
    WORD,
    points_at_text,
)
from semroute.routing.client_requests import TEMPLATES
from semroute.routing.segments import ASK_LABELS, GREETING, SIGN_OFF, TASKS, Segment

MANY = 24
"""If a paragraph has more sentences, those in its middle are skipped."""
EDGE_SENTENCES = 3
"""How many sentences at the start and at the end of a prompt count as its ends."""
LONG_WORDS = 35
"""A sentence with more words than this is seldom an ask."""
LANGUAGE_WORDS = 6
"""A sentence of up to this many words that names a language is an ask: "in German please"."""
_READ_CHARS = 240
"""How many characters of a sentence are read."""
_ENDS = {"?": "question", ":": "colon", "-": "colon", "\u2013": "colon", "\u2014": "colon"}
_AMID = ["prose"] * 5
"""The kinds of a sentence in the middle of a long paragraph and of its neighbours."""
_WORDED = frozenset(("verb", "verb-needs-text", "question-word", "question", "asked-for"))


class Sentence(NamedTuple):
    """A sentence that may be an ask."""

    segment: Segment
    paragraph: int
    points: float
    marks: frozenset[str]
    """The forms of an ask that it has."""
    number: int
    """Its number among the sentences."""


def score(prompt: str, segments: Sequence[Segment]) -> list[Sentence]:
    """Give points to every sentence of prose."""
    found: list[Sentence] = []
    paragraph, label, begun = 0, "", False
    many = sum(one.kind == "prose" for one in segments) > MANY
    last = next((place for place in range(len(segments) - 1, -1, -1) if _content(segments[place])), -1)
    for place, one in enumerate(segments):
        if one.kind == "blank":
            paragraph += 1
            label = "" if label in ASK_LABELS and begun else label
        elif one.kind == "label":
            label = one.label
        elif one.kind != "prose":
            begun = True
            label = "" if label in ASK_LABELS else label
            paragraph += 1
        else:
            if many and _amid(segments, place):
                begun = True
                continue
            words = [word.lower() for word in WORD.findall(prompt, one.start, min(one.end, one.start + _READ_CHARS))]
            if not words:
                continue
            text = prompt[one.start : one.end].strip()
            if (not begun and GREETING.match(text)) or SIGN_OFF.match(text) or text.startswith(TEMPLATES):
                continue
            marks = _form(text, words) | _place(segments, place, not begun, place == last)
            if label:
                marks.add("labelled" if label not in ASK_LABELS else "tasked" if label in TASKS else "asked")
            begun = True
            total = sum([WEIGHTS[mark] for mark in marks])
            found.append(Sentence(one, paragraph, total, frozenset(marks), len(found)))
    return [_at_edge(one, found) for one in found]


def _at_edge(one: Sentence, sentences: Sequence[Sentence]) -> Sentence:
    """Give points for the neighbours: the sentence is in a short first or last paragraph, or follows a sentence that
    points at the material, such as "Below is a report.".
    """
    marks = set[str]()
    first, last = sentences[0], sentences[-1]
    if "first" in first.marks and one.paragraph == first.paragraph and 0 < one.number < EDGE_SENTENCES:
        marks.add("opening")
    if "last" in last.marks and one.paragraph == last.paragraph and 0 < last.number - one.number < EDGE_SENTENCES:
        marks.add("closing")
    before = sentences[one.number - 1] if one.number else one
    if before.paragraph == one.paragraph and before.marks >= {"pointing", "statement"}:
        marks.add("introduced")
    if not marks:
        return one
    return one._replace(points=one.points + sum([WEIGHTS[mark] for mark in marks]), marks=one.marks | marks)


def _content(one: Segment) -> bool:
    return one.kind not in ("blank", "label")


def _amid(segments: Sequence[Segment], place: int) -> bool:
    """Return whether a sentence is in the middle of a long paragraph."""
    return place > 1 and [one.kind for one in segments[place - 2 : place + 3]] == _AMID


def _form(text: str, words: list[str]) -> set[str]:
    """Return the forms of an ask that a sentence has."""
    lead = _leading(text, words)
    first = words[lead]
    marks = {"lead"} if lead else set()
    if first in SAYING and not HOW.isdisjoint(words[lead + 1 : lead + 2]):
        marks.add("format")
    if (kind := _begins(first)) is not None:
        marks.add(kind)
    if ASKED.search(" ".join(words[:12])):
        marks.add("asked-for")
        if not NEEDS_TEXT.isdisjoint(words[:10]):
            marks.add("verb-needs-text")
    elif kind in (None, "question-word") and not NEEDS_TEXT.isdisjoint(words[1:]):
        marks.add("verb-inside")
    if points_at_text(words):
        marks.add("pointing")
    if text[-1] in _ENDS:
        marks.add(_ENDS[text[-1]])
    if len(words) <= LANGUAGE_WORDS and not LANGUAGES.isdisjoint(words):
        marks.add("verb-needs-text")
    return marks | _against(first, words, marks)


def _against(first: str, words: list[str], marks: set[str]) -> set[str]:
    """Return the forms that an ask seldom has."""
    against = set[str]()
    if first in MANNERS or not ANSWERS.isdisjoint(words):
        against.add("manner")
    if len(words) > LONG_WORDS:
        against.add("long")
    if marks.isdisjoint(_WORDED):
        against.add("statement")
    calls_for_help = "pointing" not in marks and not HELP.isdisjoint(words) and GREETINGS.issuperset(words)
    if calls_for_help or CLOSING.issuperset(words):
        against.add("empty")
    return against


def _leading(text: str, words: list[str]) -> int:
    """Return how many words come before the first word of the ask: "please", "from the text below, …"."""
    lead = 0
    if words[0] in BEFORE_COMMA and "," in text[:80]:
        lead = min(len(WORD.findall(text[: text.index(",")])), len(words) - 1)
    while lead < len(words) - 1 and words[lead] in LEADS:
        lead += 1
    return lead


def _begins(word: str) -> str | None:
    if word in NEEDS_TEXT:
        return "verb-needs-text"
    if word in VERBS:
        return "verb"
    return "question-word" if word in QUESTIONS else None


def _place(segments: Sequence[Segment], place: int, first: bool, last: bool) -> set[str]:
    """Return the forms that follow from a sentence's place."""
    marks: set[str] = set()
    if first:
        marks.add("first")
    if last:
        marks.add("last")
    before = segments[place - 1].kind if place else "blank"
    after = segments[place + 1].kind if place + 1 < len(segments) else "blank"
    if before in ("blank", "label") and after == "blank":
        marks.add("alone")
    near = {segments[one].kind for one in (place - 2, place - 1, place + 1, place + 2) if 0 <= one < len(segments)}
    if near - {"prose", "blank", "label", "unread"}:
        marks.add("beside")
    if not first and not last and before == after == "prose":
        marks.add("amid")
    return marks
