"""The words and forms that tell an ask from a material, and the points of each form.

Pure, except that the list of words is read once.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

_WORDS = {
    name: frozenset(words.split())
    for name, words in tomllib.loads(Path(__file__).with_name("ask_words.toml").read_text("utf-8")).items()
}
NEEDS_TEXT = _WORDS["needs_text"]
"""Verbs for work on a given text."""
VERBS = _WORDS["verbs"]
"""Other verbs that begin an imperative."""
QUESTIONS = _WORDS["questions"]
LEADS = _WORDS["leads"]
"""Words that may stand before an imperative."""
EMPTY = _WORDS["empty"] | LEADS | QUESTIONS
"""Words that name no subject."""
FILLERS = EMPTY | _WORDS["answers"] | _WORDS["fillers"]
"""Words of turns that name no subject."""
FOLLOWS, EARLIER = _WORDS["follows"], _WORDS["earlier"]
HEADERS, HEADER_WORDS = _WORDS["headers"], _WORDS["header_words"]
MANNERS, ANSWERS = _WORDS["manners"], _WORDS["answers"]
LANGUAGES = _WORDS["languages"]
SAYING, HOW = _WORDS["saying"], _WORDS["how"]
"""Words with which a sentence begins that only says in which form to answer: "Answer in plain text."."""
HELP, GREETINGS = _WORDS["help"], EMPTY | _WORDS["help"] | _WORDS["greetings"]
"""A sentence that asks for help and has only words of greetings only opens a conversation."""
CLOSING = _WORDS["closing"]
BEFORE_COMMA = _WORDS["before_comma"]
_POINTERS, _TEXTS, _BEHIND = _WORDS["pointers"], _WORDS["texts"], _WORDS["behind"]
_ALONE = frozenset(("this", "these", "it", "that"))
_BEFORE_THAT = NEEDS_TEXT | VERBS | EMPTY
"""Words before a "that" which points at a material. After another noun, it begins a clause: "whales that sing"."""
_NAMES_THEM = NEEDS_TEXT | VERBS | _BEHIND
_OF_ANY_TEXT = (NEEDS_TEXT - _WORDS["of_some_texts"]) | _WORDS["of_any_text"] | _WORDS["languages"]

WORD = re.compile("[^\\W\\d_]+(?:['\u2019][^\\W\\d_]+)?")
ASKED = re.compile(
    r"\b(?:can|could|would|will) (?:you|u|we|i|one)\b|\bi (?:need|want|would like|wish|am looking for|have to)\b"
    r"|\bi'd (?:like|love|want)\b|\b(?:help me|help us|let's|lets|tell me|give me|show me|write me|make me|get me)\b"
    r"|\b(?:need|want) (?:you )?(?:to|a|an|this|it)\b|\b(?:is|are) there\b|\b(?:kannst|können|könntest) (?:du|sie)\b"
    r"|\b(?:peux tu|pouvez vous|puedes|podrías|puoi)\b|\bplease$|\bwork out\b|\bcome up with\b"
    r"|\bi don't (?:have|understand|get)\b|\bhow (?:do|can|should|would|could)\b"
)
"""Phrases that ask for something. They are searched for in sentences in lower case, without punctuation."""
_POINTER = re.compile(
    "(?i)\\b(?:the following|the above|the below|this|these|that|it)\\b(?P<then>[\\s,]+[\\w'\u2019]+)?"
)
_GENERIC = re.compile(r"(?i)\b(?:text|passage|content|input|document|material)\b")

_WORK_OUT = re.compile(r"(?i)\bwork (?:\w+ )?out\b")
_ALONG = re.compile(r"\s*(\w+) by \1\b")
"""Words behind a pointing word that do not name a material: "walk me through this line by line"."""
_TAG = ("n't", "n\u2019t")
"""The end of a word before a last "it" that names no material: "nice weather, isn't it?"."""
_ASKED_VERB = re.compile(r"(?i)^(?:please )?(?:can|could|would|will) (?:you|u|we|i) (?:please |just )*(\w+) this\b")
"""The verb for the material in a request that has the form of a question: "Can you clean this up?"."""
_THE_FOLLOWING = re.compile(r"(?i)\bthe (?:following|above|below)\b")
_CALLED = re.compile(
    r"(?i)\b(?:(?:the (?:following|above|given|attached)|this|these)"
    r" (text|passage|email|code|table|log|data|conversation|document|article|problem|message)"
    r"|the (text|passage|email|code|table|log|data|conversation|document|article|problem|message) (?:below|above))\b"
)
"""An ask that points at its material and names it."""
ITEM = r"(?:\d{1,2}[.)]|[-*\u2022])"
"""The mark before an item of a list."""
_THEN = re.compile(rf"(?i)^(?:(?:{ITEM}|then|also|and|next|first|finally|lastly|after that)[, ]+)+")
"""Words that only give an order of tasks."""
_DANGLING = re.compile(r"(?i) (?:of|about|from|in|on|to|with|for|by|than)$")
_PREPARING = frozenset(["read", "look", "take", "open", "go", "think", "consider", "have", "see", "use", "start"])
"""Words that begin a step which is no task of its own."""
FEWEST_BLANKS = 2
"""An ask with fewer blanks than this keeps its noun for the material: "fix this text"."""

WEIGHTS = {
    # How a sentence is worded.
    "verb-needs-text": 3.0,
    "verb": 2.0,
    "verb-inside": 0.8,
    "question-word": 0.7,
    "question": 1.2,
    "asked-for": 1.3,
    "lead": 0.3,
    "pointing": 2.0,
    "colon": 1.2,
    "long": -1.0,
    "manner": 0.0,
    "format": -2.5,
    "empty": -3.0,
    "statement": -1.5,
    # Where it stands.
    "first": 1.7,
    "last": 1.4,
    "opening": 1.2,
    "closing": 0.9,
    "introduced": 1.5,
    "alone": 0.8,
    "beside": 0.8,
    "amid": -1.2,
    "labelled": -1.8,
    "asked": 5.0,
    "tasked": 2.5,
}
"""The points of each form. They were chosen on the half `dev` of `bench/asks.py`."""


def points_at_text(words: list[str]) -> bool:
    """Return whether words point at a material: "the text below", "this", "the names here"."""
    if len(words) > 1 and words[-1] == "here" and words[-2] not in _WORDS["at_places"]:
        return True
    return not _POINTERS.isdisjoint(words) and any(
        _points(words, place) for place, word in enumerate(words) if word in _POINTERS
    )


def _points(words: list[str], place: int) -> bool:
    word, before, behind = words[place], words[place - 1] if place else "", words[place + 1 : place + 4]
    if word in ("below", "above", "attached") or not _TEXTS.isdisjoint(behind):
        return True
    if word == "following":
        return before == "the" or not behind or behind[0] in _NAMES_THEM
    if (word == "that" and before and before not in _BEFORE_THAT) or (not behind and before.endswith(_TAG)):
        return False
    step_by_step = behind[1:2] == ["by"] and behind[0] == behind[-1]
    return word in _ALONE and (before in ("is", "are", "was") or not behind or behind[0] in _NAMES_THEM or step_by_step)


def opens_ask(text: str) -> bool:
    """Return whether the start of a line is worded as an ask: "Translate this to German:", "Why does it fail?"."""
    words, first = _opening(text)
    if len(words) == 1:  # a verb, not a heading such as "Review:"
        return first in NEEDS_TEXT and first not in HEADERS
    return first in NEEDS_TEXT or first in VERBS or first in QUESTIONS or ASKED.search(" ".join(words)) is not None


def _opening(text: str) -> tuple[list[str], str]:
    """Return the first words of a text, and the word with which an ask would begin. Empty: there is none."""
    words = [word.lower() for word in WORD.findall(text[:120])]
    return words, next((word for word in words if word not in LEADS), "")


def is_imperative(text: str) -> bool:
    """Return whether a text begins with a task of its own."""
    _, first = _opening(text)
    return (first in NEEDS_TEXT or first in VERBS) and first not in MANNERS | _PREPARING


def as_matched(text: str, noun: str) -> str:
    """Reword an ask about a material in the short form that utterances have.

    The result names the material: "Why does this crash?" becomes "Why does this code crash". Work that is the same for
    every text needs no noun: "Translate the text below into French:" becomes "Translate into French", and "Is the text
    below true?" becomes "Is this true?".

    `noun`: the noun for the material.
    """
    words = {word.lower() for word in WORD.findall(text)}
    if polish := _opening(text)[1] in NEEDS_TEXT & LANGUAGES:  # "Polish this", not "in Polish"
        words.discard("polish")
    if not _OF_ANY_TEXT.isdisjoint(words):
        noun = "text"
    elif noun == "text" and (not _WORDS["named_problem"].isdisjoint(words) or _WORK_OUT.search(text) is not None):
        noun = "problem"
    if noun != "text" and _GENERIC.search(text) is not None:
        named = _GENERIC.sub(noun, text, count=1)
    else:
        named = _with_noun(text, noun)
    named = _THEN.sub("", _CALLED.sub(lambda found: f"this {found[1] or found[2]}", named))
    named = named.rstrip(" .:-\n") or text
    first = _opening(named)[1]
    if first in NEEDS_TEXT and not polish:
        short = _DANGLING.sub("", named.replace(" this text", ""))
        return short if short.count(" ") >= FEWEST_BLANKS else named
    verb = _ASKED_VERB.match(named)
    if (
        polish
        or first in VERBS
        or (verb is not None and verb[1].lower() in VERBS)
        or not (NEEDS_TEXT | _WORDS["of_any_text"]).isdisjoint(words)
    ):
        return named
    return _THE_FOLLOWING.sub("this", named.replace(" this text", " this"))


def _with_noun(text: str, noun: str) -> str:
    """Insert a noun after the first word that points at the material without naming it."""
    for found in _POINTER.finditer(text):
        before = text[: found.start()].rstrip().lower().rpartition(" ")[2]
        if found[0][:4].lower() == "that" and before.isalpha() and before not in _BEFORE_THAT:
            continue
        after = found["then"] or ""
        behind = [word.lower() for word in WORD.findall(text[found.end() - len(after) : found.end() + 40])[:2]]
        if not behind and before.endswith(_TAG):
            return text
        if not behind or behind[0] in _NAMES_THEM or "," in after or _ALONG.match(text, found.end() - len(after)):
            end = found.end() - len(after)
            pointer = "this" if text[found.start() : end].lower() == "it" else text[found.start() : end]
            return f"{text[: found.start()]}{pointer} {noun}{text[end:]}"
        if not _TEXTS.isdisjoint(behind):
            return text
    return text
