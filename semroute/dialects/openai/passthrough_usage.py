"""Reads the usage in answers that are passed on unread, such as those about files, batches and moderations."""

from __future__ import annotations

from typing import Any

import msgspec

from semroute.bases import Frozen
from semroute.dialects.shared.finish_and_token_counts import Count, InputDetails, read_counts
from semroute.json_errors import UNREADABLE
from semroute.messages import Usage


class _Usage(msgspec.Struct):
    """Usage, by the names of Responses or of Chat Completions."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    input_tokens_details: InputDetails | None = None
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: InputDetails | None = None


class ReportedUsage(Frozen, frozen=True, kw_only=True):
    """The usage in an answer."""

    usage: Usage
    model: str = ""
    """The model's name at the provider. Empty: the answer does not say."""
    batch: str = ""
    """The id of the batch that took these tokens. Empty: this call took them."""


def reported_usage(answer: bytes) -> ReportedUsage | None:
    """Read the usage in an answer. None: there is none, or none yet because a batch is still running."""
    try:
        body = msgspec.json.decode(answer)
    except UNREADABLE:
        return None
    match body:
        case {
            "object": "batch",
            "id": str(batch),
            "status": "completed" | "expired" | "cancelled",
            "usage": dict(said),
        }:
            usage = _read(said)
        case {"object": "batch"}:
            return None
        case {"usage": dict(said)}:
            batch, usage = "", _read(said)
        case _:
            return None
    return None if usage is None else ReportedUsage(usage=usage, model=_text(body.get("model")), batch=batch)


def _read(said: dict[str, Any]) -> Usage | None:
    counts = read_counts(said, _Usage)
    if counts is None:
        return None
    details = counts.input_tokens_details or counts.prompt_tokens_details
    usage = Usage(
        input_tokens=counts.input_tokens or counts.prompt_tokens or 0,
        output_tokens=counts.output_tokens or counts.completion_tokens or 0,
        cached_tokens=details.cached_tokens or 0 if details is not None else 0,
    )
    return usage if usage.input_tokens or usage.output_tokens else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
