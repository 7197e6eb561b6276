"""Requests and answers as hypothesis draws them: what a format can hold, in the one form that it gives back."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from semroute.messages import (
    Alternative,
    Citation,
    Completion,
    Document,
    Image,
    Message,
    Part,
    Refusal,
    Text,
    Thinking,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)

words = st.text(min_size=1, max_size=20).filter(lambda text: bool(text.strip()) and text == text.rstrip())
names = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True)
objects = st.dictionaries(names, st.integers(0, 9) | words, max_size=3)
arguments = objects.map(lambda value: msgspec.json.encode(value).decode())
urls = st.sampled_from(["https://example.com/a.png", "data:image/png;base64,AAAA"])
files = st.just("data:application/pdf;base64,JVBERg==")
schemas = st.dictionaries(names, st.just({"type": "string"}), min_size=1, max_size=3).map(
    lambda properties: {"type": "object", "properties": properties, "additionalProperties": False}
)


def tools(strict: st.SearchStrategy[bool | None], least: int = 0) -> st.SearchStrategy[tuple[Tool, ...]]:
    tool = st.builds(Tool, name=names, description=words | st.just(""), parameters=schemas, strict=strict)
    return st.lists(tool, min_size=least, max_size=2, unique_by=lambda tool: tool.name).map(tuple)


@st.composite
def conversations(draw: st.DrawFn, dialect: str) -> tuple[Message, ...]:
    """Turns in the order in which each format wants them."""
    tells_errors = dialect in ("anthropic", "gemini")
    messages: list[Message] = []
    if draw(st.booleans()):
        messages.append(Message(role="system", parts=(draw(_texts(dialect)),)))
    for turn in range(draw(st.integers(1, 3))):
        messages.append(Message(role="user", parts=draw(_user_parts(dialect))))
        calls = _calls(draw, turn)
        said = draw(_assistant_parts(dialect))
        if said or calls:
            messages.append(Message(role="assistant", parts=(*said, *calls)))
        results = tuple(
            ToolResult(id=call.id, text=draw(words), is_error=tells_errors and draw(st.booleans())) for call in calls
        )
        if dialect == "openai":
            messages += [Message(role="tool", parts=(result,)) for result in results]
        elif results:
            messages.append(Message(role="tool", parts=results))
        if results:
            messages.append(Message(role="assistant", parts=draw(_assistant_parts(dialect))))
    return tuple(messages)


def _calls(draw: st.DrawFn, turn: int) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(id=f"call_{turn}_{index}", name=draw(names), arguments=draw(arguments), index=index)
        for index in range(draw(st.integers(0, 2)))
    )


def _texts(dialect: str) -> st.SearchStrategy[Text]:
    known: dict[str, list[Any]] = {"gemini": [None], "responses": [None, "5m"]}
    marks = st.sampled_from(known.get(dialect, [None, "5m", "1h"]))
    return st.builds(Text, text=words, cache=marks)


def _user_parts(dialect: str) -> st.SearchStrategy[tuple[Part, ...]]:
    image: st.SearchStrategy[Part] = st.builds(Image, url=urls)
    document: st.SearchStrategy[Part] = st.builds(Document, url=files, name=st.just("" if dialect == "gemini" else "a"))
    some = st.lists(image | document, max_size=2)
    return st.tuples(_texts(dialect), some).map(lambda drawn: (drawn[0], *drawn[1]))


def _assistant_parts(dialect: str) -> st.SearchStrategy[tuple[Part, ...]]:
    text: st.SearchStrategy[Part] = st.builds(Text, text=words)
    said = st.lists(text, min_size=1, max_size=1)
    if dialect == "openai":
        return said.map(tuple)
    signature = {"responses": "rs_1:c2ln"}.get(dialect, "c2ln")
    thought = st.builds(Thinking, text=words, signature=st.just(signature), origin=st.just(dialect))
    return st.tuples(st.lists(thought, max_size=1), said).map(lambda drawn: (*drawn[0], *drawn[1]))


usages = st.builds(
    lambda fresh, cached, written, said, thought: Usage(
        input_tokens=fresh + cached + written,
        output_tokens=said + thought,
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=thought,
    ),
    *[st.integers(0, 1000)] * 5,
)
probabilities = st.floats(-20, 0, allow_nan=False)


@st.composite
def completions(draw: st.DrawFn, dialect: str) -> Completion:
    """Answers of a provider of another dialect."""
    cited = st.builds(Citation, url=st.just("https://example.com"), title=words, start=st.just(0), end=st.just(1))
    citations = draw(st.lists(cited, max_size=1)) if dialect != "gemini" else []
    parts: list[Part] = []
    if dialect != "gemini" and draw(st.booleans()):
        parts.append(Thinking(text=draw(words)))
    if draw(st.booleans()):
        if dialect == "anthropic":
            citations = [msgspec.structs.replace(each, start=0, end=0) for each in citations]
        parts.append(Text(text=draw(words), citations=tuple(citations)))
    if dialect in ("openai", "responses") and draw(st.booleans()):
        parts.append(Refusal(text=draw(words)))
    calls = _calls(draw, 0)
    usage = draw(usages)
    if dialect == "gemini":
        usage = msgspec.structs.replace(usage, cache_write_tokens=0)
    logprobs: tuple[TokenLogprob, ...] = ()
    if dialect != "anthropic" and any(isinstance(part, Text) for part in parts):
        token = st.builds(Alternative, token=words, logprob=probabilities)
        every = st.builds(TokenLogprob, token=words, logprob=probabilities, top=st.lists(token, max_size=1).map(tuple))
        logprobs = tuple(draw(st.lists(every, max_size=2)))
    return Completion(
        parts=(*parts, *calls),
        finish_reason="tool_calls" if calls else draw(st.sampled_from(["stop", "length", "content_filter"])),
        usage=usage,
        model=draw(names),
        logprobs=logprobs,
    )
