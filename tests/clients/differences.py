"""Where clients see through semroute what they do not see at a provider."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """A client, a wire format, a provider's format and a scene. An empty name stands for all."""

    client: str = ""
    wire: str = ""
    run: str = ""
    scene: str = ""

    def within(self, other: Place) -> bool:
        return all(wanted in ("", name) for name, wanted in zip(self, other, strict=True))


KNOWN: dict[Place, str] = {
    Place("agno", "gemini", "", "break"): (
        "In Gemini's format it shows a stream that breaks as an error whose text is the name of a Python object."
    ),
    Place("openai_agents_js", "responses", "", "break"): (
        "In Responses a stream that breaks raises `ModelBehaviorError`, which names `response.failed`, not the cause."
    ),
    Place("mistralai", "openai", "", "break"): (
        "A stream that breaks raises `ResponseValidationError`; its `body` holds semroute's words."
    ),
    Place("langchain_js", "anthropic", "", "stream"): (
        "In Messages, LangChain JS takes the input tokens of a stream from its start. Providers of other formats count "
        "them at the end, so for these it shows semroute's estimate."
    ),
}
"""Differences that stay, each with the sentence that stands in the client's page."""
