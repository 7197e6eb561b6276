"""A conversation, a request for its next turn, and the answer, in every dialect."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any, Literal

from semroute.bases import Frozen

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


# --- a request --------------------------------------------------------------------------------------------------------

CacheTtl = Literal["5m", "1h"]
"""How long a provider keeps a prompt's prefix that was marked for its cache."""
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""How much a model should think."""
ToolMode = Literal["auto", "none", "required", "tool"]


class Citation(Frozen, frozen=True, kw_only=True):
    """Where a statement comes from."""

    url: str = ""
    title: str = ""
    quote: str = ""
    """What the source says."""
    start: int = 0
    """Where the statement begins in the text part that carries this citation, in characters, inclusive."""
    end: int = 0
    """Where it ends, exclusive. If `start` and `end` are both 0, the citation covers the whole part."""


class Text(Frozen, frozen=True, kw_only=True, tag="text"):
    """Plain text."""

    text: str
    cache: CacheTtl | None = None
    """Marks the prompt, up to and including this part, for the provider's cache. None: no mark."""
    citations: tuple[Citation, ...] = ()


class Thinking(Frozen, frozen=True, kw_only=True, tag="thinking"):
    """What a model thought before it answered."""

    text: str = ""
    """The thought. Empty: the provider does not show it."""
    signature: str = ""
    """An opaque text by which the provider recognises its thought in a later request."""
    origin: str = ""
    """The dialect of the signature. No other dialect understands it."""
    model: str = ""
    """The kind of model that thought this, such as `opus-5-5`, if other models cannot read it. Empty: not known."""
    redacted: bool = False
    """The provider shows it to nobody. The signature is the encrypted thought."""


class Refusal(Frozen, frozen=True, kw_only=True, tag="refusal"):
    """A model says that it will not answer."""

    text: str


class Image(Frozen, frozen=True, kw_only=True, tag="image"):
    """A picture, by address or inline."""

    url: str
    """`https:` or `data:` URL."""
    detail: str = ""
    """How closely to look: `low`, `high` or `auto`. Empty: not given."""
    cache: CacheTtl | None = None


class Document(Frozen, frozen=True, kw_only=True, tag="document"):
    """A file to be read, such as a PDF, by address or inline."""

    url: str
    """`https:` or `data:` URL."""
    name: str = ""
    """Its file name or title."""
    cite: bool = False
    """Whether the answer should cite it."""
    cache: CacheTtl | None = None


class Opaque(Frozen, frozen=True, kw_only=True, tag="opaque"):
    """A part that only its own dialect understands. It is passed on in that dialect, and not read here."""

    kind: str


Media = Image | Document | Opaque


class ToolCall(Frozen, frozen=True, kw_only=True, tag="tool_call"):
    """A model asks for a tool to be run. In a `Chunk` the pieces of one call share an `index`."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    """JSON text. In a `Chunk`, a piece of it."""
    index: int = 0
    signature: str = ""
    """See `Thinking.signature`. Gemini signs the call instead of the thought."""
    cache: CacheTtl | None = None


class ToolResult(Frozen, frozen=True, kw_only=True, tag="tool_result"):
    """What a tool gave back."""

    id: str
    """The id of the `ToolCall` that it answers."""
    text: str = ""
    media: tuple[Media, ...] = ()
    """Pictures and documents that it gave."""
    is_error: bool = False
    """The tool failed, and `text` says how."""
    cache: CacheTtl | None = None


Part = Text | Thinking | Refusal | Image | Document | ToolCall | ToolResult | Opaque


class Message(Frozen, frozen=True, kw_only=True):
    """One turn of the conversation."""

    role: Role
    parts: tuple[Part, ...]
    name: str = ""
    """The participant's name, if several share a role."""

    @property
    def text(self) -> str:
        """Join the text parts, one a line."""
        if len(self.parts) == 1 and isinstance(only := self.parts[0], Text):  # true for most messages
            return only.text
        return "\n".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def images(self) -> tuple[Image, ...]:
        """Return the pictures, including those in tools' results."""
        if len(self.parts) == 1 and isinstance(self.parts[0], Text):  # true for most messages
            return ()
        every = (each for part in self.parts for each in (part.media if isinstance(part, ToolResult) else (part,)))
        return tuple(each for each in every if isinstance(each, Image))


class Tool(Frozen, frozen=True, kw_only=True):
    """A function that the model may ask to call."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    """JSON Schema of its arguments."""
    strict: bool | None = None
    """Whether the arguments must match the schema. None: not given."""
    cache: CacheTtl | None = None


class ToolChoice(Frozen, frozen=True, kw_only=True):
    """Whether a tool must be called. `required`: any tool. `tool`: the one of that name."""

    mode: ToolMode
    name: str = ""
    """The tool's name, with mode `tool`."""


class JsonSchema(Frozen, frozen=True, kw_only=True):
    """The form that an answer must have."""

    document: dict[str, Any]
    """The JSON Schema itself."""
    name: str = "answer"
    description: str = ""
    strict: bool | None = None
    """Whether the answer must match it. None: not given."""


class Params(Frozen, frozen=True, kw_only=True):
    """Sampling and output parameters that several dialects know. None: not given."""

    max_tokens: int | None = None
    """The most tokens of the answer, thinking included."""
    temperature: float | None = None
    """0 to 2, as OpenAI and Gemini count; Anthropic's ends at 1."""
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int | None = None
    """How many answers to give."""
    json_output: bool = False
    """JSON mode or a JSON Schema was asked for."""
    json_schema: JsonSchema | None = None
    """The schema, with `json_output`. None: any JSON."""
    effort: Effort | None = None
    thinking_tokens: int | None = None
    """The most tokens that a model may think. -1: as much as it likes. 0: not at all."""
    show_thinking: bool = False
    """Whether the caller wants to read the thoughts, or a summary of them."""
    logprobs: bool = False
    top_logprobs: int | None = None
    """How many alternatives to give for each token."""
    parallel_tool_calls: bool | None = None
    user: str = ""
    """The caller's own end user, for the provider's abuse checks. Empty: not given."""
    service_tier: str = ""
    """Such as `auto`, `default`, `flex` or `priority`. Empty: not given."""


CHAT = "chat"
"""The endpoint of requests for an answer."""
EMBEDDINGS = "embeddings"
"""The endpoint of requests for embeddings. Also the dialect of those requests in OpenAI's form."""
COMPACT = "compact"
"""The endpoint of requests to shorten a conversation. Also the dialect of those requests."""
LONG_MESSAGES = 1000
LONG_BYTES = 256 * 1024
"""Longer bodies are read and written in a thread, so that other requests go on meanwhile."""


class ChatRequest(Frozen, frozen=True, kw_only=True):
    """A caller's request, in any dialect."""

    id: str
    messages: tuple[Message, ...]
    model: str = "auto"
    """`auto`, `auto:<route>` or a model id."""
    models: tuple[str, ...] = ()
    """The caller's own fallback list. If it is not empty, it is the plan."""
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    params: Params = Params()
    stream: bool = False
    explain: bool = False
    """Whether the decision should carry `details`."""
    session: str = ""
    """The name of the conversation, which then stays on its model. Empty: none."""
    stream_usage: bool = True
    """Whether the caller wants usage at the end of a stream."""
    strict: bool = False
    """Whether a field that a model's dialect cannot express is an error. If not, the field is left out."""
    metadata: dict[str, Any] = {}
    """Metadata that rules can read."""
    headers: dict[str, str] = {}
    """HTTP headers for rules only, with names in lower case. Headers that carry keys are never in it."""
    input_tokens: int = 0
    """Estimated tokens of the whole conversation. 0: not counted yet."""
    cost_quality: float | None = None
    """The dial, from 0 (cheapest) to 1 (best). None: the metadata, the header or the policy decides."""
    endpoint: str = CHAT
    """What is asked for: `CHAT`, `EMBEDDINGS` or `COMPACT`."""
    dialect: str = ""
    """The dialect of `raw`."""
    raw: dict[str, Any] = {}
    """The caller's body. A provider of the same dialect gets this, so that fields unknown here reach it."""
    unread: tuple[str, ...] = ()
    """Fields of `raw` that the fields above do not hold. Only a provider of the same dialect gets them."""
    size_bytes: int = 0
    """The size of the caller's body. 0: there was no body."""

    @property
    def long(self) -> bool:
        """Return whether reading all of the request would hold up an event loop."""
        return self.size_bytes > LONG_BYTES or len(self.messages) > LONG_MESSAGES


# --- an answer --------------------------------------------------------------------------------------------------------


class Usage(Frozen, frozen=True, kw_only=True):
    """Tokens that a call consumed."""

    input_tokens: int = 0
    """Includes `cached_tokens` and `cache_write_tokens`."""
    output_tokens: int = 0
    """Includes `reasoning_tokens`."""
    cached_tokens: int = 0
    """Input read from the provider's prompt cache."""
    cache_write_tokens: int = 0
    """Input written to the provider's prompt cache."""
    cache_write_1h_tokens: int = 0
    """The part of `cache_write_tokens` that is kept for an hour, which costs more."""
    reasoning_tokens: int = 0
    """Output tokens spent on thinking."""
    estimated: bool = False
    """The provider reported no usage, so semroute counted the tokens."""


def total(usages: Sequence[Usage]) -> Usage:
    """Add up what several calls consumed."""
    if len(usages) == 1:  # true for nearly all requests
        return usages[0]
    return Usage(
        input_tokens=sum(usage.input_tokens for usage in usages),
        cached_tokens=sum(usage.cached_tokens for usage in usages),
        cache_write_tokens=sum(usage.cache_write_tokens for usage in usages),
        cache_write_1h_tokens=sum(usage.cache_write_1h_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        reasoning_tokens=sum(usage.reasoning_tokens for usage in usages),
        estimated=any(usage.estimated for usage in usages),
    )


class Alternative(Frozen, frozen=True, kw_only=True):
    """A token that could have come, and how likely it was."""

    token: str
    logprob: float
    """Natural logarithm of its probability."""


class TokenLogprob(Alternative, frozen=True, kw_only=True):
    """A token of the answer, and how likely it was."""

    top: tuple[Alternative, ...] = ()
    """The likeliest tokens in its place, best first."""


class Completion(Frozen, frozen=True, kw_only=True):
    """A model's whole answer."""

    parts: tuple[Part, ...]
    finish_reason: FinishReason
    usage: Usage | None
    """What the call consumed. None: the provider did not report it."""
    model: str
    """The model's name, as the provider gives it."""
    id: str = ""
    stop_sequence: str | None = None
    """Which of the request's `stop` sequences ended it. None: none, or the provider does not say."""
    logprobs: tuple[TokenLogprob, ...] = ()
    service_tier: str = ""
    """The tier that served it, in OpenAI's words. Empty: the provider does not say."""
    dropped: tuple[str, ...] = ()
    """What the request asked for, but the provider's dialect cannot express."""
    dialect: str = ""
    """The dialect of `raw`."""
    raw: bytes = b""
    """The provider's body, for a caller of the same dialect."""

    @property
    def text(self) -> str:
        """Join the text parts."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


class Chunk(Frozen, frozen=True, kw_only=True):
    """A piece of a streamed answer."""

    parts: tuple[Part, ...] = ()
    """Parts to append. A `Text` without text adds its citations, a `Thinking` without text its signature."""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    """Usage of the whole answer so far. Each chunk's usage replaces the one before."""
    model: str = ""
    id: str = ""
    stop_sequence: str | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    service_tier: str = ""
    dropped: tuple[str, ...] = ()
    """See `Completion.dropped`. Only the first chunk has it."""
    dialect: str = ""
    """The dialect of `raw`."""
    raw: bytes = b""
    """The data of the provider's event, for a caller of the same dialect."""
    event: str = ""
    """The name of that event. Empty: none."""


def new_id() -> str:
    """Make a request id. Ids are unique, sort by the time they were made, and are not secret."""
    return f"{time.time_ns() // 1_000_000:012x}{random.getrandbits(64):016x}"
