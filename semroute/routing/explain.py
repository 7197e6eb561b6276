"""Explain a decision: which words carried it, and what would have changed it. Pure, except for `match`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from semroute.decision import Candidate, Decision, Details, Flip, Match, Piece, Word
from semroute.routing.ask import Ask

MAX_PIECES = 32
"""The most matches for one prompt. Of a longer prompt, several words are left out at a time."""

MAX_MATERIAL_CHARS = 400
"""Characters of a piece of material that are shown: half of them from its head, half from its tail."""

_WORD = re.compile(r"\S+")

Compare = Callable[[Sequence[str]], list[Match]]
Choose = Callable[[Match], str | None]


def explain(text: str, decision: Decision, match: Compare, choose: Choose) -> Details:
    """Return the words that carried a decision, and the smallest change that would have changed it.

    `match` compares texts with the routes; `choose` gives the route that a match leads to. Each word's weight is what
    the best candidate's confidence loses when the word is left out (occlusion, Zeiler and Fergus 2014).
    """
    if not decision.candidates:
        return Details(words=(), flip=None)
    return Details(words=_words(text, decision.candidates[0], match, choose), flip=smallest_flip(decision, choose))


def pieces(text: str) -> list[tuple[int, int]]:
    """Return where each word begins and ends. More than `MAX_PIECES` words are taken several at a time."""
    spans = [word.span() for word in _WORD.finditer(text)]
    size = -(-len(spans) // MAX_PIECES) or 1
    groups = [spans[start : start + size] for start in range(0, len(spans), size)]
    return [(group[0][0], group[-1][1]) for group in groups]


def ask_and_material(prompt: str, ask: Ask) -> tuple[Piece, ...]:
    """Return a prompt cut into what counted as ask and what is material."""
    told = [Piece(text=ask.before, asked=True, earlier=True)] if ask.before else []
    place = 0
    for start, end in ask.spans or ((0, len(prompt)),):
        if prompt[place:start].strip():
            told.append(Piece(text=_shown(prompt[place:start]), asked=False))
        told.append(Piece(text=prompt[start:end], asked=True))
        place = end
    if prompt[place:].strip():
        told.append(Piece(text=_shown(prompt[place:]), asked=False))
    return tuple(told)


def _shown(material: str) -> str:
    left_out = len(material) - MAX_MATERIAL_CHARS
    if left_out <= 0:
        return material
    half = MAX_MATERIAL_CHARS // 2
    return f"{material[:half]} … {left_out:,} characters … {material[-half:]}"


def smallest_flip(decision: Decision, choose: Choose) -> Flip | None:
    """Return the smallest change: the best candidate crosses its threshold, or another candidate overtakes it.

    None if something else than confidence decided.
    """
    best, *others = decision.candidates
    flips: list[Flip] = []
    if decision.reason == "default":
        flips = [_more(best, decision.threshold)] if _taken(replace(best, confidence=1.0), choose) else []
        for rival in others:
            ahead = _ahead(rival, max(best.confidence, _fixed(rival)))
            flips += [_more(rival, ahead.confidence)] if _taken(ahead, choose) else []
    elif decision.reason == "semantic":
        short = round(best.confidence - decision.threshold, 4)
        because = f"with {short:.3f} less confidence in {best.route}, no route would have been taken"
        flips = [Flip(route=None, gap=short, explanation=because)]
        for rival in others:
            gap = round(best.confidence - rival.confidence, 4)
            taken = _taken(_ahead(rival, best.confidence), choose)
            because = f"{rival.route} is next, {gap:.3f} behind {best.route}"
            because += "" if taken else ", and would not reach its own threshold: no route would have been taken"
            flips.append(Flip(route=rival.route if taken else None, gap=gap, explanation=because))
    return min(flips, key=lambda flip: flip.gap, default=None)


def _more(candidate: Candidate, confidence: float) -> Flip:
    gap = round(confidence - candidate.confidence, 4)
    because = f"with {gap:.3f} more confidence, {candidate.route} would have been taken"
    return Flip(route=candidate.route, gap=gap, explanation=because)


def _ahead(rival: Candidate, confidence: float) -> Candidate:
    """Return the candidate with this confidence. A calibrated threshold grows in proportion."""
    threshold = _fixed(rival) or rival.threshold * confidence / max(rival.confidence, 1e-9)
    return replace(rival, confidence=confidence, threshold=threshold)


def _fixed(candidate: Candidate) -> float:
    """Return the threshold that was set for a candidate. 0: it is calibrated."""
    return 0.0 if candidate.threshold_from == "calibrated" else candidate.threshold


def _taken(best: Candidate, choose: Choose) -> bool:
    return choose(Match(candidates=(best,), in_scope=1.0)) == best.route


def _words(text: str, best: Candidate, match: Compare, choose: Choose) -> tuple[Word, ...]:
    spans = pieces(text)
    if len(spans) < 2:  # without its only word there is nothing to match
        return ()
    without = match([f"{text[:start]}{text[end:]}".strip() for start, end in spans])
    return tuple(
        Word(
            text=text[start:end],
            effect=round(best.confidence - _confidence(found.candidates, best.route), 4),
            route_without=choose(found),
        )
        for (start, end), found in zip(spans, without, strict=True)
    )


def _confidence(candidates: Sequence[Candidate], route: str) -> float:
    """Return the confidence in a route, or 0 if it is not among the best."""
    return next((candidate.confidence for candidate in candidates if candidate.route == route), 0.0)
