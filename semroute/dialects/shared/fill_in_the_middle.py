"""Asks a chat model for the text between a beginning and an ending."""

from __future__ import annotations


def instruction(suffix: str) -> str:
    """Return the system prompt for a request whose user turn is the beginning. `suffix` is the ending."""
    return (
        "The user's message is the beginning of a text. Write what belongs between it and the ending below, so that "
        "the three parts read as one text. Answer with that middle part alone: repeat neither the beginning nor the "
        f"ending, add no comment and no code fence.\n\nThe ending:\n{suffix}"
    )
