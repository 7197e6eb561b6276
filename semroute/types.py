"""The structs that every floor shares. All are frozen: a value that was passed on does not change."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from semroute.calls import Timeouts as Timeouts
from semroute.structs import Frozen as Frozen
from semroute.structs import Written as Written
from semroute.written import Feature as Feature
from semroute.written import Fraction as Fraction
from semroute.written import JsonContract as JsonContract
from semroute.written import Model as Model
from semroute.written import ModelEntry as ModelEntry
from semroute.written import Policy as Policy
from semroute.written import Price as Price
from semroute.written import Route as Route
from semroute.written import Tier as Tier

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
ThresholdSource = Literal["tuned", "route", "abstain", "calibrated"]
"""Who set a threshold: `semroute tune`, the route, `abstain: {threshold: …}`, or the calibration on the utterances."""
Outcome = Literal["running", "ok", "failed", "cancelled"]
Reason = Literal["rule", "semantic", "default", "pinned", "sticky", "classifier"]


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
    """Where it ends, exclusive; 0 with a `start` of 0: the whole part."""


class Text(Frozen, frozen=True, kw_only=True, tag="text"):
    """Plain text."""

    text: str
    cache: CacheTtl | None = None
    """Marks the prompt up to and with this part for the provider's cache."""
    citations: tuple[Citation, ...] = ()


class Thinking(Frozen, frozen=True, kw_only=True, tag="thinking"):
    """What a model thought before it answered."""

    text: str = ""
    """Empty: the provider keeps it to itself."""
    signature: str = ""
    """What lets the provider that thought this recognise it in a later request; opaque, as is a redacted thought."""
    origin: str = ""
    """The dialect of the signature: no other understands it."""
    redacted: bool = False
    """The provider shows it to nobody; the signature is the thought itself, encrypted."""


class Refusal(Frozen, frozen=True, kw_only=True, tag="refusal"):
    """A model says that it will not answer."""

    text: str


class Image(Frozen, frozen=True, kw_only=True, tag="image"):
    """A picture, by address or inline."""

    url: str
    """`https:` or `data:` URL."""
    detail: str = ""
    """How closely to look: `low`, `high` or `auto`; empty: not given."""
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


class ToolCall(Frozen, frozen=True, kw_only=True, tag="tool_call"):
    """A model asks for a tool to be run. In a `Chunk` the pieces of one call share an `index`."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    """JSON text; in a `Chunk` a piece of it."""
    index: int = 0
    signature: str = ""
    """As a thought's: Gemini signs the call instead."""
    cache: CacheTtl | None = None


class ToolResult(Frozen, frozen=True, kw_only=True, tag="tool_result"):
    """What a tool gave back."""

    id: str
    """Of the `ToolCall` that it answers."""
    text: str = ""
    images: tuple[Image, ...] = ()
    is_error: bool = False
    """The tool failed, and `text` says how."""
    cache: CacheTtl | None = None


class Opaque(Frozen, frozen=True, kw_only=True, tag="opaque"):
    """A part that only its own dialect understands: passed on there, not read here."""

    kind: str


Part = Text | Thinking | Refusal | Image | Document | ToolCall | ToolResult | Opaque


class Message(Frozen, frozen=True, kw_only=True):
    """One turn of the conversation."""

    role: Role
    parts: tuple[Part, ...]
    name: str = ""
    """Of the participant, where several share a role."""

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
    strict: bool | None = None
    """Whether the arguments are held to the schema; null: not given."""
    cache: CacheTtl | None = None


class ToolChoice(Frozen, frozen=True, kw_only=True):
    """Whether a tool is called. `required`: any of them; `tool`: the one of that name."""

    mode: ToolMode
    name: str = ""
    """Of the tool, with mode `tool`."""


class JsonSchema(Frozen, frozen=True, kw_only=True):
    """The form that an answer must have."""

    document: dict[str, Any]
    """The JSON Schema itself."""
    name: str = "answer"
    description: str = ""
    strict: bool | None = None
    """Whether the answer is held to it; null: not given."""


class Params(Frozen, frozen=True, kw_only=True):
    """Sampling and output parameters that several dialects know; null: not given."""

    max_tokens: int | None = None
    """Thinking included."""
    temperature: float | None = None
    """0 to 2, as OpenAI and Gemini count; Anthropic's ends at 1."""
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int | None = None
    """How many answers."""
    json_output: bool = False
    """JSON mode or a JSON Schema was asked for."""
    json_schema: JsonSchema | None = None
    """With `json_output`; null: any JSON."""
    effort: Effort | None = None
    thinking_tokens: int | None = None
    """The most that a model may think; -1: as much as it likes; 0: not at all."""
    show_thinking: bool = False
    """Whether the caller wants to read the thoughts, or a summary of them."""
    logprobs: bool = False
    top_logprobs: int | None = None
    """How many alternatives to give for each token."""
    parallel_tool_calls: bool | None = None
    user: str = ""
    """The caller's own end user, for the provider's abuse checks; empty: not given."""
    service_tier: str = ""
    """Such as `auto`, `default`, `flex`, `priority`; empty: not given."""


class ChatRequest(Frozen, frozen=True, kw_only=True):
    """A caller's request, whatever its dialect."""

    id: str
    messages: tuple[Message, ...]
    model: str = "auto"
    """`auto`, `auto:<route>` or a model id."""
    models: tuple[str, ...] = ()
    """A caller's own fallback list; not empty: it is the plan."""
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    params: Params = Params()
    stream: bool = False
    explain: bool = False
    """Whether the decision should carry `details`."""
    session: str = ""
    """Names the conversation, which then stays on its model; empty: none."""
    stream_usage: bool = True
    """Whether the caller wants usage at the end of a stream."""
    strict: bool = False
    """Whether it is an error that a model's dialect has no counterpart for something; otherwise that is left out."""
    metadata: dict[str, Any] = {}
    """What rules can read."""
    headers: dict[str, str] = {}
    """HTTP headers, names in lower case, for rules alone; never those that carry keys."""
    cost_quality: float | None = None
    """The dial, 0 cheapest to 1 best; null: as the metadata, the header, or the policy says."""
    dialect: str = ""
    """Of `raw`."""
    raw: dict[str, Any] = {}
    """The caller's body. A provider of the same dialect is sent this, so that fields unknown here reach it."""
    unread: tuple[str, ...] = ()
    """What `raw` holds and the fields above do not: only a provider of the same dialect is sent it."""


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
    """Output that was thought, not said."""
    estimated: bool = False
    """The provider reported none; counted here."""


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
    """null: the provider reported none."""
    model: str
    """The name the provider gives."""
    id: str = ""
    stop_sequence: str | None = None
    """Which of the request's `stop` ended it, where the provider says."""
    logprobs: tuple[TokenLogprob, ...] = ()
    service_tier: str = ""
    """The one that served it, where the provider says."""
    dropped: tuple[str, ...] = ()
    """What the request asked for and the provider's dialect cannot say."""
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
    """Text to append; a `Text` without text adds its citations, a `Thinking` without text its signature."""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    """Of the whole answer so far: each replaces the one before."""
    model: str = ""
    id: str = ""
    stop_sequence: str | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    service_tier: str = ""
    dropped: tuple[str, ...] = ()
    """As in `Completion`; in the first chunk."""
    dialect: str = ""
    """Of `raw`."""
    raw: bytes = b""
    """The data of the provider's event, for a caller of the same dialect."""
    event: str = ""
    """The name of that event; empty: none."""


# --- a decision and its record ----------------------------------------------------------------------------------------


class Signals(Frozen, frozen=True, kw_only=True):
    """Facts of the moment that a decision may depend on, gathered before it."""

    unavailable: dict[str, str] = {}
    """Models that cannot be called now, and why."""
    open_breakers: dict[str, str] = {}
    """Models that failed too often of late, and since when."""
    exhausted: dict[str, str] = {}
    """Models whose rate or concurrency limit leaves no room for this request, and which."""
    latency_ms: dict[str, float] = {}
    """How long each model takes to the first content or the whole answer: a moving average; absent: not measured."""
    in_flight: dict[str, int] = {}
    """Calls under way, by model; those without are absent."""
    thrift: float = 0.0
    """How much a budget that runs low should weigh, 0 to 1: it turns the dial toward cheap."""

    def why_not(self, model_id: str) -> str | None:
        """Why a model cannot be called now; null: it can."""
        return self.unavailable.get(model_id) or self.open_breakers.get(model_id)


class Nearest(Frozen, frozen=True, kw_only=True):
    """The utterance most like the prompt."""

    utterance: str
    similarity: float
    """Cosine, -1 to 1."""


class Candidate(Frozen, frozen=True, kw_only=True):
    """A route that was considered."""

    route: str
    confidence: float
    """0 to 1: how likely it is that the prompt belongs to this route."""
    threshold: float = 0.0
    """What the confidence has to reach for the route to be taken."""
    threshold_from: ThresholdSource = "calibrated"
    nearest: Nearest | None = None


class Match(Frozen, frozen=True, kw_only=True):
    """How a prompt compares with the routes."""

    candidates: tuple[Candidate, ...] = ()
    """Best first."""
    in_scope: float = 0.0
    """0 to 1: how likely it is that the prompt belongs to any route."""


class Estimate(Frozen, frozen=True, kw_only=True):
    """What the planned call is likely to cost."""

    input_tokens: int
    output_tokens: int
    """Assumed: the policy's `expected_output_tokens`, or the request's `max_tokens` where that is less."""
    cost_usd: Decimal


class PlanEntry(Frozen, frozen=True, kw_only=True):
    """A model of the plan."""

    model: str
    why: str
    """Why it stands in this place."""
    tier: Tier
    quality: float
    """Expected, 0 to 1: of this prompt where learned, else of the route, of the model, or of its tier."""
    cost_usd: Decimal
    """Estimated."""
    latency_ms: float | None
    """Measured, else declared; null: unknown."""


class Word(Frozen, frozen=True, kw_only=True):
    """A word of the prompt, or a few together where the prompt is long."""

    text: str
    effect: float
    """How much confidence the best candidate loses without it; negative: it gains."""
    route_without: str | None
    """The route that the prompt would take without it; null: none."""


class Flip(Frozen, frozen=True, kw_only=True):
    """The smallest change of confidence that would have decided otherwise, and a sentence about it for people."""

    route: str | None
    """What would have been taken; null: no route."""
    gap: float
    """How much confidence it takes."""
    explanation: str


class Details(Frozen, frozen=True, kw_only=True):
    """What a decision says when it is asked to explain itself, and only then."""

    words: tuple[Word, ...]
    """In the order of the prompt; empty where nothing was compared."""
    flip: Flip | None
    """null: something else than confidence decided."""


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
    plan_details: tuple[PlanEntry, ...] = ()
    """The same, each with why it stands there and what is expected of it."""
    rejected: dict[str, str]
    """Models left out of the plan, and why."""
    candidates: tuple[Candidate, ...]
    """Best first."""
    in_scope: float | None = None
    """0 to 1: how likely it is that the prompt belongs to any route; null: it was not matched."""
    threshold_from: ThresholdSource | None = None
    """Who set the threshold; null: the prompt was not matched."""
    estimate: Estimate
    config_version: str
    rule: str | None = None
    """The rule that decided."""
    narrowed_by: tuple[str, ...] = ()
    """The rules that left out models."""
    difficulty: float | None = None
    """How hard the request is, by what the policy goes by: complexity 0 to 1, confidence in the wanted tier, or the
    learned gain of the best model over the cheapest; null: it does not matter, or there is no telling."""
    wants: Tier | None = None
    """The tier that the difficulty asks for; null: none."""
    contributions: dict[str, float] = {}
    """What adds up to the difficulty."""
    cost_quality: float | None = None
    """The dial that was applied; null: none."""
    latency_ms: float = 0.0
    details: Details | None = None


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
    escalated: str | None = None
    """Why its answer was not good enough, so that another model was tried; null: it was, or there was no check."""
    purpose: Literal["answer", "judge", "classifier"] = "answer"
    """What it was called for."""
    served: bool = False
    """Its answer was given although it failed a check."""
    usage: Usage = Usage()
    cost_usd: Decimal = Decimal(0)
    dropped: tuple[str, ...] = ()
    """What the request asked for and the model's dialect cannot say."""


class Record(Frozen, frozen=True, kw_only=True):
    """The account of one request."""

    request_id: str
    decision: Decision
    attempts: tuple[Attempt, ...]
    outcome: Outcome
    overhead_ms: float
    """Time spent in semroute itself, outside the provider."""

    @property
    def model(self) -> str | None:
        """The model that answered, or the last that was tried."""
        return self._served.model if self._served else None

    @property
    def cost_usd(self) -> Decimal:
        """Of all attempts."""
        return sum((attempt.cost_usd for attempt in self.attempts), Decimal(0))

    @property
    def usage(self) -> Usage:
        """Of the answer that was given, or of the last attempt."""
        return self._served.usage if self._served else Usage()

    @property
    def dropped(self) -> tuple[str, ...]:
        """What the answer's model could not be asked for."""
        return self._served.dropped if self._served else ()

    @property
    def _served(self) -> Attempt | None:
        answers = [attempt for attempt in self.attempts if attempt.purpose == "answer"]
        chosen = (attempt for attempt in answers if attempt.served)
        answered = (attempt for attempt in reversed(answers) if attempt.status in ("ok", "running"))
        return next(chosen, next(answered, answers[-1] if answers else None))
