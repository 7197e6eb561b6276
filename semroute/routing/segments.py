"""Cut a prompt into segments by its form: prose, quotes, fences, code, tables, mails and so on. Pure.

The segments keep the order of the prompt and all its characters. Of a long prompt, only the head and the tail are read,
and one segment lies between. The work is linear in the length of what is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from semroute.routing.ask_words import HEADER_WORDS, HEADERS, NEEDS_TEXT, opens_ask

SIDE_CHARS = 2500
"""How many characters are read at the head of a long prompt, and as many at its tail."""
MAX_LINES = 100
"""The most lines that are read at the head, and as many at the tail."""
_CODE_CHARS = 200
"""Characters of a line that are looked at for code."""
MAX_LABELS = 8
"""The most labels that are looked for in a line, one after another."""
MAX_BLOCKS = 64
"""The most fences, tags and quotes that are looked for in a prompt."""
QUOTED_CHARS = 12
"""A shorter quote, in characters, is a word or a name of its sentence."""

Kind = Literal[
    "prose", "label", "blank", "code", "log", "data", "table", "mail", "talk", "quote", "fence", "block", "unread"
]


class Segment(NamedTuple):
    """A piece of a prompt."""

    start: int
    end: int
    kind: Kind
    label: str = ""
    """The tag of a block. The words of a label, in lower case."""


TASKS = frozenset(("task", "instruction", "instructions", "prompt", "your task"))
ASK_LABELS = TASKS.union(
    ("question", "query", "ask", "request", "user_query", "user_question", "user_request", "user_input"),
    ("user_message", "userrequest", "userquery", "user_prompt", "follow up input", "follow up question"),
    ("user question", "user query", "user request", "my question"),
)
"""Labels and tags before an ask, as in "Question: why?"."""

_BLOCK = re.compile(
    r"(?m:^[ \t]*(?P<fence>`{3,}|~{3,}))"
    r"|<(?P<tag>[A-Za-z_][\w.:-]{0,40})(?:[ \n][^<>]{0,300})?>"
    r"|(?:(?<=[\s:(])|^)(?P<quote>[\"“”„«'‘])(?=\S)"
)
_CLOSING = {"“": "”", "„": "“”", "«": "»", "‘": "’", '"': '"', "'": "'", "”": "”"}
_ENDS_QUOTE = {marks: re.compile(rf"(?<=\S)[{marks}](?=[\s.,;:!?)]|$)") for marks in {*_CLOSING.values()}}
MAX_QUOTED = 20_000
"""Within how many characters a quote must end."""
SHORT_QUOTE_CHARS = 60
"""A shorter quote, in characters, belongs to the sentence that goes on after it."""

_LINE = re.compile(
    r"(?P<blank>\s*$)"
    r"|\s{0,3}(?P<quote>>)"
    r"|(?P<rule>[-=_*~#]{3,}\s*$)"
    r"|(?P<mail>(?:From|To|Cc|Bcc|Sent|Date|Subject|Reply-To|Von|An|Betreff|Gesendet|Objet|Asunto)\s?:\s"
    r"|-{3,} ?(?:Original|Forwarded|Weitergeleitete)\b|On [^\n]{5,100} wrote:\s*$|Am [^\n]{5,100} schrieb )"
    r"|(?P<log>\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\[?\d\d:\d\d:\d\d[.,\]]"
    r"|\[?(?:ERROR|WARN|WARNING|INFO|DEBUG|FATAL|TRACE|CRITICAL)\b|Traceback \(|\s+at [\w.$<>]+[( ]|\s*File \""
    r"|[\w.]*[A-Z]\w*(?:Error|Exception)\b(?::|$)|(?:Caused by|panic|goroutine|npm ERR!)\b)"
    r"|(?P<code>diff --git |(?:---|\+\+\+) [ab]/|@@ -\d|index [\da-f]{7,}\.\.|\+ {2,}\S|[-+ ]\t)"
    r"|(?P<chat>\[?\d{1,2}:\d\d(?::\d\d)?\]?[ \t-]+[^\s:][^:\n]{0,30}: )"
    r"|(?P<table>\s*\|[^\n]*\|\s*$|[^\t\n]+\t[^\t\n]+\t?[^\n]*$|[ -+\--~]{1,60}(?:,[!-+\--~][ -+\--~]{0,60}){2,}$)"
    r"|(?P<data>\s*[\[{][\"\[{}\]]|\s*[\]}\[{],?\s*$|\s*[\"'][\w .$-]+[\"']\s*:|\s*</?[A-Za-z][\w:-]*[^<>\n]*>)"
)
_CODE = re.compile(
    r"\s*(?:"
    r"#include\b|#!|#define\b|<\?php|\?>|//|/\*|\*/|@[\w.]+(?:\(|$)|\$\w+\s*[-+.]?=|from [\w.]+ import |import [\w.{*]+"
    r"|package [\w.]+$|using [\w.]+;|namespace \w|use [\w:]+::"
    r"|(?:(?:async|export|public|private|protected|static|pub|abstract|final|override|inline|data) )*"
    r"(?:def|class|fn|func|fun|function|interface|struct|enum|impl|trait|sub|module)\s+[\w.$<]+\s*(?:[(:{<]|extends\b|$)"
    r"|(?:const|let|var|val|local|my|auto|int|float|double|char|bool|string|String|void|long)"
    r"\s[\w*&<>\[\], :]{1,60}[=(]"
    r"|(?:if|for|while|elif|else if|switch|catch|foreach|until|unless)\b[^\n]{0,200}(?:[:{]|\bthen|\bdo)\s*$"
    r"|(?:return|yield|await|throw|raise|assert|defer|println?!?|printf|echo|puts|console\.\w+|fmt\.\w+|print)\b[ (]"
    r"[^\n.?]{0,200}[\w)\]\"']$"
    r"|(?:SELECT|FROM|WHERE|(?:LEFT |RIGHT |INNER |OUTER )?JOIN|GROUP BY|ORDER BY|LIMIT|INSERT INTO|UPDATE|HAVING"
    r"|CREATE TABLE|ALTER TABLE|VALUES|UNION|WITH)\b"
    r"|[\w.$\[\]'\"@>-]{1,60}\s*(?:[-+*/|&.]|<|:)?=\s*\S"
    r"|[\w.$:>-]{1,80}\([^\n]{0,200}\)[;,]?\s*$"
    r"|(?:end|fi|done|esac|else:?|try:?|begin|do|pass|break|continue|\}|\)|\];?)\s*$"
    r")"
)
_SYMBOLS = re.compile(r"=>|->|::|==|!=|&&|\|\||\+\+|\$\{|\$\(")
_WEAK = re.compile(r"\t| {2,}\S|\s*[.#]?[\w-]+\s*\{|\s*#\s|[\w.-]+:\s*\S{0,80}$|\s*- [\w.-]+:\s")
"""The start of a line that is code or data only if its neighbours are."""
_OPENING = re.compile(r"(?! {0,3}>)(?:tl;dr )?[^\n:?.!;{}()=]{3,200}?(?:[:?.!]| [-–—])[ \t]+(?=\S)")
_LABEL = re.compile(r"(?:#{1,6}[ \t]*)?\*{0,2}(?P<words>[A-Za-z][\w' ]{1,30}?)\*{0,2}[ \t]*:\*{0,2}[ \t]*")
_SPEAKER = re.compile(r"\**(?P<who>[A-ZÀ-Ý][\w.'’-]*(?: [A-Z][\w.'’-]*){0,2})\**(?: \([^)\n]{1,20}\))?: ")
_STOP = r"[.!?…。\uff01\uff1f:]"
_SENTENCE = re.compile(rf"(?<!{_STOP}){_STOP}++[\"'”’)\]]*+(?=\s|$)[ \t\r\n]*|[。\uff01\uff1f]|\n")
_SHORTENED = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|prof|st|vs|etc|e\.g|i\.e|no|fig|approx|inc|ltd|bzw|z\.b|\w)|^\s*\d{1,2})\.\s*$", re.I
)
GREETING = re.compile(
    r"(?:Hi|Hello|Hey|Dear|Good (?:morning|afternoon|evening)|Liebe[rs]?|Hallo|Sehr geehrte[rs]?|Bonjour|Ch[eè]re?|Hola"
    r"|Estimad[oa]|Ciao|Gentile)\b[^.?!:\n]{0,40},?\s*$"
)
SIGN_OFF = re.compile(
    r"(?i)(?:(?:best|kind|warm|many|with)?\s*(?:kind |best |warm )?(?:regards|wishes|thanks)"
    r"|thanks(?: again| in advance)?|thank you(?: very much)?|cheers|sincerely(?: yours)?|yours(?: \w+)?|love|best"
    r"|mit freundlichen gr[üu][ßs]+e?n?|viele gr[üu][ßs]+e"
    r"|cordialement|saludos(?: cordiales)?|sent from my \w+)[,.!]?\s*$"
)


def is_material(one: Segment) -> bool:
    """Return whether a segment can only be material, by its form."""
    return one.kind not in ("prose", "label", "blank")


def cut(text: str) -> list[Segment]:
    """Cut a prompt into segments, in order and without gaps."""
    head, tail = _head(text), _tail(text)
    if head >= tail:
        return list(_blocks(text, 0, len(text)))
    segments = list(_blocks(text, 0, head))
    read = segments[-1].end
    if read < tail:
        segments.append(Segment(read, tail, "unread"))
        read = tail
    return segments + list(_blocks(text, read, len(text)))


def _head(text: str) -> int:
    """Return the end of the head."""
    place = 0
    for _ in range(MAX_LINES):
        found = text.find("\n", place, SIDE_CHARS)
        if found < 0:
            return _edge(text, SIDE_CHARS) if len(text) > SIDE_CHARS else len(text)
        place = found + 1
    return place


def _tail(text: str) -> int:
    """Return the start of the tail."""
    place = len(text)
    for _ in range(MAX_LINES):
        found = text.rfind("\n", max(0, len(text) - SIDE_CHARS), place)
        if found < 0:
            return _edge(text, len(text) - SIDE_CHARS) if len(text) > SIDE_CHARS else 0
        place = found
    return place + 1


def _edge(text: str, near: int) -> int:
    """Return the end of a line near a place, or else the end of a sentence, or else the place itself."""
    for mark in ("\n", ". ", " "):
        found = text.find(mark, near, near + 300)
        if found >= 0:
            return found + len(mark)
    return near


def _blocks(text: str, start: int, end: int) -> Iterator[Segment]:
    """Return the segments of a part. The last block may end after the part."""
    place, searched, none = start, start, set[str]()
    for _ in range(MAX_BLOCKS):
        opens = _BLOCK.search(text, searched, end)
        if opens is None:
            break
        block = _block(text, opens, none)
        if block is None:
            searched = opens.end()
            continue
        yield from _lines(text, place, block.start)
        yield block
        place = searched = block.end
    if place < end:
        yield from _lines(text, place, end)


def _block(text: str, opens: re.Match[str], none: set[str]) -> Segment | None:
    """Return the block that begins here. None: there is none. `none`: openings that have no end."""
    start = opens.start(opens.lastgroup or 0)
    if fence := opens["fence"]:
        closes = text.find(f"\n{fence[0] * 3}", opens.end())
        if closes < 0:
            return Segment(start, len(text), "fence")
        after = text.find("\n", closes + 1)
        return Segment(start, len(text) if after < 0 else after, "fence")
    if tag := opens["tag"]:
        return _tagged(text, opens, tag, none)
    marks = _CLOSING[opens["quote"]]
    close = _ENDS_QUOTE[marks].search(text, start + 1, start + MAX_QUOTED) if marks not in none else None
    if close is None:
        none.add(marks)
        return None
    if close.start() - start <= QUOTED_CHARS or _in_sentence(text, start, close.end()):
        return None
    return Segment(start, close.end(), "quote")


def _in_sentence(text: str, start: int, end: int) -> bool:
    """Return whether a quote is only a part of its sentence, and not the material that the sentence asks about."""
    before, after = text[max(0, start - 200) : start].rpartition("\n")[2], text[end : end + 20].partition("\n")[0]
    goes_on = any(map(str.isalpha, after))
    if not before.strip() or before.rstrip().endswith((":", ".", "?", "!")):
        return end - start < SHORT_QUOTE_CHARS and goes_on
    works_on_it = opens_ask(before) and not NEEDS_TEXT.isdisjoint(before.lower().split())
    return (end - start < SHORT_QUOTE_CHARS and goes_on) or not works_on_it


def _tagged(text: str, opens: re.Match[str], tag: str, none: set[str]) -> Segment | None:
    closing = f"</{tag}>"
    closes = text.find(closing, opens.end()) if closing not in none else -1
    if closes < 0:
        none.add(closing)
        return None
    if tag.lower() in ASK_LABELS:
        return Segment(opens.start(), opens.end(), "label", tag.lower())
    start, end = opens.start(), closes + len(closing)
    if end - start < SHORT_QUOTE_CHARS and text[text.rfind("\n", 0, start) + 1 : start].strip():
        return None  # such as "<b>twice</b>" in a sentence
    return Segment(start, end, "block", tag.lower())


def _lines(text: str, start: int, end: int) -> Iterator[Segment]:
    """Return the segments of a part without blocks: neighbouring lines of one kind, and single sentences."""
    run: list[Segment] = []
    for line in _kinds(text, start, end):
        if run and run[0].kind != line.kind:
            yield from _joined(text, run)
            run = []
        run.append(line)
    if run:
        yield from _joined(text, run)


def _joined(text: str, run: list[Segment]) -> Iterator[Segment]:
    if run[0].kind == "prose":
        for line in run:
            yield from _sentences(text, line)
    elif run[0].kind == "label":
        yield from run
    else:
        yield Segment(run[0].start, run[-1].end, run[0].kind)


def _kinds(text: str, start: int, end: int) -> list[Segment]:
    """The kind of each line, by its form and that of its neighbours."""
    lines, place = list[Segment](), start
    while place < end:
        found = text.find("\n", place, end)
        after = end if found < 0 else found + 1
        lines.extend(_line(text, place, after))
        place = after
    return _settled(text, lines)


def _line(text: str, start: int, end: int, labels: int = MAX_LABELS) -> Iterator[Segment]:
    opening = _OPENING.match(text, start, end)
    if opening is not None and opens_ask(opening[0]):
        yield Segment(start, opening.end(), "prose", "ask")
        start = opening.end()
    shape = _LINE.match(text, start, end)
    kind = shape.lastgroup if shape is not None else None
    if kind in ("blank", "mail", "log", "table", "data", "quote", "code"):
        yield Segment(start, end, kind)  # type: ignore[arg-type]  # a group of the pattern
    elif kind in ("chat", "rule"):
        yield Segment(start, end, "talk") if kind == "chat" else Segment(start, end, "label", "---")
    elif labels and (label := _label(text, start, end)) is not None:
        yield label
        if text[label.end : end].strip():
            yield from _line(text, label.end, end, labels - 1)
        elif label.end < end:
            yield Segment(label.end, end, "blank")
    else:
        line = text[start : min(end, start + _CODE_CHARS)].rstrip()
        code = line.endswith((";", "{", "}")) or _CODE.match(line) is not None or _SYMBOLS.search(line) is not None
        yield Segment(start, end, "code" if code else "prose", "weak" if _WEAK.match(line) else "")


_HEADER_WORDS = HEADER_WORDS | HEADERS


def _label(text: str, start: int, end: int) -> Segment | None:
    """Return the words at the start of a line that name what follows, such as "Text:"."""
    found = _LABEL.match(text, start, end)
    if found is None:
        return None
    words = found["words"].lower().strip()
    if words in ASK_LABELS:
        return Segment(start, found.end(), "label", words)
    each = words.split()
    if each[-1] in ASK_LABELS and len(each) <= 3:
        return Segment(start, found.end(), "label", each[-1])
    alone = not text[found.end() : end].strip()
    known = each[-1] in HEADERS and len(each) <= 3 and _HEADER_WORDS.issuperset(each)
    if known or (words in ("here it is", "here you go", "here they are") and alone):
        return Segment(start, found.end(), "label", words)
    return None


def _settled(text: str, lines: list[Segment]) -> list[Segment]:
    """Give lines that look like prose the kind of the lines around them, if these are of one kind."""
    kinds: list[Kind] = [line.kind for line in lines]
    weak = [line.kind == "prose" and line.label == "weak" for line in lines]
    speakers = [_SPEAKER.match(text, line.start, line.end) if line.kind == "prose" else None for line in lines]
    named = [one["who"] if one is not None else "" for one in speakers]
    if sum(map(bool, named)) >= 3 or len([one for one in named if one]) > len({*named} - {""}):
        for place, who in enumerate(named):
            if who:
                kinds[place] = "talk"
    for place in range(len(lines)):  # what hangs on the line before it
        if weak[place] and place and kinds[place - 1] in ("code", "data", "log", "table"):
            kinds[place] = kinds[place - 1]
        elif weak[place] and place + 1 < len(lines) and kinds[place + 1] == "code":
            kinds[place] = "code"
        elif weak[place] and _like_data(text, lines, weak, place):
            kinds[place] = "data"
    _fill(kinds, lines)
    _mails(text, kinds, lines)
    return [
        line._replace(kind=kind, label=line.label if kind == "label" else "")
        for line, kind in zip(lines, kinds, strict=True)
    ]


def _like_data(text: str, lines: list[Segment], weak: list[bool], place: int) -> bool:
    """Return whether a line is one of several settings, such as in YAML."""
    near = [one for one in (place - 1, place + 1) if 0 <= one < len(lines) and weak[one]]
    return bool(near) and all(":" in text[lines[one].start : lines[one].end] for one in (place, near[0]))


def _fill(kinds: list[Kind], lines: list[Segment]) -> None:
    """Give a few lines of prose the kind of the lines before and after them, if these are of one kind."""
    last: dict[Kind, int] = {}
    for place, kind in enumerate(kinds):
        if kind in ("code", "data", "log", "table", "quote", "talk"):
            before = last.get(kind)
            if before is not None and 1 < place - before <= 4:
                between = range(before + 1, place)
                alone = any(kinds[one] == "blank" for one in between) and any(kinds[one] == "prose" for one in between)
                if not alone or kind == "code":
                    for one in between:
                        if kinds[one] in ("prose", "blank", "label", "code", "data"):
                            kinds[one] = kind
            last[kind] = place


def _mails(text: str, kinds: list[Kind], lines: list[Segment]) -> None:
    """Mark a mail: from its headers or its greeting to its end."""
    opened: int | None = None
    headed = False
    for place, line in enumerate(lines):
        if line.kind == "mail":
            opened, headed = (place if opened is None else opened), True
        elif kinds[place] == "prose" and GREETING.match(text, line.start, line.end):
            opened = opened if headed else place
        elif kinds[place] == "prose" and opened is not None and SIGN_OFF.match(text, line.start, line.end):
            last = place
            while last + 1 < len(lines) and last < place + 4 and kinds[last + 1] == "prose":
                if lines[last + 1].end - lines[last + 1].start > 50:
                    break
                last += 1
            kinds[opened : last + 1] = ["mail"] * (last + 1 - opened)
            opened, headed = None, False
    if opened is not None and headed:
        _headed(kinds, lines, opened)


def _headed(kinds: list[Kind], lines: list[Segment], opened: int) -> None:
    """Mark a mail with headers but no end: all of it except a last paragraph of prose."""
    last = len(lines)
    while last > opened and kinds[last - 1] == "blank":
        last -= 1
    end = last
    while last > opened and kinds[last - 1] == "prose":
        last -= 1
    if last <= opened + 1 or kinds[last - 1] not in ("blank", "label"):
        last = end
    kinds[opened:last] = ["mail"] * (last - opened)


def _sentences(text: str, line: Segment) -> Iterator[Segment]:
    start = line.start
    for stop in _SENTENCE.finditer(text[line.start : line.end]):
        end = line.start + stop.end()
        if end >= line.end:
            break
        if "." in stop[0] and _SHORTENED.search(text, max(start, line.start + stop.start() - 8), end):
            continue
        yield Segment(start, end, "prose")
        start = end
    if start < line.end:
        yield Segment(start, line.end, "prose")
