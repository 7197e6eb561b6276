"""The seams of the wire formats. A dialect is pure: bytes and structs in, bytes and structs out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from semroute.bases import Frozen
from semroute.config.schema.models import Model
from semroute.decision import Decision
from semroute.dialects.sse import Event
from semroute.errors import ProviderError, SemrouteError, UnsupportedError
from semroute.messages import ChatRequest, Chunk, Completion
from semroute.record import Record

CHAT = "chat"
"""The endpoint of all requests for an answer, whatever their dialect."""
EMBEDDINGS = "embeddings"
"""The endpoint of requests for embeddings, and the dialect of OpenAI's."""
GEMINI_EMBEDDINGS = "gemini_embeddings"
"""The dialect of Gemini's requests for embeddings."""
COMPACT = "compact"
"""The endpoint, and the dialect, of requests that a conversation be made shorter."""
ENDPOINTS = {EMBEDDINGS: EMBEDDINGS, GEMINI_EMBEDDINGS: EMBEDDINGS, COMPACT: COMPACT}
"""The endpoints of the dialects that ask for something other than an answer."""


class WireRequest(Frozen, frozen=True, kw_only=True):
    """What a provider is sent."""

    path: str
    """Appended to the provider's `base_url`."""
    body: bytes
    """JSON."""
    headers: dict[str, str] = {}
    """What goes along with it, names in lower case; joined to the provider's own where both have one."""
    dropped: tuple[str, ...] = ()
    """What the request asks for and this dialect cannot say, in a few words each."""
    adapted: tuple[str, ...] = ()
    """What it says in another form, without a loss."""
    renamed: dict[str, str] = {}
    """Names and ids that are sent in another form, and what the caller wrote: an answer gives them back."""
    model: str = ""
    """The model's name, where this dialect's answers do not say it."""
    endpoint: str = CHAT
    """What is asked for: `CHAT`, `EMBEDDINGS` or `COMPACT`."""


def endpoint_of(request: ChatRequest) -> str:
    """What a request asks for: `CHAT`, `EMBEDDINGS` or `COMPACT`."""
    return ENDPOINTS.get(request.dialect, CHAT)


def refuse_embeddings(request: ChatRequest, dialect: str) -> None:
    """Raise `UnsupportedError` for a request that a dialect without embeddings cannot serve."""
    if endpoint_of(request) == EMBEDDINGS:
        raise UnsupportedError(f"the {dialect} dialect has no embeddings")


class ClientDialect(Protocol):
    """How a caller speaks to semroute."""

    name: str

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        """Read a caller's body. Raises `RequestError` naming the field, what it got and what it expected."""
        ...

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        """The body of a whole answer to that request."""
        ...

    def stream(self, request: ChatRequest, decision: Decision) -> StreamRenderer:
        """A renderer for one streamed answer."""
        ...

    def render_error(self, error: SemrouteError, status: int, request_id: str = "") -> bytes:
        """The body of an error answer with that HTTP status; no id: the request was not read."""
        ...


class StreamRenderer(Protocol):
    """Server-sent events of one answer, in order: chunks, then `end` or `error`."""

    @property
    def keep_alive(self) -> bytes:
        """What may be sent now while there is nothing to say; empty: nothing.

        `sse.OPENING` begins the next event: spaces follow while the wait goes on, and then the rest of the event.
        """
        ...

    def chunk(self, chunk: Chunk) -> bytes:
        """Events for one chunk; empty where the dialect has nothing to say of it."""
        ...

    def end(self, record: Record) -> bytes:
        """What closes a complete answer."""
        ...

    def error(self, error: SemrouteError, status: int) -> bytes:
        """What tells the caller that the answer is broken: never a clean end."""
        ...


class EventReader(Protocol):
    """Cuts the bytes of one streamed answer into events, however they are chunked."""

    @property
    def whole_starts(self) -> tuple[bytes, ...]:
        """How bodies begin, by one byte, that are no stream: some servers answer whole where one was asked for."""
        ...

    def feed(self, chunk: bytes) -> Iterable[Event]:
        """The events that are complete with this chunk. Raises `BadAnswerError` for what is no event."""
        ...

    def close(self) -> Iterable[Event]:
        """What is left when the stream ends."""
        ...


class ProviderDialect(Protocol):
    """How semroute speaks to a provider."""

    name: str

    def headers(self, api_key: str | None) -> dict[str, str]:
        """What authenticates a call."""
        ...

    def render_request(self, request: ChatRequest, model: Model) -> WireRequest:
        """The request for that model; `request.stream` says which kind."""
        ...

    def parse_completion(self, body: bytes) -> Completion:
        """Read a whole answer of status 200. Raises `BadAnswerError` where it is none."""
        ...

    def events(self) -> EventReader:
        """What cuts one streamed answer into events: an `sse.EventParser`, or what knows another framing."""
        ...

    def stream_parser(self) -> StreamParser:
        """A parser for one streamed answer."""
        ...

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The error that an answer of another status means."""
        ...


class StreamParser(Protocol):
    """Reads the events of one streamed answer."""

    def event(self, event: Event) -> Chunk | None:
        """The chunk that an event holds, if any. Raises `BadAnswerError` for an error event or malformed data."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the answer has said why it ended. A stream that ends before is broken."""
        ...
