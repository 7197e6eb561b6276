"""Asks a model for a summary, if its provider has no endpoint that shortens a conversation."""

from __future__ import annotations

import msgspec

from semroute.dialects.protocols import refuse_embeddings
from semroute.messages import CHAT, ChatRequest, Message, Text

INSTRUCTION = """\
Summarize the conversation so far for somebody who goes on with it and can read nothing else of it.
Keep what was asked for and what is still to do, decisions with their reasons, names, paths, numbers and quotes that are
needed, what was tried and how it ended. Leave out greetings and what is settled. Answer with the summary alone."""


def as_chat(request: ChatRequest, dialect: str) -> ChatRequest:
    """Turn a request into one for an answer, for dialects that know no other. Raises `UnsupportedError` for embeddings.

    The instruction is added here, after routing, so that it does not influence the route.
    """
    if request.endpoint == CHAT:  # the most common case
        return request
    refuse_embeddings(request, dialect)
    return msgspec.structs.replace(
        request, messages=(*request.messages, Message(role="user", parts=(Text(text=INSTRUCTION),)))
    )
