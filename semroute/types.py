"""The structs that every floor shares. All are frozen: a value that was passed on does not change."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec import Meta

Fraction = Annotated[float, Meta(ge=0, le=1)]
Price = Annotated[Decimal, Meta(description="USD per 1,000,000 tokens")]
Tier = Literal["simple", "moderate", "complex"]
Feature = Literal["tools", "json", "vision", "reasoning"]
Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
Outcome = Literal["running", "ok", "failed", "cancelled", "decided", "refused"]
"""`decided`: only the decision was asked for; `refused`: a budget or a limit had no room for it."""
Reason = Literal["rule", "semantic", "default", "pinned", "sticky"]


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the structs that the program makes."""


class Written(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of the structs that people write in route files: an unknown key is an error."""


# --- the registry -----------------------------------------------------------------------------------------------------


class PriceEntry(Written, frozen=True, kw_only=True):
    """What a model costs from a day on, in USD per 1M tokens."""

    since: datetime.date = msgspec.field(name="from")
    """The first day, UTC, on which it holds."""
    input: Price
    """Input tokens."""
    cached_input: Price | None = None
    """Input read from the provider's prompt cache; null: as `input`."""
    cache_write: Price | None = None
    """Input written to the provider's prompt cache; null: as `input`."""
    output: Price
    """Output tokens."""
    reasoning: Price | None = None
    """Output that the model thought and did not say; null: as `output`."""


class ModelEntry(Written, frozen=True, kw_only=True):
    """A model as a route file describes it."""

    provider: str
    """Which entry of `providers` serves it."""
    name: str
    """The provider's own name for the model."""
    tier: Tier = "moderate"
    """How demanding a request it is meant for."""
    input_price: Price = Decimal(0)
    """USD per 1M input tokens."""
    cached_input_price: Price | None = None
    """USD per 1M input tokens read from the provider's prompt cache; null: as `input_price`."""
    cache_write_price: Price | None = None
    """USD per 1M input tokens written to the provider's prompt cache; null: as `input_price`."""
    output_price: Price = Decimal(0)
    """USD per 1M output tokens."""
    reasoning_price: Price | None = None
    """USD per 1M output tokens that the model thought and did not say; null: as `output_price`."""
    prices: tuple[PriceEntry, ...] = ()
    """Prices that change on a day; before the first of them the five above hold."""
    quality: Fraction | None = None
    """How good its answers are in general, 0 to 1, on one scale over all your models."""
    context_tokens: Annotated[int, Meta(gt=0)] | None = None
    """Context window, input and output together; null: not checked."""
    max_output_tokens: Annotated[int, Meta(gt=0)] | None = None
    """The most it can answer; null: not checked."""
    features: tuple[Feature, ...] = ("tools", "json")
    """What it can do. A request that needs another is not sent to it."""


class Model(ModelEntry, frozen=True, kw_only=True):
    """A model of the registry."""

    id: str
    """Its key in `models`: the name that plans, decisions and callers use."""

    def on(self, day: datetime.date) -> Self:
        """The model at the prices of a day: the latest entry of `prices` that has begun, as the flat prices."""
        begun = [entry for entry in self.prices if entry.since <= day]
        if not begun:
            return self
        entry = max(begun, key=lambda entry: entry.since)
        return msgspec.structs.replace(
            self,
            input_price=entry.input,
            cached_input_price=entry.cached_input,
            cache_write_price=entry.cache_write,
            output_price=entry.output,
            reasoning_price=entry.reasoning,
        )


class Timeouts(Written, frozen=True, kw_only=True):
    """Deadlines of one call to one model, in seconds."""

    connect_s: Annotated[float, Meta(gt=0)] = 5.0
    """DNS, TCP and TLS."""
    first_token_s: Annotated[float, Meta(gt=0)] = 30.0
    """From the request to the first content of a streamed answer."""
    stall_s: Annotated[float, Meta(gt=0)] = 30.0
    """Between two pieces of a streamed answer."""
    total_s: Annotated[float, Meta(gt=0)] = 120.0
    """A whole answer that is not streamed."""


class Policy(Written, frozen=True, kw_only=True):
    """How a plan is made from the models that may serve a request."""

    select: Literal["ordered"] = "ordered"
    """`ordered`: as the route lists them."""
    timeouts: Timeouts = Timeouts()
    """Deadlines of each call."""
    expected_output_tokens: Annotated[int, Meta(gt=0)] = 300
    """What an answer is taken to be when its cost is estimated beforehand."""


class Route(Written, frozen=True, kw_only=True):
    """An intent: what it looks like, and which models serve it."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    """Unique over all files."""
    utterances: Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=1)]
    """Example prompts. The more varied, the better the match."""
    models: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Model ids, tried in this order unless the policy says otherwise."""
    description: str = ""
    """One sentence for people."""
    threshold: Fraction | None = None
    """The least confidence that takes this route; null: the global one."""
    policy: Policy | None = None
    """null: the global one."""


# --- a request --------------------------------------------------------------------------------------------------------


class Text(Frozen, frozen=True, kw_only=True, tag="text"):
    """Plain text."""

    text: str


class Thinking(Frozen, frozen=True, kw_only=True, tag="thinking"):
    """What a model thought before it answered."""

    text: str


class Image(Frozen, frozen=True, kw_only=True, tag="image"):
    """A picture, by address or inline."""

    url: str
    """`https:` or `data:` URL."""


class ToolCall(Frozen, frozen=True, kw_only=True, tag="tool_call"):
    """A model asks for a tool to be run. In a `Chunk` the pieces of one call share an `index`."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    """JSON text; in a `Chunk` a piece of it."""
    index: int = 0


class ToolResult(Frozen, frozen=True, kw_only=True, tag="tool_result"):
    """What a tool gave back."""

    id: str
    """Of the `ToolCall` that it answers."""
    text: str


class Opaque(Frozen, frozen=True, kw_only=True, tag="opaque"):
    """A part that only its own dialect understands: passed on there, not read here."""

    kind: str


Part = Text | Thinking | Image | ToolCall | ToolResult | Opaque


class Message(Frozen, frozen=True, kw_only=True):
    """One turn of the conversation."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """Its text parts, one a line."""
        return "\n".join(part.text for part in self.parts if isinstance(part, Text))


class Tool(Frozen, frozen=True, kw_only=True):
    """A function that the model may ask to call."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    """JSON Schema of its arguments."""


class Params(Frozen, frozen=True, kw_only=True):
    """Sampling and output parameters that several dialects know; null: not given."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    json_output: bool = False
    """JSON mode or a JSON Schema was asked for."""


class ChatRequest(Frozen, frozen=True, kw_only=True):
    """A caller's request, whatever its dialect."""

    id: str
    messages: tuple[Message, ...]
    model: str = "auto"
    """`auto`, `auto:<route>` or a model id."""
    models: tuple[str, ...] = ()
    """A caller's own fallback list; not empty: it is the plan."""
    tools: tuple[Tool, ...] = ()
    params: Params = Params()
    stream: bool = False
    stream_usage: bool = True
    """Whether the caller wants usage at the end of a stream."""
    metadata: dict[str, Any] = {}
    """What rules can read."""
    dialect: str = ""
    """Of `raw`."""
    raw: dict[str, Any] = {}
    """The caller's body. A provider of the same dialect is sent this, so that fields unknown here reach it."""


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
    reasoning_tokens: int = 0
    """Output that the model thought and did not say."""
    estimated: bool = False
    """The provider reported none; counted here."""


class Completion(Frozen, frozen=True, kw_only=True):
    """A model's whole answer."""

    parts: tuple[Part, ...]
    finish_reason: FinishReason
    usage: Usage | None
    """null: the provider reported none."""
    model: str
    """The name the provider gives."""
    id: str = ""
    dialect: str = ""
    """Of `raw`."""
    raw: bytes = b""
    """The provider's body, for a caller of the same dialect."""

    @property
    def text(self) -> str:
        """Its text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


class Chunk(Frozen, frozen=True, kw_only=True):
    """A piece of a streamed answer."""

    parts: tuple[Part, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    model: str = ""
    id: str = ""
    dialect: str = ""
    """Of `raw`."""
    raw: bytes = b""
    """The data of the provider's event, for a caller of the same dialect."""


# --- a decision and its record ----------------------------------------------------------------------------------------


class Signals(Frozen, frozen=True, kw_only=True):
    """Facts of the moment that a decision may depend on, gathered before it."""

    unavailable: dict[str, str] = {}
    """Models that cannot be called now, and why."""
    thrift: Fraction = 0.0
    """How far the cost/quality dial should slide toward cheap: 0 not at all, 1 as far as it goes."""


class Nearest(Frozen, frozen=True, kw_only=True):
    """The utterance most like the prompt."""

    utterance: str
    similarity: float
    """Cosine, -1 to 1."""


class Candidate(Frozen, frozen=True, kw_only=True):
    """A route that was considered."""

    route: str
    confidence: float
    nearest: Nearest | None = None


class Estimate(Frozen, frozen=True, kw_only=True):
    """What the planned call is likely to cost."""

    input_tokens: int
    output_tokens: int
    """Assumed: the policy's `expected_output_tokens`, or the request's `max_tokens` where that is less."""
    cost_usd: Decimal


class Decision(Frozen, frozen=True, kw_only=True):
    """Where a request goes, and why."""

    id: str
    route: str | None
    """null: no route was confident enough, or the model was pinned."""
    reason: Reason
    explanation: str
    """One sentence for people."""
    confidence: float
    """0 to 1: how sure the best candidate is; 1 for rules and pins."""
    threshold: float
    """What the confidence had to reach."""
    margin: float
    """Confidence of the best candidate less that of the next."""
    model: str | None
    """The first of the plan; null: none can be called."""
    plan: tuple[str, ...]
    """Model ids in the order in which they are tried."""
    rejected: dict[str, str]
    """Models left out of the plan, and why."""
    candidates: tuple[Candidate, ...]
    """Best first."""
    estimate: Estimate
    config_version: str
    rule: str | None = None
    """The rule that decided."""
    difficulty: float | None = None
    thrift: float = 0.0
    """How far a budget past its soft limit has slid the dial toward cheap, 0 to 1."""
    latency_ms: float = 0.0


class Attempt(Frozen, frozen=True, kw_only=True):
    """One call to one model."""

    model: str
    status: Outcome
    latency_ms: float
    """From the request to the last byte read."""
    first_token_ms: float | None = None
    """From the request to the first content; streams only."""
    error_code: str | None = None
    error: str | None = None
    usage: Usage = Usage()
    cost_usd: Decimal = Decimal(0)
