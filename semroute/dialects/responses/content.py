"""Reads and writes items of OpenAI Responses. Source: https://platform.openai.com/docs/api-reference/responses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain, count, groupby
from typing import Any, Final

import msgspec

from semroute.dialects.openai.content import parse_cache, parse_citations, render_citation
from semroute.dialects.responses.tools import Toolbox, output_of, parse_call
from semroute.dialects.shared.body_parsing import objects, objects_of, problem, role_of, shown, tool_result
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.thinking import SEAL, is_sealed, seal, unseal
from semroute.messages import (
    CacheTtl,
    Document,
    Image,
    Message,
    Opaque,
    Part,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

NAME: Final = "responses"
_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_SUMMARY = f"{SEAL}summary."
"""The start of the `encrypted_content` of semroute's own summaries."""
_COMPACTIONS = ("compaction", "compaction_summary", "context_compaction")
"""Types of items that hold a summary: OpenAI's, and those that Codex writes."""
_STATEFUL = "no item is known here by its id: send the whole conversation in `input`"

# --- items to messages ------------------------------------------------------------------------------------------------


def parse_input(items: str | list[Any] | None, toolbox: Toolbox) -> tuple[Message, ...]:
    """Read the messages in `input`. `toolbox` finds the tools of its calls. Raises `RequestError`.

    Thoughts, texts and calls of the model in a row become one message. So do tool results in a row.
    """
    if items is None or items == []:
        raise problem("input", "got nothing, expected text or a list of items")
    if isinstance(items, str):
        return (Message(role="user", parts=(Text(text=items),)),)
    parsed = (_parse_item(item, f"input[{number}]", toolbox) for number, item in enumerate(objects(items, "input")))
    found = (message for message in parsed if message is not None)
    messages: list[Message] = []
    for role, in_a_row in groupby(found, key=lambda message: message.role):
        if role in ("assistant", "tool"):
            first, *others = in_a_row
            messages.append(_joined(first, others) if others else first)
        else:
            messages += in_a_row
    return tuple(messages)


def _joined(first: Message, others: list[Message]) -> Message:
    """Return one message with the parts of several. Its tool calls are numbered anew."""
    parts = chain.from_iterable(message.parts for message in (first, *others))
    calls = count()
    return Message(
        role=first.role,
        parts=tuple(
            msgspec.structs.replace(part, index=next(calls)) if isinstance(part, ToolCall) else part for part in parts
        ),
    )


def _parse_item(item: dict[str, Any], path: str, toolbox: Toolbox) -> Message | None:
    """Read one item. None: it only declares tools."""
    if (call := parse_call(item, toolbox)) is not None:
        return Message(role="assistant", parts=(call,))
    if (result := output_of(item)) is not None:
        id_, output, failed = result
        parsed = _parse_output(id_, output, f"{path}.output")
        return Message(role="tool", parts=(msgspec.structs.replace(parsed, is_error=True) if failed else parsed,))
    if (summary := _summary_message(item)) is not None:
        return summary
    match item:
        case {"role": str(role), "content": content}:
            return _parse_message(role, content, path)
        case {"type": "additional_tools"}:
            return None
        case {"type": "agent_message", "content": list(content)}:
            return _parse_agent(item, content, path)
        case {"type": "reasoning"}:
            return Message(role="assistant", parts=(parse_reasoning(item),))
        case {"type": "item_reference"}:
            raise problem(path, f"got a reference to a stored item: {_STATEFUL}")
        case {"type": str(kind)} if kind not in ("message", "function_call", "function_call_output"):
            return Message(role="assistant", parts=(Opaque(kind=kind),))
        case _:
            kind = shown(item.get("type"))
            raise problem(path, f"got an item of type {kind}, expected a `role` and `content`, or what that type holds")


def seal_summary(text: str) -> str:
    """Return the `encrypted_content` of a `compaction` item with this summary."""
    return f"{_SUMMARY}{text}"


def _summary_message(item: Mapping[str, Any]) -> Message | None:
    """Return the message for one of semroute's own summaries. None: the item is something else."""
    sealed = item.get("encrypted_content")
    if item.get("type") not in _COMPACTIONS or not isinstance(sealed, str) or not sealed.startswith(_SUMMARY):
        return None
    text = f"Summary of the conversation before:\n{sealed.removeprefix(_SUMMARY)}"
    return Message(role="user", parts=(Text(text=text),))


def _parse_agent(item: dict[str, Any], content: list[Any], path: str) -> Message:
    """Read a message of one agent to another, which is a task for the model.

    Codex writes texts of all models as `encrypted_content`. A text with white space is not encrypted.
    """
    head = f"Message from {item.get('author') or 'an agent'} to {item.get('recipient') or 'you'}:"
    parts: list[Part] = [Text(text=head)]
    for number, part in enumerate(objects(content, f"{path}.content")):
        sealed = part.get("encrypted_content")
        if isinstance(sealed, str) and len(sealed.split()) > 1:
            parts.append(Text(text=sealed))
        else:
            parts.append(parse_content_part(part, f"{path}.content[{number}]"))
    return Message(role="user", parts=tuple(parts))


def _parse_message(role: str, content: object, path: str) -> Message:
    return Message(role=role_of(role, _ROLES, path), parts=_parse_content(content, f"{path}.content"))


def _parse_content(content: object, path: str) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(text=content),)
    if not isinstance(content, list):
        raise problem(path, f"got {shown(content)}, expected text or a list of parts")
    return tuple(parse_content_part(part, f"{path}[{number}]") for number, part in enumerate(objects(content, path)))


def parse_content_part(part: dict[str, Any], path: str = "content") -> Part:
    """Read one part of a message's content. Raises `RequestError`."""
    cache = parse_cache(part)
    match part:
        case {"type": "output_text", "text": str(text)}:
            return Text(text=text, citations=parse_citations(part.get("annotations")))
        case {"type": "input_text" | "text", "text": str(text)}:
            return Text(text=text, cache=cache)
        case {"type": "refusal", "refusal": str(text)}:
            return Refusal(text=text)
        case {"type": "input_image", "image_url": str(url)}:
            return Image(url=url, detail=str(part.get("detail") or ""), cache=cache)
        case {"type": "input_file", "file_data": str(url)} | {"type": "input_file", "file_url": str(url)}:
            return Document(url=url, name=str(part.get("filename") or ""), cache=cache)
        case {"type": str(kind)}:
            return Opaque(kind=kind)
        case _:
            raise problem(
                f"{path}.type", f"got {shown(part.get('type'))}, expected the part's type, such as 'input_text'"
            )


def _parse_output(id_: str, output: object, path: str) -> ToolResult:
    return tool_result(id_, _parse_content(output or "", path))


def parse_reasoning(item: dict[str, Any]) -> Thinking:
    """Read a reasoning item. Its id becomes part of the signature, because OpenAI needs both back."""
    said = item.get("summary") or item.get("content") or []
    text = "\n\n".join(str(each.get("text") or "") for each in objects_of(said))
    thought = unseal(text, str(item.get("encrypted_content") or ""), NAME)
    if thought.origin != NAME:
        return thought
    return Thinking(text=text, signature=f"{item.get('id') or ''}:{thought.signature}", origin=NAME)


def keep_own_thoughts(body: dict[str, Any], dropped: Dropped) -> None:
    """Remove thoughts of other providers from a caller's own body. OpenAI cannot decrypt them."""
    items = body.get("input")
    if not isinstance(items, list):
        return
    own: list[dict[str, Any]] = []
    for item in items:
        if not is_sealed(item.get("encrypted_content")):
            own.append(item)
        elif (summary := _summary_message(item)) is not None:
            own.append({"role": "user", "content": [{"type": "input_text", "text": summary.text}]})
            dropped.adapt("summary of the conversation: sent as a message")
        else:
            dropped.add("thinking of another provider")
    if own != items:
        body["input"] = own


# --- messages to items ------------------------------------------------------------------------------------------------


def render_input(messages: Iterable[Message], dropped: Dropped) -> list[dict[str, Any]]:
    """Render the items of a conversation. What Responses cannot express is noted."""
    items: list[dict[str, Any]] = []
    for message in messages:
        dropped.add_given(**{"messages.name": message.name})
        content: list[dict[str, Any]] | None = None
        for part in message.parts:
            block = _render_part(part, message.role, dropped)
            if block is not None and content is not None:
                content.append(block)
            elif block is not None:  # text after a call begins a new message
                content = [block]
                items.append({"role": message.role, "content": content})
            elif (item := _render_item(part, dropped)) is not None:
                items.append(item)
                content = None
    return items


def render_cache(cache: CacheTtl | None, dropped: Dropped) -> dict[str, Any]:
    """Render the cache mark of a part."""
    dropped.add_given(**{"cache_control.ttl": cache == "1h"})
    return {"prompt_cache_breakpoint": {"mode": "explicit"}} if cache else {}


def _render_part(part: Part, role: Role, dropped: Dropped) -> dict[str, Any] | None:
    match part:
        case Text(text=text, cache=cache):
            if role == "assistant":
                dropped.add_given(**{"cache_control": cache})
                return render_text(part)
            return {"type": "input_text", "text": text, **render_cache(cache, dropped)}
        case Refusal(text=text):
            return {"type": "refusal", "refusal": text}
        case Image():
            return _render_image(part, dropped)
        case Document(url=url, name=name):
            dropped.add_given(citations=part.cite)
            where = {"file_data": url} if url.startswith("data:") else {"file_url": url}
            named = {"filename": name} if name else {}
            return {"type": "input_file", **where, **named, **render_cache(part.cache, dropped)}
    return None


def render_text(part: Text) -> dict[str, Any]:
    """Render a text of the model."""
    annotations = [
        {"type": "url_citation", **render_citation(citation), "end_index": citation.end or len(part.text)}
        for citation in part.citations
    ]
    return {"type": "output_text", "text": part.text, "annotations": annotations}


def _render_image(part: Image, dropped: Dropped) -> dict[str, Any]:
    detail = {"detail": part.detail} if part.detail else {}
    return {"type": "input_image", "image_url": part.url, **detail, **render_cache(part.cache, dropped)}


def _render_item(part: Part, dropped: Dropped) -> dict[str, Any] | None:
    dropped.add_given(**{"cache_control": getattr(part, "cache", None)})
    match part:
        case ToolCall(id=id_, name=name, arguments=arguments):
            return {"type": "function_call", "call_id": id_, "name": name, "arguments": arguments or "{}"}
        case ToolResult(id=id_):
            return {"type": "function_call_output", "call_id": id_, "output": _render_output(part, dropped)}
        case Thinking(origin="responses", signature=signature, text=text):
            reasoning_id, _, encrypted = signature.partition(":")
            return {"type": "reasoning", "id": reasoning_id, **_summary(text), "encrypted_content": encrypted}
        case _:
            dropped.add(part.kind if isinstance(part, Opaque) else "thinking of another provider")
            return None


def _render_output(part: ToolResult, dropped: Dropped) -> str | list[dict[str, Any]]:
    dropped.add_given(**{"is_error": part.is_error})
    dropped.add_given(**{each.kind: True for each in part.media if isinstance(each, Opaque)})
    media = [shown for each in part.media if (shown := _render_part(each, "tool", dropped)) is not None]
    if not media:
        return part.text
    text = [{"type": "input_text", "text": part.text}] if part.text else []
    return [*text, *media]


def _summary(text: str) -> dict[str, Any]:
    return {"summary": [{"type": "summary_text", "text": text}] if text else []}


def render_reasoning(part: Thinking, id_: str) -> dict[str, Any]:
    """Render a reasoning item for a caller. A signature of another provider is kept."""
    signature = seal(part, NAME)
    if part.origin == NAME:
        id_, _, signature = signature.partition(":")
    encrypted = {"encrypted_content": signature} if signature else {}
    return {"type": "reasoning", "id": id_, **_summary(part.text), **encrypted}


def drop_logprobs(answer: dict[str, Any]) -> None:
    """Remove the log-probabilities from a provider's answer. The list is empty if nobody asked.

    Source: https://platform.openai.com/docs/api-reference/responses/object.
    """
    for item in objects_of(answer.get("output")):
        for part in objects_of(item.get("content")):
            if "logprobs" in part:
                part["logprobs"] = []
