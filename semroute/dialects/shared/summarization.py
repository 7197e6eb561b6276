"""What a model is asked that cannot make a conversation shorter by itself."""

from __future__ import annotations

import msgspec

from semroute.dialects.dialect import ENDPOINTS, refuse_embeddings
from semroute.messages import ChatRequest, Message, Text

INSTRUCTION = """\
Summarize the conversation so far for somebody who goes on with it and can read nothing else of it.
Keep what was asked for and what is still to do, decisions with their reasons, names, paths, numbers and quotes that are
needed, what was tried and how it ended. Leave out greetings and what is settled. Answer with the summary alone."""


def as_chat(request: ChatRequest, dialect: str) -> ChatRequest:
    """The request as one for an answer, for a dialect that knows nothing else. Raises `UnsupportedError`.

    What is asked of the model is added here, so that nothing of it counts when the request is routed.
    """
    if request.dialect not in ENDPOINTS:  # as nearly always
        return request
    refuse_embeddings(request, dialect)
    return msgspec.structs.replace(
        request, messages=(*request.messages, Message(role="user", parts=(Text(text=INSTRUCTION),)))
    )
