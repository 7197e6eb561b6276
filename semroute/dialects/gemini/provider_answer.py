"""Reads answers of Gemini. Each event of a stream is an answer with the next piece, so one reader reads both.

Source: https://ai.google.dev/api/generate-content.
"""

from __future__ import annotations

from typing import Any

import msgspec

from semroute.dialects.gemini.content import NAME, parse_part
from semroute.dialects.shared.error_bodies import broken_off, describe, no_answer
from semroute.dialects.shared.finish_and_token_counts import Count, read_counts
from semroute.errors import ContentPolicyError
from semroute.json_errors import UNREADABLE
from semroute.messages import (
    Alternative,
    Chunk,
    Citation,
    FinishReason,
    Part,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)

_FINISH_REASONS: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "MODEL_ARMOR": "content_filter",
}


_FAILED = {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE"}
"""Finish reasons of failed answers. Another call may succeed."""


class AnswerReader:
    """Reads the pieces of one answer."""

    def __init__(self) -> None:
        self.finished = False
        self._calls = 0
        self._index: int | None = None
        """Which of several answers is read: the first that came."""

    def read(self, answer: _Answer, raw: bytes) -> Chunk:
        """Return the chunk in a piece. Raises a `ProviderError` if the piece says that there is no answer."""
        if answer.error is not None:
            raise no_answer(raw)
        if answer.promptFeedback is not None and answer.promptFeedback.blockReason:
            reason = answer.promptFeedback.blockReason
            raise ContentPolicyError(f"Gemini blocked the prompt: {reason}", body=raw)
        if not answer.candidates and answer.usageMetadata is None:
            raise no_answer(raw, "expected an answer, got one without candidates")
        candidate = self._one(answer.candidates or [])
        usage = read_counts(answer.usageMetadata, UsageMetadata)
        return Chunk(
            parts=self._parts(candidate, answer.responseId or ""),
            finish_reason=self._finish(candidate, raw),
            usage=usage_of(usage),
            model=answer.modelVersion or "",
            id=answer.responseId or "",
            logprobs=_logprobs(candidate.logprobsResult),
            service_tier=_tier(usage),
            dialect=NAME,
            raw=raw,
        )

    def _one(self, candidates: list[_Candidate]) -> _Candidate:
        """Return the candidate that is read. An event of a stream may hold any of them."""
        if self._index is None and candidates:
            self._index = min([each.index or 0 for each in candidates])
        return next((each for each in candidates if (each.index or 0) == self._index), _Candidate())

    def _parts(self, candidate: _Candidate, turn: str) -> tuple[Part, ...]:
        parts: list[Part] = []
        for each in (candidate.content or _Content()).parts or ():
            part = parse_part(each, self._calls, turn)
            if part is not None:
                self._calls += isinstance(part, ToolCall)
                parts.append(part)
        if citations := _citations(candidate):
            parts.append(Text(text="", citations=citations))
        return tuple(parts)

    def _finish(self, candidate: _Candidate, raw: bytes) -> FinishReason | None:
        reason = candidate.finishReason
        if not reason or reason == "FINISH_REASON_UNSPECIFIED":
            return None
        if reason in _FAILED:
            raise broken_off(f"Gemini broke the answer off: {reason} {candidate.finishMessage or ''}", raw)
        self.finished = True
        return "tool_calls" if self._calls and reason == "STOP" else _FINISH_REASONS.get(reason, "stop")


class _Content(msgspec.Struct):
    parts: list[dict[str, Any]] | None = None


class _Cited(msgspec.Struct):
    startIndex: int | None = None
    endIndex: int | None = None
    uri: str | None = None
    title: str | None = None


class _CitationMetadata(msgspec.Struct):
    citationSources: list[_Cited] | None = None
    citations: list[_Cited] | None = None


class _Source(msgspec.Struct):
    uri: str | None = None
    title: str | None = None


class _GroundingChunk(msgspec.Struct):
    web: _Source | None = None


class _Segment(msgspec.Struct):
    startIndex: int | None = None
    endIndex: int | None = None
    text: str | None = None


class _Support(msgspec.Struct):
    segment: _Segment | None = None
    groundingChunkIndices: list[int] | None = None


class _Grounding(msgspec.Struct):
    groundingChunks: list[_GroundingChunk] | None = None
    groundingSupports: list[_Support] | None = None


class _Token(msgspec.Struct):
    token: str = ""
    logProbability: float = 0.0


class _Tokens(msgspec.Struct):
    candidates: list[_Token] | None = None


class _LogprobsResult(msgspec.Struct):
    chosenCandidates: list[_Token] | None = None
    topCandidates: list[_Tokens] | None = None


class _Candidate(msgspec.Struct):
    index: int | None = None
    """Which of several answers it is."""
    content: _Content | None = None
    finishReason: str | None = None
    finishMessage: str | None = None
    citationMetadata: _CitationMetadata | None = None
    groundingMetadata: _Grounding | None = None
    logprobsResult: _LogprobsResult | None = None


class _Feedback(msgspec.Struct):
    blockReason: str | None = None


class UsageMetadata(msgspec.Struct):
    """The tokens that an answer took."""

    promptTokenCount: Count | None = None
    """Includes cached tokens, but not those of tool use."""
    cachedContentTokenCount: Count | None = None
    toolUsePromptTokenCount: Count | None = None
    candidatesTokenCount: Count | None = None
    """Without thinking."""
    thoughtsTokenCount: Count | None = None
    serviceTier: str | None = None


class _Answer(msgspec.Struct):
    candidates: list[_Candidate] | None = None
    promptFeedback: _Feedback | None = None
    usageMetadata: Any = None
    modelVersion: str | None = None
    responseId: str | None = None
    embeddings: list[Any] | None = None
    error: Any = None

    @property
    def says_nothing(self) -> bool:
        """Whether it holds no more than who answers. In a stream, more may follow."""
        return not self.candidates and self.usageMetadata is None and self.promptFeedback is None


_decoder = msgspec.json.Decoder(_Answer, strict=False)


def decode(data: bytes, raw: bytes) -> _Answer:
    """Read a body, or the data of an event. Raises a `ProviderError` if it cannot be read."""
    try:
        return _decoder.decode(data)
    except UNREADABLE as error:
        raise no_answer(raw, f"expected an answer of Gemini, got {describe(data, error)}") from error


def usage_of(usage: UsageMetadata | None) -> Usage | None:
    """Return the usage of an answer. None: the answer does not say."""
    if usage is None or (usage.promptTokenCount is None and usage.candidatesTokenCount is None):
        return None
    thoughts = usage.thoughtsTokenCount or 0
    return Usage(
        input_tokens=(usage.promptTokenCount or 0) + (usage.toolUsePromptTokenCount or 0),
        output_tokens=(usage.candidatesTokenCount or 0) + thoughts,
        cached_tokens=usage.cachedContentTokenCount or 0,
        reasoning_tokens=thoughts,
    )


def _tier(usage: UsageMetadata | None) -> str:
    tier = ((usage and usage.serviceTier) or "").lower()
    return "default" if tier == "standard" else tier


def _citations(candidate: _Candidate) -> tuple[Citation, ...]:
    metadata = candidate.citationMetadata or _CitationMetadata()
    cited = [
        Citation(url=each.uri or "", title=each.title or "", start=each.startIndex or 0, end=each.endIndex or 0)
        for each in metadata.citationSources or metadata.citations or ()
    ]
    grounding = candidate.groundingMetadata or _Grounding()
    chunks = grounding.groundingChunks or []
    for support in grounding.groundingSupports or ():
        segment = support.segment or _Segment()
        sources = [chunks[index].web for index in support.groundingChunkIndices or () if 0 <= index < len(chunks)]
        cited += [
            Citation(
                url=source.uri or "", title=source.title or "", start=segment.startIndex or 0, end=segment.endIndex or 0
            )
            for source in sources
            if source is not None
        ]
    return tuple(cited)


def _logprobs(result: _LogprobsResult | None) -> tuple[TokenLogprob, ...]:
    if result is None:
        return ()
    tops = result.topCandidates or []
    return tuple(
        TokenLogprob(
            token=chosen.token,
            logprob=chosen.logProbability,
            top=tuple(
                Alternative(token=other.token, logprob=other.logProbability)
                for other in (tops[place].candidates or () if place < len(tops) else ())
            ),
        )
        for place, chosen in enumerate(result.chosenCandidates or ())
    )
