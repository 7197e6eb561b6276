"""The protocols that each wire format implements. A dialect does no I/O: it turns bytes into structs, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from semroute.bases import Frozen
from semroute.config.schema.models import Model
from semroute.decision import Decision
from semroute.dialects.sse import Event
from semroute.errors import ProviderError, SemrouteError, UnsupportedError
from semroute.messages import CHAT, EMBEDDINGS, ChatRequest, Chunk, Completion
from semroute.record import Record


class WireRequest(Frozen, frozen=True, kw_only=True):
    """A request as it is sent to a provider."""

    path: str
    """Appended to the provider's `base_url`."""
    body: bytes
    """JSON."""
    headers: dict[str, str] = {}
    """Headers to send, names in lower case. A list header is joined to the provider's own header of that name."""
    dropped: tuple[str, ...] = ()
    """Parts of the request that this dialect cannot express, in a few words each."""
    adapted: tuple[str, ...] = ()
    """Parts of the request that are expressed in another form, without loss."""
    renamed: dict[str, str] = {}
    """Names and ids that were changed: the value that is sent, and what the caller wrote. Answers are changed back."""
    model: str = ""
    """The model's name, if answers in this dialect do not contain it."""
    endpoint: str = CHAT
    """`CHAT`, `EMBEDDINGS` or `COMPACT`."""


def refuse_embeddings(request: ChatRequest, dialect: str) -> None:
    """Raise `UnsupportedError` if a request asks for embeddings. Dialects without embeddings call this."""
    if request.endpoint == EMBEDDINGS:
        raise UnsupportedError(f"the {dialect} dialect has no embeddings")


class ClientDialect(Protocol):
    """The client side of a dialect: reads requests of callers and writes answers for them."""

    name: str

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        """Read a caller's body. Raises `RequestError`, which names the field, what it got and what it expected."""
        ...

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        """Render the body of a whole answer."""
        ...

    def stream(self, request: ChatRequest, decision: Decision) -> StreamRenderer:
        """Make the renderer of one streamed answer."""
        ...

    def render_error(self, error: SemrouteError, status: int, request_id: str = "") -> bytes:
        """Render the body of an error with this HTTP status. `request_id` is empty if the request was not read."""
        ...


class StreamRenderer(Protocol):
    """Writes one streamed answer, in order: the chunks, then `end` or `error`."""

    @property
    def keep_alive(self) -> bytes:
        """The bytes that keep the connection alive while there is nothing to send. Empty: nothing may be sent now.

        `sse.OPENING` starts the next event. Spaces follow while the wait lasts, and then the rest of that event.
        """
        ...

    def chunk(self, chunk: Chunk) -> bytes:
        """Render one chunk. Empty: the dialect has no event for it."""
        ...

    def end(self, record: Record) -> bytes:
        """Render what ends a complete answer."""
        ...

    def error(self, error: SemrouteError, status: int) -> bytes:
        """Render what tells the caller that the answer broke off. It must not look like a normal end."""
        ...


class EventReader(Protocol):
    """Splits the bytes of one streamed answer into events, at whatever places the bytes are cut."""

    @property
    def whole_starts(self) -> tuple[bytes, ...]:
        """First bytes of bodies that are no streams. Some servers answer whole although a stream was asked for."""
        ...

    def feed(self, chunk: bytes) -> Iterable[Event]:
        """Return the events that this chunk completes. Raises `BadAnswerError` if the bytes are not events."""
        ...

    def close(self) -> Iterable[Event]:
        """Return the events that are left when the stream ends."""
        ...


class ProviderDialect(Protocol):
    """The provider side of a dialect: writes requests for a provider and reads its answers."""

    name: str

    def headers(self, api_key: str | None) -> dict[str, str]:
        """Return the headers that authenticate a call."""
        ...

    def render_request(self, request: ChatRequest, model: Model) -> WireRequest:
        """Render the request for this model. `request.stream` says whether the answer is streamed."""
        ...

    def parse_completion(self, body: bytes) -> Completion:
        """Read a whole answer with status 200. Raises `BadAnswerError` if the body is not an answer."""
        ...

    def events(self) -> EventReader:
        """Make the reader of one stream: an `sse.EventParser`, or a reader of another framing."""
        ...

    def stream_parser(self) -> StreamParser:
        """Make the parser of one streamed answer."""
        ...

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Return the error that an answer with another status means."""
        ...


class StreamParser(Protocol):
    """Reads the events of one streamed answer."""

    def event(self, event: Event) -> Chunk | None:
        """Return the chunk in an event, if any. Raises `BadAnswerError` for an error event or malformed data."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the answer has said why it ended. If a stream ends before that, it is broken."""
        ...
