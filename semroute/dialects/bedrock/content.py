"""Reads and writes Converse's content blocks.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from semroute.dialects.anthropic.models import reads_thoughts
from semroute.dialects.bedrock.models import Traits
from semroute.dialects.shared.body_parsing import object_of
from semroute.dialects.shared.data_urls import read_data_url
from semroute.dialects.shared.dropped import Dropped
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

NAME: Final = "bedrock"
CLAUDE_ORIGINS = (NAME, "anthropic")
"""The providers whose thoughts Claude recognises. Its signatures are valid on both platforms."""
_IMAGE_FORMATS = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
_DOCUMENT_FORMATS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_MAX_NAME_CHARS = 200

# --- blocks to parts --------------------------------------------------------------------------------------------------


def parse_block(block: Mapping[str, Any], index: int) -> Part | None:
    """Read one block of an answer. None: it is empty. `index` is the number of tool calls before it."""
    match block:
        case {"text": str(text)}:
            return Text(text=text) if text else None
        case {"toolUse": {"toolUseId": str(id_), "name": str(name), **call}}:
            arguments = msgspec.json.encode(call.get("input") or {}).decode()
            return ToolCall(id=id_, name=name, arguments=arguments, index=index)
        case {"reasoningContent": dict(thought)}:
            return parse_thought(thought.get("reasoningText") or thought)
        case {"citationsContent": dict(cited)}:
            text = "".join(str(piece.get("text") or "") for piece in cited.get("content") or ())
            return Text(text=text, citations=tuple(map(parse_citation, cited.get("citations") or ())))
        case _:
            return Opaque(kind=next(iter(block), "empty block"))


def parse_thought(thought: Mapping[str, Any]) -> Thinking | None:
    """Read a thought, or the next piece of one."""
    if redacted := thought.get("redactedContent"):
        return Thinking(signature=str(redacted), origin=NAME, redacted=True)
    text, signature = str(thought.get("text") or ""), str(thought.get("signature") or "")
    return Thinking(text=text, signature=signature, origin=NAME if signature else "") if text or signature else None


def parse_citation(citation: Mapping[str, Any]) -> Citation:
    """Read a citation. It belongs to the whole block that holds it."""
    source = str(citation.get("source") or "")
    web = (citation.get("location") or {}).get("web") or {}
    return Citation(
        url=str(web.get("url") or (source if source.startswith("http") else "")),
        title=str(citation.get("title") or ""),
        quote="".join(str(piece.get("text") or "") for piece in citation.get("sourceContent") or ()),
    )


# --- parts to blocks --------------------------------------------------------------------------------------------------


class Blocks:
    """Renders the parts of one request."""

    def __init__(self, model: str, traits: Traits, dropped: Dropped) -> None:
        """`model` is the model's name."""
        self._model = model
        self._traits = traits
        self._dropped = dropped
        self._names: set[str] = set()

    def render(self, parts: Iterable[Part]) -> list[dict[str, Any]]:
        """Render parts as blocks. Parts that have no block are noted."""
        blocks: list[dict[str, Any]] = []
        for part in parts:
            block = self._block(part)
            if block is not None:
                blocks += [block, *self.cache_point(getattr(part, "cache", None))]
        return blocks

    def cache_point(self, cache: CacheTtl | None, *, after_tool: bool = False) -> list[dict[str, Any]]:
        """Return the block that marks the prompt up to here for the cache, or nothing."""
        if cache is None:
            return []
        if not self._traits.cache or (after_tool and not self._traits.cache_tools):
            self._dropped.add("cache_control")
            return []
        point = {"type": "default"}
        if cache != "5m":
            if self._traits.cache_ttl:
                point["ttl"] = cache
            else:
                self._dropped.add("cache_control.ttl")
        return [{"cachePoint": point}]

    def _block(self, part: Part) -> dict[str, Any] | None:
        match part:
            case Text(text=text) | Refusal(text=text):
                return {"text": text} if text.strip() else None  # Converse refuses blank texts
            case Image():
                return self._image(part)
            case Document():
                return self._document(part)
            case Thinking():
                return self._thinking(part)
            case ToolCall(id=id_, name=name, arguments=arguments):
                return {"toolUse": {"toolUseId": id_, "name": name, "input": object_of(arguments)}}
            case ToolResult():
                return self._result(part)
            case _:
                self._dropped.add(part.kind)
        return None

    def _image(self, part: Image) -> dict[str, Any] | None:
        self._dropped.add_given(**{"image_url.detail": part.detail})
        inline = read_data_url(part.url)
        if inline is None:
            self._dropped.add("image by address")
            return None
        if (form := _IMAGE_FORMATS.get(inline.media_type)) is None:
            self._dropped.add(f"image of type {inline.media_type}")
            return None
        return {"image": {"format": form, "source": {"bytes": inline.data}}}

    def _document(self, part: Document) -> dict[str, Any] | None:
        inline = read_data_url(part.url)
        if inline is None:
            self._dropped.add("document by address")
            return None
        if (form := _DOCUMENT_FORMATS.get(inline.media_type)) is None:
            self._dropped.add(f"document of type {inline.media_type}")
            return None
        cite = {"citations": {"enabled": True}} if part.cite and self._traits.cites else {}
        self._dropped.add_given(citations=part.cite and not cite)
        return {"document": {"format": form, "name": self._name(part, form), "source": {"bytes": inline.data}, **cite}}

    def _name(self, part: Document, form: str) -> str:
        """Return a name that no other document has. Converse takes letters, digits, hyphens, brackets and spaces."""
        plain = re.sub(r"[^A-Za-z0-9\-()\[\] ]+", "-", part.name.removesuffix(f".{form}"))
        stem = " ".join(plain.split())[: _MAX_NAME_CHARS - 8] or "document"
        name, number = stem, 1
        while name in self._names:
            number += 1
            name = f"{stem} {number}"
        self._names.add(name)
        return name

    def _thinking(self, part: Thinking) -> dict[str, Any] | None:
        """Render a thought, if it may be the model's own. The model refuses thoughts that it did not sign."""
        if part.origin not in (CLAUDE_ORIGINS if self._traits.claude else (NAME,)) or not part.signature:
            self._dropped.add("thinking of another provider")
            return None
        if self._traits.claude and not reads_thoughts(self._model, part.model):
            self._dropped.add("thinking of another model")
            return None
        if part.redacted:
            return {"reasoningContent": {"redactedContent": part.signature}}
        return {"reasoningContent": {"reasoningText": {"text": part.text, "signature": part.signature}}}

    def _result(self, part: ToolResult) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"text": part.text}] if part.text.strip() else []
        content += [shown for each in part.media if (shown := self._block(each)) is not None]
        status = {"status": "error"} if part.is_error and self._traits.tells_errors else {}
        self._dropped.add_given(**{"is_error": part.is_error and not status})
        return {"toolResult": {"toolUseId": part.id, "content": content, **status}}
