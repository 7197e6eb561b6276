"""Reads and writes Anthropic's content blocks. Source: https://platform.claude.com/docs/en/api/messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from semroute.dialects.anthropic.models import reads_thoughts
from semroute.dialects.shared.body_parsing import (
    arguments_of,
    object_of,
    objects,
    problem,
    shown,
    tool_result,
    without_empty,
)
from semroute.dialects.shared.data_urls import data_url, read_data_url, text_of, text_url
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.thinking import split_id, unseal
from semroute.messages import (
    CacheTtl,
    Citation,
    Document,
    Image,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

NAME: Final = "anthropic"

# --- blocks to parts --------------------------------------------------------------------------------------------------


def parse_content(content: str | list[Any] | None, path: str) -> tuple[Part, ...]:
    """Read the content of a message. Raises `RequestError`."""
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(text=content),)
    parts: list[Part] = []
    calls = 0
    for number, block in enumerate(objects(content, path)):
        part = parse_block(block, f"{path}[{number}]", calls)
        calls += isinstance(part, ToolCall)
        parts.append(part)
    return tuple(parts)


def parse_block(block: dict[str, Any], path: str = "content", index: int = 0) -> Part:
    """Read one block. `index` is the number of tool calls before it. Raises `RequestError`."""
    kind = block.get("type")
    if not isinstance(kind, str):
        raise problem(f"{path}.type", f"got {shown(kind)}, expected the block's type, such as 'text'")
    part = _parse_known(kind, block, path, index)
    if part is None:
        raise problem(path, f"got a block of type {kind!r} that lacks what this type must hold")
    return part


def _parse_known(kind: str, block: dict[str, Any], path: str, index: int) -> Part | None:
    cache = parse_cache(block)
    match block:
        case {"type": "text", "text": str(text)}:
            citations = tuple(parse_citation(each) for each in block.get("citations") or () if isinstance(each, dict))
            return Text(text=text, cache=cache, citations=citations)
        case {"type": "thinking", "thinking": str(text)}:
            return unseal(text, str(block.get("signature") or ""), NAME)
        case {"type": "redacted_thinking", "data": str(data)}:
            return unseal("", data, NAME, redacted=True)
        case {"type": "image", "source": dict(source)}:
            url = _source_url(source)
            return Image(url=url, cache=cache) if url is not None else Opaque(kind="image file")
        case {"type": "document", "source": dict(source)}:
            return _document(block, source, cache)
        case {"type": "tool_use", "id": str(id_), "name": str(name)}:
            plain, signature = split_id(id_)
            arguments = arguments_of(block.get("input") or {})
            return ToolCall(id=plain, name=name, arguments=arguments, index=index, signature=signature, cache=cache)
        case {"type": "tool_result", "tool_use_id": str(id_)}:
            return _tool_result(block, id_, path, cache)
    known = {"text", "thinking", "redacted_thinking", "image", "document", "tool_use", "tool_result"}
    return None if kind in known else Opaque(kind=kind)


def parse_cache(block: dict[str, Any]) -> CacheTtl | None:
    """Read the cache mark of a block."""
    mark = block.get("cache_control")
    if not isinstance(mark, dict):
        return None
    return "1h" if mark.get("ttl") == "1h" else "5m"


def parse_citation(citation: dict[str, Any]) -> Citation:
    """Read a citation of any type. It belongs to the whole block that holds it."""
    title = citation.get("title") or citation.get("document_title")
    url = citation.get("url") or citation.get("source")
    return Citation(url=str(url or ""), title=str(title or ""), quote=str(citation.get("cited_text") or ""))


def _source_url(source: dict[str, Any]) -> str | None:
    match source:
        case {"type": "base64", "media_type": str(media_type), "data": str(data)}:
            return data_url(media_type, data)
        case {"type": "url", "url": str(url)}:
            return url
        case {"type": "text", "data": str(text)}:
            return text_url(text)
        case _:
            return None


def _document(block: dict[str, Any], source: dict[str, Any], cache: CacheTtl | None) -> Part:
    url = _source_url(source)
    if url is None:
        return Opaque(kind="document file")
    cite = bool((block.get("citations") or {}).get("enabled"))
    return Document(url=url, name=str(block.get("title") or ""), cite=cite, cache=cache)


def _tool_result(block: dict[str, Any], id_: str, path: str, cache: CacheTtl | None) -> ToolResult:
    parts = parse_content(block.get("content"), f"{path}.content")
    return tool_result(split_id(id_)[0], parts, is_error=bool(block.get("is_error")), cache=cache)


# --- parts to blocks --------------------------------------------------------------------------------------------------


def render_content(parts: Iterable[Part], dropped: Dropped, model: str = "") -> list[dict[str, Any]]:
    """Render parts as blocks. Parts that have no block are noted. `model` is the name of the model that reads them."""
    return [block for part in parts for block in _render_part(part, dropped, model)]


def render_cache(cache: CacheTtl | None) -> dict[str, Any]:
    """Render the cache mark of a block, if any."""
    if cache is None:
        return {}
    return {"cache_control": {"type": "ephemeral", **({"ttl": cache} if cache != "5m" else {})}}


def _render_part(part: Part, dropped: Dropped, model: str) -> Iterable[dict[str, Any]]:
    """Yield the block of a part, if it has one."""
    match part:
        case Text(text=text) | Refusal(text=text):
            if text.strip():  # Anthropic refuses blank texts
                yield {"type": "text", "text": text, **render_cache(getattr(part, "cache", None))}
        case Image():
            yield _render_image(part, dropped)
        case Document():
            yield _render_document(part)
        case Thinking():
            yield from _render_thinking(part, dropped, model)
        case ToolCall(id=id_, name=name, arguments=arguments):
            call = {"type": "tool_use", "id": id_, "name": name, "input": object_of(arguments)}
            yield {**call, **render_cache(part.cache)}
        case ToolResult():
            yield _render_tool_result(part, dropped)
        case _:
            dropped.add(part.kind)


def _render_thinking(part: Thinking, dropped: Dropped, model: str) -> Iterable[dict[str, Any]]:
    """Yield the block of a thought. Anthropic refuses thoughts that it did not sign, and those of some other models."""
    if part.origin != NAME:
        dropped.add("thinking of another provider")
    elif not reads_thoughts(model, part.model):
        dropped.add("thinking of another model")
    elif part.redacted:
        yield {"type": "redacted_thinking", "data": part.signature}
    else:
        yield {"type": "thinking", "thinking": part.text, "signature": part.signature}


def _render_image(part: Image, dropped: Dropped) -> dict[str, Any]:
    dropped.add_given(**{"image_url.detail": part.detail})
    return {"type": "image", "source": _render_source(part.url), **render_cache(part.cache)}


def _render_source(url: str) -> dict[str, Any]:
    inline = read_data_url(url)
    if inline is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": inline.media_type, "data": inline.data}


def _render_document(part: Document) -> dict[str, Any]:
    inline = read_data_url(part.url)
    if inline is not None and inline.media_type.startswith("text/"):
        source: dict[str, Any] = {"type": "text", "media_type": "text/plain", "data": text_of(inline)}
    else:
        source = _render_source(part.url)
    fields = without_empty({"title": part.name or None, "citations": {"enabled": True} if part.cite else None})
    return {"type": "document", "source": source, **fields, **render_cache(part.cache)}


def _render_tool_result(part: ToolResult, dropped: Dropped) -> dict[str, Any]:
    content: str | list[dict[str, Any]] = part.text
    if media := render_content(part.media, dropped):
        content = [*([{"type": "text", "text": part.text}] if part.text else []), *media]
    error = {"is_error": True} if part.is_error else {}
    result = {"type": "tool_result", "tool_use_id": part.id, "content": content}
    return {**result, **error, **render_cache(part.cache)}
