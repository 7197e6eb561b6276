"""Text that belongs between a beginning and an ending, asked of a chat model."""

from __future__ import annotations


def instruction(suffix: str) -> str:
    """The system prompt for a request that gives the beginning as the user's turn, and this ending."""
    return (
        "The user's message is the beginning of a text. Write what belongs between it and the ending below, so that "
        "the three parts read as one text. Answer with that middle part alone: repeat neither the beginning nor the "
        f"ending, add no comment and no code fence.\n\nThe ending:\n{suffix}"
    )
