"""A route's output contract: put to each model in the way it understands, and held when the answer comes."""

from __future__ import annotations

from msgspec.structs import replace

from semroute.config.schema.models import Model
from semroute.config.schema.policies import Checks
from semroute.config.schema.routes import JsonContract
from semroute.dialects import registry
from semroute.dialects.shared.json_output import instruction
from semroute.errors import ChecksFailedError
from semroute.execution.check_processes import Examiner
from semroute.messages import ChatRequest, Completion, JsonSchema, Message, Part, Text, ToolCall

NAME = "answer"


class Contract:
    """What every answer of a route must be: it is asked for, and then held."""

    def __init__(self, wanted: JsonContract, examiner: Examiner) -> None:
        self._wanted = wanted
        self._examiner = examiner

    def asked(self, request: ChatRequest, model: Model) -> ChatRequest:
        """The request as a model must get it to keep the contract. One answer is asked for: only that one is held."""
        return put(_alone(request), model, self._wanted)

    async def kept(self, request: ChatRequest, asked: ChatRequest, answer: Completion) -> Completion:
        """The answer, or the document in it where that stands out. Raises `ChecksFailedError` where both break it.

        `asked`: what the model was sent for the request. An answer that calls tools is not held: another one follows.
        """
        alone = asked.dialect == request.dialect and not _several(request)
        if not alone:  # the contract may be kept by means that no caller knows of
            answer = replace(answer, dialect="", raw=b"")
        if _several(request):
            answer = replace(answer, dropped=(*answer.dropped, "n"))
        if any(isinstance(part, ToolCall) for part in answer.parts):
            return answer
        own = request.params.json_schema is not None  # the caller's own schema is between caller and provider
        checks = Checks(json=True, json_schema=None if own else self._wanted.json_schema)
        found = await self._examiner.mended(checks, answer)
        if found.reasons:
            cut = " (it was cut off: the limit of tokens was reached)" if answer.finish_reason == "length" else ""
            raise ChecksFailedError(f"the answer breaks the route's `output`: {'; '.join(found.reasons)}{cut}")
        return answer if found.text == answer.text else _saying(answer, found.text)


def _several(request: ChatRequest) -> bool:
    return (request.params.n or 1) > 1


def _alone(request: ChatRequest) -> ChatRequest:
    """The request for one answer."""
    if not _several(request):
        return request
    raw = {name: value for name, value in request.raw.items() if name != "n"}
    return replace(request, params=replace(request.params, n=None), raw=raw)


def _saying(answer: Completion, text: str) -> Completion:
    """The answer with another text, in the place of its first."""
    parts: list[Part] = [part for part in answer.parts if not isinstance(part, Text)]
    first = next((place for place, part in enumerate(answer.parts) if isinstance(part, Text)), 0)
    parts.insert(first, Text(text=text))
    return replace(answer, parts=tuple(parts), logprobs=(), dialect="", raw=b"")


def put(request: ChatRequest, model: Model, contract: JsonContract) -> ChatRequest:
    """The request as a model must get it to keep the contract. A caller's own schema stands; mere JSON does not."""
    params = request.params
    if params.json_schema is not None or (params.json_output and contract.json_schema is None):
        return request
    return _asked(request, contract) if "json" in model.features else _told(request, contract)


def _schema(contract: JsonContract) -> JsonSchema | None:
    document = contract.json_schema
    return JsonSchema(document=document, name=NAME) if document is not None else None


def _asked(request: ChatRequest, contract: JsonContract) -> ChatRequest:
    """By the parameter that the provider's dialect has for it."""
    wanted = _schema(contract)
    said = replace(request, params=replace(request.params, json_output=True, json_schema=wanted))
    edit = registry.dialect(request.dialect).edits.ask_for_json
    if edit is None:
        return replace(said, dialect="", raw={})
    return replace(said, raw=edit(request.raw, wanted))


def _told(request: ChatRequest, contract: JsonContract) -> ChatRequest:
    """In words, for a model that knows no such parameter."""
    text = instruction(_schema(contract))
    messages = (Message(role="system", parts=(Text(text=text),)), *request.messages)
    edit = registry.dialect(request.dialect).edits.add_instruction
    if edit is None:
        return replace(request, messages=messages, dialect="", raw={})
    return replace(request, messages=messages, raw=edit(request.raw, text))
