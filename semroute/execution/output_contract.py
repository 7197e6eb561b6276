"""Ask each model to keep a route's output contract, in the way it understands, and check that the answer does."""

from __future__ import annotations

from msgspec.structs import replace

from semroute.config.json_schemas import SchemaFaultError
from semroute.config.schema.models import Model
from semroute.config.schema.policies import Checks
from semroute.config.schema.routes import JsonContract
from semroute.dialects import registry
from semroute.dialects.shared.json_output import instruction
from semroute.errors import ChecksFailedError
from semroute.execution.check_processes import AnswerChecker
from semroute.messages import ChatRequest, Completion, JsonSchema, Message, Part, Text, ToolCall

NAME = "answer"


class Contract:
    """The output contract of a route, and the checks for it."""

    def __init__(self, wanted: JsonContract, examiner: AnswerChecker) -> None:
        self._wanted = wanted
        self._examiner = examiner

    def asked(self, request: ChatRequest, model: Model) -> ChatRequest:
        """Return the request in the form in which a model keeps the contract. It asks for one answer only."""
        return ask_for_contract(_alone(request), model, self._wanted)

    async def kept(self, request: ChatRequest, asked: ChatRequest, answer: Completion) -> Completion:
        """Return the answer, or the document in it. Raises `ChecksFailedError` if neither keeps the contract.

        Raises `SchemaFaultError` if the contract's schema cannot be used. No model is to blame for that.

        `asked`: the request as the model got it. An answer that calls tools is not checked, because another answer
        follows.
        """
        alone = asked.dialect == request.dialect and not _several(request)
        if not alone:  # the body may hold things that the caller did not ask for
            answer = replace(answer, dialect="", raw=b"")
        if _several(request):
            answer = replace(answer, dropped=(*answer.dropped, "n"))
        if any(isinstance(part, ToolCall) for part in answer.parts):
            return answer
        own = request.params.json_schema is not None  # a caller's own schema is for the provider to keep
        checks = Checks(json=True, json_schema=None if own else self._wanted.json_schema)
        try:
            found = await self._examiner.mended(checks, answer)
        except SchemaFaultError as error:
            raise SchemaFaultError(f"the route's `output.json_schema` cannot be used: {error}") from None
        if found.reasons:
            cut = " (it was cut off: the limit of tokens was reached)" if answer.finish_reason == "length" else ""
            raise ChecksFailedError(f"the answer breaks the route's `output`: {'; '.join(found.reasons)}{cut}")
        return answer if found.text == answer.text else _saying(answer, found.text)


def _several(request: ChatRequest) -> bool:
    return (request.params.n or 1) > 1


def _alone(request: ChatRequest) -> ChatRequest:
    """Return the request with only one answer asked for."""
    if not _several(request):
        return request
    raw = {name: value for name, value in request.raw.items() if name != "n"}
    return replace(request, params=replace(request.params, n=None), raw=raw)


def _saying(answer: Completion, text: str) -> Completion:
    """Return the answer with this text in place of its own."""
    parts: list[Part] = [part for part in answer.parts if not isinstance(part, Text)]
    first = next((place for place, part in enumerate(answer.parts) if isinstance(part, Text)), 0)
    parts.insert(first, Text(text=text))
    return replace(answer, parts=tuple(parts), logprobs=(), dialect="", raw=b"")


def ask_for_contract(request: ChatRequest, model: Model, contract: JsonContract) -> ChatRequest:
    """Return the request in the form in which a model keeps the contract.

    If the caller asks for a schema of its own, that schema stays. If it only asks for JSON, the contract's schema is
    added.
    """
    params = request.params
    if params.json_schema is not None or (params.json_output and contract.json_schema is None):
        return request
    return _asked(request, contract) if "json" in model.features else _told(request, contract)


def _schema(contract: JsonContract) -> JsonSchema | None:
    document = contract.json_schema
    return JsonSchema(document=document, name=NAME) if document is not None else None


def _asked(request: ChatRequest, contract: JsonContract) -> ChatRequest:
    """Ask for JSON by the parameter that the provider's dialect has for it."""
    wanted = _schema(contract)
    said = replace(request, params=replace(request.params, json_output=True, json_schema=wanted))
    edit = registry.dialect(request.dialect).edits.ask_for_json
    if edit is None:
        return replace(said, dialect="", raw={})
    return replace(said, raw=edit(request.raw, wanted))


def _told(request: ChatRequest, contract: JsonContract) -> ChatRequest:
    """Ask for JSON in words, because the model knows no parameter for it."""
    text = instruction(_schema(contract))
    messages = (Message(role="system", parts=(Text(text=text),)), *request.messages)
    edit = registry.dialect(request.dialect).edits.add_instruction
    if edit is None:
        return replace(request, messages=messages, dialect="", raw={})
    return replace(request, messages=messages, raw=edit(request.raw, text))
