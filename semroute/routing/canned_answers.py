"""Answers that a route has ready, so that no model is called. Pure."""

from __future__ import annotations

import datetime
import re

from semroute.config.answer_variables import METADATA, VARIABLE
from semroute.config.schema.routes import CannedAnswer, Route
from semroute.messages import CHAT, ChatRequest, Text


def canned_answer(route: Route, request: ChatRequest, confidence: float | None) -> str | None:
    """Return the text that answers a request, with its variables. None: a model must answer.

    `confidence`: that of the match. 0: the turn does not match. None: something else than a match led to the route.
    """
    answer = route.answer
    if answer is None or request.endpoint != CHAT:
        return None
    if confidence == 0 or _needs_a_model(request):
        return None
    if isinstance(answer, CannedAnswer):
        if confidence is not None and answer.threshold is not None and confidence < answer.threshold:
            return None
        return answer.text
    return answer


def _needs_a_model(request: ChatRequest) -> bool:
    """Return whether a request asks for more than a text, or does not end with a prompt of text alone."""
    params, choice = request.params, request.tool_choice
    if params.json_output or params.json_schema is not None or (params.n or 1) > 1 or params.logprobs:
        return True
    if choice is not None and choice.mode in ("required", "tool"):
        return True
    last = next((message for message in reversed(request.messages) if message.role != "system"), None)
    if last is None:  # a request from the log, whose text was not kept
        return False
    return last.role != "user" or not all(isinstance(part, Text) for part in last.parts)


def written(text: str, request: ChatRequest, at: float) -> str:
    """Return a canned answer with the values of its variables. `at`: now, in seconds since 1970."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name == "date":
            return datetime.datetime.fromtimestamp(at, datetime.UTC).date().isoformat()
        if name == "user":
            return request.params.user
        if name.startswith(METADATA):
            said = request.metadata.get(name.removeprefix(METADATA))
            return "" if said is None else str(said)
        return found[0]

    return VARIABLE.sub(value, text)
