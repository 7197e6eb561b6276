"""Find what a prompt asks for. Pure, and bounded whatever the prompt's length.

Most prompts are one sentence, which is the ask. Other prompts also hold a material: a text to translate, code to
repair, a mail to answer. `segments.cut` finds by its form what can only be material. Each of the other sentences gets
points for its wording (an imperative, a question, words such as "the text below") and for its place (first, last,
beside the material). The best sentence is the ask, together with what belongs to it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from semroute.bases import Frozen
from semroute.routing.ask_sentences import Sentence, score
from semroute.routing.ask_words import ITEM, as_matched, is_imperative
from semroute.routing.follow_ups import names_subject
from semroute.routing.lexical_cues import looks_like_code
from semroute.routing.segments import Segment, cut, is_material

MAX_CHARS = 160
"""How many characters of an ask are matched, if the prompt is longer than `PLAIN_CHARS`."""
TOLD_CHARS = 110
"""How many characters of a long prompt are matched if nothing in it is worded as an ask."""
PLAIN_CHARS = 360
"""A prompt of up to this many characters that shows no material is matched as it is."""
LEAST = 2.0
"""A sentence with at least this many points is an ask."""
CLEAR = 4.0
"""An imperative at either end of a long prompt is matched if it has at least this many points."""
BEHIND = 2.5
"""A second sentence is an ask as well if it has at most this many points less than the best one."""
NOUNS = {"code": "code", "log": "log", "data": "data", "table": "table", "mail": "email", "talk": "conversation"}
"""The noun for each kind of material. All other kinds are called a text."""
REST_BYTES = 80
"""If other paragraphs have at least this many bytes of UTF-8, they can be the material of an ask that stands apart."""
NAMED_CHARS = 80
"""How many characters after the colon of an ask, up to the end of the line, belong to the ask."""

MAX_ASKS = 4
"""The most asks that are separated in one prompt."""
READ_CHARS = 1000
"""How many characters of a text are searched for several asks."""

_NEXT = re.compile(
    r"(?i)(?:[.;!?]|,? and|,)\s(?:then|also|after that|afterwards|next|finally|additionally)\b,?\s"
    rf"|(?:^|\n){ITEM}\s"
)
"""Words between two asks in a row."""
LISTED = re.compile(rf"(?m)^{ITEM}\s.*\n+{ITEM}\s")
"""Two items of a list."""
_STRUCTURED = re.compile(r"[\n:\"“„«<`>]|[.!?] |\s'")
_LOOKED_AT = 2000
_MARKS = re.compile(r"(?m)^(?:[ \t]*> ?|`{3}.*\n?|</?[\w-]+>\s*)|^[ \t]*[\"\u201c\u201e\u00ab](?=\S)")
"""What encloses a fence, a quote or a tag."""
_CHOICES = re.compile(r"[\w' /-]+(?:, ?[\w' /-]+)*(?:,|(?:,? (?:or|and|oder|und|ou|o|y|e) [\w' /-]+))\.?\s*")
"""A list of choices: "sport, politics or weather"."""
_TOLD = frozenset(("verb", "verb-needs-text", "question-word"))
"""Forms of an ask that a material seldom has."""


class Ask(Frozen, frozen=True, kw_only=True):
    """What a prompt asks for, and where in the prompt that stands."""

    text: str
    """All asks as one text. Rules, the complexity and the classifier look at it."""
    matched: tuple[str, ...]
    """The texts that are matched with the routes: the ask, shortened if it is long, or each of several asks."""
    spans: tuple[tuple[int, int], ...] = ()
    """The places of the asks in the prompt. Empty: the whole prompt is the ask."""
    before: str = ""
    """The ask of an earlier turn, if this one follows it up. `text` begins with it. Empty: this turn stands alone."""


def find_ask(prompt: str) -> Ask:
    """Find the ask. If a prompt shows no material, all of it is the ask."""
    if len(prompt) <= PLAIN_CHARS and _STRUCTURED.search(prompt) is None:
        return _as_it_is(prompt)
    segments = cut(prompt)
    sentences = score(prompt, segments)
    best = max(sentences, key=lambda one: one.points, default=None)
    if (listed := _listed(prompt, best, segments)) is not None:
        return listed
    if best is None:
        return _as_it_is(prompt)
    apart = any(map(is_material, segments))
    if not apart and not _parted(prompt, best, sentences):
        return _as_it_is(prompt) if len(prompt) <= PLAIN_CHARS else _told(prompt, best, sentences, segments)
    if best.points >= LEAST:
        return _asked(prompt, _belong(best, sentences, segments), sentences, segments)
    if sum([one.segment.end - one.segment.start for one in sentences]) <= MAX_CHARS:
        return _asked(prompt, sentences, sentences, segments)
    return _told(prompt, best, sentences, segments)


def _listed(prompt: str, best: Sentence | None, segments: Sequence[Segment]) -> Ask | None:
    """Return the asks of a list in the first or the last paragraph: "1. Summarise the mail", "2. Draft an answer".

    None: there is no such list. Or the list belongs to the material, because the prompt asks for something elsewhere.
    If a question follows a list at the start of a prompt, it may belong to the material too.
    """
    head = prompt[:READ_CHARS].strip().partition("\n\n")[0]
    tail = prompt[-READ_CHARS:].strip().rpartition("\n\n")[2]
    for text, start in ((head, prompt.find(head)), (tail, prompt.rfind(tail))):
        if LISTED.search(text) is not None and (each := _in_turn(text)):
            end = start + len(text)
            elsewhere = best is not None and best.points >= LEAST and not start <= best.segment.start < end
            if best is None or not elsewhere or (text is head and best.marks.isdisjoint(_TOLD)):
                return Ask(text=text, matched=_matched(prompt, each, segments), spans=((start, end),))
    return None


def _in_turn(text: str) -> list[str]:
    """Return the asks that a text names one after the other, as in "Summarise it, and then write a poem.", or in a
    list.

    Empty: the text has no word between asks, or one of its parts is no imperative.
    """
    pieces = [piece.strip() for piece in _NEXT.split(text[:READ_CHARS])]
    pieces = [piece for piece in pieces if piece]
    if pieces and pieces[0].endswith(":"):  # "Please do this:" opens a list of asks, "Summarise my day:" has a material
        if is_imperative(pieces[0]):
            return []
        del pieces[0]
    return pieces if 1 < len(pieces) <= MAX_ASKS and all(map(is_imperative, pieces)) else []


def with_earlier_ask(before: Ask, ask: Ask) -> Ask:
    """Return an ask that makes no sense alone, with the earlier ask before it."""
    more = names_subject(ask.text)
    return Ask(
        text=f"{before.text}\n{ask.text}",
        matched=(f"{before.matched[0]} {ask.text}",) if more else before.matched,
        spans=ask.spans,
        before=before.text,
    )


def _parted(prompt: str, best: Sentence, sentences: Sequence[Sentence]) -> bool:
    """Return whether plain prose holds both an ask and a material, by the form of the ask."""
    if best.points < LEAST or len(sentences) < 2:
        return False
    if best.marks & {"first", "last"} and best.marks & {"verb", "verb-needs-text", "pointing"}:
        others = "".join(_text(prompt, one) for one in sentences if one.paragraph != best.paragraph)
        if len(others.encode("utf-8", "replace")) > REST_BYTES:
            return True
    if "asked" in best.marks or any("labelled" in one.marks for one in sentences):
        return True
    points_at = "pointing" in best.marks
    if "verb-needs-text" in best.marks or points_at:
        if points_at and ("verb-needs-text" in best.marks or "first" in best.marks):
            return len(prompt) > 2.5 * (best.segment.end - best.segment.start)
        rest = sum(one.segment.end - one.segment.start for one in sentences if one.paragraph != best.paragraph)
        return bool(rest) or (points_at and len(prompt) > PLAIN_CHARS) or "colon" in best.marks
    return False


def _as_it_is(prompt: str) -> Ask:
    if len(prompt) > PLAIN_CHARS:
        return Ask(text=prompt, matched=(shortened(prompt, TOLD_CHARS),))
    each = [] if LISTED.search(prompt) is not None else _in_turn(prompt)  # a list was looked at by itself
    return Ask(text=prompt, matched=tuple(as_matched(text, "text") for text in each) or (prompt,))


def _told(prompt: str, best: Sentence, sentences: Sequence[Sentence], segments: Sequence[Segment]) -> Ask:
    """Return the ask of a long prompt without a visible material: the whole prompt. Only its ask is matched, or else
    the sentences with the most points.
    """
    if best.points >= CLEAR and best.marks & {"first", "last"} and best.marks & {"verb", "verb-needs-text"}:
        asked = _asked(prompt, _belong(best, sentences, segments), sentences, segments)
        return Ask(text=prompt, matched=asked.matched)
    return Ask(text=prompt, matched=(_most_telling(prompt, sentences),))


def _most_telling(prompt: str, sentences: Sequence[Sentence]) -> str:
    """Return the sentences with the most points, in the order of the prompt, as many as fit."""
    room, kept = TOLD_CHARS, set[int]()
    for number in sorted(range(len(sentences)), key=lambda number: -sentences[number].points):
        one = sentences[number].segment
        if kept and one.end - one.start > room:
            break
        kept.add(number)
        room -= one.end - one.start
    return shortened(" ".join(_text(prompt, sentences[number]) for number in sorted(kept)), TOLD_CHARS)


def _text(prompt: str, one: Sentence) -> str:
    return prompt[one.segment.start : one.segment.end].strip()


def _asked(
    prompt: str,
    asks: Sequence[Sentence],
    sentences: Sequence[Sentence],
    segments: Sequence[Segment],
) -> Ask:
    """Return the ask of a prompt that holds a material."""
    spans = [_span(prompt, one) for one in asks]
    texts = [prompt[start:end].strip() for start, end in spans]
    tasks = [
        task
        for place, (text, one) in enumerate(zip(texts, asks, strict=True))
        if _is_task(one, place)
        for task in _in_turn(text) or [text]
    ]
    matched = _matched(prompt, tasks if 1 < len(tasks) <= MAX_ASKS else [" ".join(texts)], segments)
    return Ask(text=_own_words(prompt, asks, sentences, segments), matched=matched, spans=tuple(spans))


def _matched(prompt: str, asks: Sequence[str], segments: Sequence[Segment]) -> tuple[str, ...]:
    """Return the texts to match. If an ask points at the material, its noun is added."""
    noun = _noun(prompt, segments)
    return tuple(as_matched(shortened(text), noun) for text in asks)


def _own_words(
    prompt: str, asks: Sequence[Sentence], sentences: Sequence[Sentence], segments: Sequence[Segment]
) -> str:
    """Return the asks with what belongs to them.

    If a fence, a quote or another form marks the material, the rest of each ask's paragraph belongs to it. So does a
    paragraph at either end of the prompt beside the material.
    """
    taken = {id(one) for one in asks}
    beside = {one.paragraph for one in sentences if "beside" in one.marks}
    own = {one.paragraph for one in asks} | {
        one.paragraph for one in sentences if one.marks & {"first", "last"} and one.paragraph in beside
    }
    apart = any(map(is_material, segments))
    texts: list[str] = []
    behind_colon = -1
    for one in sentences:
        if id(one) in taken or (apart and one.paragraph in own and one.paragraph != behind_colon):
            start, end = _span(prompt, one) if id(one) in taken else one.segment[:2]
            texts.append(prompt[start:end].strip())
        if "colon" in one.marks:
            behind_colon = one.paragraph
    return " ".join(texts)


def _span(prompt: str, ask: Sentence) -> tuple[int, int]:
    """Return the place of an ask, with what follows its colon: "one of these topics: sport, politics"."""
    start, end = ask.segment.start, ask.segment.end
    if "colon" in ask.marks and prompt[end - 1] != "\n":
        behind = prompt.find("\n", end)
        if 0 < behind - end <= NAMED_CHARS and _CHOICES.fullmatch(prompt, end, behind):
            end = behind
    return start, end


def _is_task(one: Sentence, place: int) -> bool:
    """Return whether a sentence is a task, and not only a wish about how to do one."""
    return bool(one.marks & {"verb", "verb-needs-text"}) and (place == 0 or "manner" not in one.marks)


def _noun(prompt: str, segments: Sequence[Segment]) -> str:
    """Return the noun for the material, by the form of most of it."""
    sizes: dict[str, int] = {}
    for one in segments:
        kind: str = one.kind
        if kind in ("block", "quote", "fence", "unread"):
            kind = _kind_inside(prompt[one.start : min(one.end, one.start + _LOOKED_AT)])
        if kind in NOUNS:
            sizes[kind] = sizes.get(kind, 0) + one.end - one.start
    if "code" in sizes and 3 * sizes["code"] >= sizes.get("data", 0):
        sizes["code"] += sizes.pop("data", 0)
    return NOUNS[max(sizes, key=sizes.__getitem__)] if sizes else "text"


def _kind_inside(text: str) -> str:
    """Return the kind of most of what a fence, a quote or a tag encloses."""
    sizes: dict[str, int] = {}
    for one in cut(_MARKS.sub("", text)):
        if one.kind not in ("blank", "label"):
            sizes[one.kind] = sizes.get(one.kind, 0) + one.end - one.start
    kind = max(sizes, key=sizes.__getitem__, default="prose")
    return "code" if kind in ("prose", "quote") and looks_like_code(text.replace("`", "")) else kind


def _belong(best: Sentence, sentences: Sequence[Sentence], segments: Sequence[Segment]) -> list[Sentence]:
    """Return the best sentence, the asks beside it, and the asks at the other end of the prompt."""
    place = next(number for number, one in enumerate(sentences) if one is best)
    first = last = place
    while first and _beside(sentences[first - 1], best) and "colon" not in sentences[first - 1].marks:
        first -= 1
    while last + 1 < len(sentences) and "colon" not in sentences[last].marks and _beside(sentences[last + 1], best):
        last += 1
    return [
        one
        for number, one in enumerate(sentences)
        if first <= number <= last or (_apart(one, best) and _between(segments, one, best))
    ]


def _beside(one: Sentence, best: Sentence) -> bool:
    return one.paragraph == best.paragraph and one.points >= max(LEAST, best.points - BEHIND)


def _between(segments: Sequence[Segment], one: Sentence, other: Sentence) -> bool:
    """Return whether a segment that can only be material stands between two sentences."""
    start, end = sorted((one.segment.start, other.segment.start))
    return any(start < segment.start < end and is_material(segment) for segment in segments)


def _apart(one: Sentence, best: Sentence) -> bool:
    """Return whether a sentence in another paragraph is an ask too."""
    placed = one.marks & {"first", "last", "asked"} and not one.marks & {"labelled", "amid", "empty"}
    worded = one.marks & {"pointing", "asked"} and one.marks & {"verb", "verb-needs-text", "question"}
    return bool(placed and worded) and one.points >= max(LEAST, best.points - 1.5)


def shortened(text: str, most: int = MAX_CHARS) -> str:
    """Return a long ask cut to its head and tail."""
    text = text[: most * 8] + text[-most * 8 :] if len(text) > most * 16 else text
    text = text.strip()
    if len(text) <= most:
        return text
    head = text[: most * 2 // 3].rpartition(" ")[0] or text[: most * 2 // 3]
    tail = text[-most // 3 :].partition(" ")[2] or text[-most // 3 :]
    return f"{head} {tail}"
