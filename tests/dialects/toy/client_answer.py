"""What whole and streamed answers of the toy dialect share."""

from __future__ import annotations

from semroute.messages import Usage


def words(usage: Usage) -> list[int]:
    return [usage.input_tokens, usage.output_tokens]
