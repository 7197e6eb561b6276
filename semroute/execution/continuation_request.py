"""The request for the rest of an answer that broke off, and how the rest is joined to what was sent. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from msgspec.structs import replace

from semroute.dialects import registry
from semroute.messages import ChatRequest, Message, Text
from semroute.routing.pricing import estimate_text_tokens

INSTRUCTION = (
    "Your answer was cut off by a lost connection. Continue it exactly where it stopped. Begin with the very next "
    "character, including a space if one is due. Do not repeat anything, do not comment on the interruption."
)
SURE_CHARS = 8
"""Characters. A repetition of this length is no coincidence."""
MAX_SHORT_CHARS = 1000
"""Characters. Each length of a repetition up to this one is tried."""
MAX_STARTS = 100
"""The most places that are tried as the beginning of a longer repetition."""
MAX_HELD_CHARS = 65_536
"""Characters. No more than this is held back while it may be a repetition."""


def continuation(request: ChatRequest, said: str, *, prefill: bool) -> ChatRequest:
    """Return the request for the text after `said`, which becomes the last turn of the assistant.

    `prefill`: whether the model continues that turn by itself. If not, an instruction asks it to.
    """
    turns = [Message(role="assistant", parts=(Text(text=said),))]
    if not prefill:
        turns.append(Message(role="user", parts=(Text(text=INSTRUCTION),)))
    spent = estimate_text_tokens(said)
    params = request.params
    if params.max_tokens is not None:
        params = replace(params, max_tokens=max(1, params.max_tokens - spent))
    edit = registry.dialect(request.dialect).edits.add_turns
    raw = {} if edit is None else edit(request.raw, turns, spent)
    return replace(
        request,
        messages=(*request.messages, *turns),
        params=params,
        raw=raw,
        dialect=request.dialect if raw else "",
    )


def overlap(said: str, more: str) -> int:
    """Return how many characters at the start of `more` only repeat the end of `said`.

    A few characters may be alike by chance ("he said hel" + "lo"). They count only if they are whole words, or all of
    `said`.
    """
    short = range(min(len(said), len(more), MAX_SHORT_CHARS), 0, -1)
    for length in chain(_long_overlaps(said, more), short):
        if said.endswith(more[:length]) and _meant(said, more, length):
            return length
    return 0


def _long_overlaps(said: str, more: str) -> Iterator[int]:
    """Yield how long an overlap may be, longest first. It begins wherever the start of `more` appears in `said`."""
    start, place = more[:SURE_CHARS], -1
    for _ in range(MAX_STARTS if len(start) == SURE_CHARS else 0):
        place = said.find(start, max(place + 1, len(said) - len(more)))
        if place < 0:
            return
        yield len(said) - place


def _meant(said: str, more: str, length: int) -> bool:
    if length >= SURE_CHARS or length == len(said) > 1:
        return True
    repeated = more[:length]
    starts_a_word = said[-length - 1].isspace() or repeated[0].isspace()
    ends_a_word = len(more) > length and not more[length].isalnum()
    return length > 1 and repeated[0].isalnum() and starts_a_word and ends_a_word


class AnswerJoiner:
    """Joins a continuation to the text before it. It holds back the start while that may still be a repetition."""

    def __init__(self, said: str) -> None:
        self._said = said
        self._held = ""
        self._joined = not said

    def feed(self, text: str) -> str:
        """Return the new text in one more piece. Empty: it is not yet clear what is new."""
        if self._joined:
            return text
        self._held += text
        if len(self._held) <= MAX_HELD_CHARS and self._held in self._said:
            return ""
        return self.close()

    def close(self) -> str:
        """Return the new text that was held back, because no more comes."""
        if self._joined:
            return ""
        self._joined = True
        return self._held[overlap(self._said, self._held) :]
