"""Cut long texts to their head and tail."""

from __future__ import annotations

_WORD_CHARS = 100  # how far a cut may move to meet white space; WordPiece itself gives up on longer words


def bound_text(text: str, side_chars: int) -> str:
    """Return the head and the tail of a long text, joined by a newline.

    Head and tail have at most `side_chars` characters each. If a cut falls inside a word, the rest of the word is
    dropped, up to 100 characters. In text without white space (Chinese, base64) nothing is dropped. White space at the
    ends does not count: a text that is short without it is returned whole.
    """
    text = text.strip()
    if len(text) <= 2 * side_chars:
        return text
    slack = min(_WORD_CHARS, side_chars // 2)
    head, tail = text[:side_chars], text[-side_chars:]
    if not text[side_chars].isspace():
        head = head[: side_chars - slack] + _up_to_space(head[side_chars - slack :])
    if not text[-side_chars - 1].isspace():
        tail = _up_to_space(tail[:slack][::-1])[::-1] + tail[slack:]
    return f"{head}\n{tail}"


def _up_to_space(end: str) -> str:
    """Drop a word that a cut left unfinished. Without white space nothing is dropped, because no word can be told."""
    words = end.rsplit(maxsplit=1)
    return end[: -len(words[-1])] if words and len(words[-1]) < len(end) else end
