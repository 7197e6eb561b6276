"""One call that is passed on to a provider: its answer, piece by piece, and its accounting."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode

from litestar import Litestar, Response
from litestar.exceptions import HTTPException
from litestar.types import Receive, Scope, Send

from semroute.access.accounts import Hold
from semroute.access.meters import Kind
from semroute.access.reservations import CostBasis
from semroute.api import error_responses, http_connection
from semroute.api.accounting import Books
from semroute.api.error_responses import AnyRequest, status_of
from semroute.api.fast_path import encode_headers, headers_of
from semroute.api.passthrough_owners import NextPage
from semroute.api.streamed_responses import CallerGoneError, Presence
from semroute.caller import Caller
from semroute.config.presets import preset_of
from semroute.config.schema.models import Model
from semroute.config.schema.providers import ProviderSettings
from semroute.decision import Decision, Estimate
from semroute.dialects.openai.passthrough_usage import ReportedUsage, reported_usage
from semroute.errors import (
    BudgetError,
    ForbiddenError,
    LimitError,
    OversizedAnswerError,
    ProviderTimeoutError,
    RateLimitedError,
    SemrouteError,
    StoreError,
)
from semroute.execution.account_limits import AccountLimits
from semroute.gateway.gateway import Gateway
from semroute.messages import ChatRequest, Usage, new_id
from semroute.providers.raw_forwarding import PassingProvider
from semroute.providers.streamed_upload import PassingTransport, Upload
from semroute.providers.transport import Response as Answer
from semroute.record import Attempt, Outcome, Record
from semroute.routing.pricing import batch_cost_usd, cost_usd

TRANSFER_S = 3600.0
"""Seconds that one call may take, including its bodies."""
STALL_S = 30.0
"""Seconds that a provider may send nothing after it began its answer."""
SMALL_BYTES = 1024 * 1024
"""The most bytes of an answer whose tokens are counted. Longer answers are passed on unread."""
READ_BYTES = 16 * 1024 * 1024
"""The most bytes of an answer that says what somebody made, such as a list of files."""
MAX_PAGES = 20
"""How many pages of a list are looked at for one that holds something of the caller's."""
HELD: tuple[Kind, ...] = ("requests", "running")
"""The limits of a key that are enforced on calls that are passed on."""
COUNTED_S = 90 * 86_400.0
"""Seconds for which the service remembers that a batch was counted."""

Reads = Callable[[bytes], Awaitable[bytes | NextPage]]
"""Gets a good answer whole, and returns what the caller gets of it."""

log = logging.getLogger("semroute.api")


class PassthroughAccount:
    """The accounting of one call that is passed on."""

    def __init__(self, request: AnyRequest, caller: Caller, settings: ProviderSettings, path: str) -> None:
        self.id = new_id()
        self.settings = settings
        self._books: Books = request.app.state.books
        gateway: Gateway = request.app.state.gateway
        self._recorder, self._config = gateway.recorder, gateway.serving.router.config
        self._deployments = gateway.serving.deployments
        self._caller = caller
        self._what = f"{settings.id}:{path.split('/')[1]}"
        """The name of the model in the log."""
        self._at, self._started = gateway.clock(), time.perf_counter()
        self._chat = ChatRequest(id=self.id, messages=())
        self._hold: Hold | None = None
        self._account: AccountLimits | None = None
        self._told: ReportedUsage | None = None
        self._asked = self._ended = False
        self._books.trace(self.id, headers_of(request))

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of the answer that describe the call."""
        return {
            "x-semroute-decision": self.id,
            "x-semroute-provider": self.settings.id,
            "x-request-id": self.id,
        }

    async def admit(self) -> None:
        """Reserve by the key's limits. Raises `LimitError` and `BudgetError`."""
        self._recorder.running += 1
        accounts = self._recorder.accounts
        if accounts is not None:
            self._hold = accounts.open(self._config, self._caller, self.id, None)
            basis, decision = CostBasis(request=self._chat), self._decision()
            await accounts.admit(self._config, self._caller, basis, decision, self._hold, kinds=HELD)
        self._begin_at_account()
        self._asked = True

    def _begin_at_account(self) -> None:
        """Count the call against the provider's limits. Raises `RateLimitedError` if they leave no room."""
        deployments = self._deployments
        account, now = deployments.account(self.settings.id, self.settings.limits), deployments.clock.now()
        if account is None:
            return
        if (reason := account.full(0, now)) is not None:
            error = RateLimitedError(f"not sent: {reason}")
            error.retry_after_s = account.wait_s(now)
            raise error
        account.begin_alone(now)
        self._account = account

    async def read(self, answer: bytes) -> None:
        """Count the tokens in an answer. The tokens of a batch are counted once, however many callers look at it."""
        found = reported_usage(answer)
        if found is None or not found.batch or await self._is_new(found.batch):
            self._told = found

    async def _is_new(self, batch: str) -> bool:
        try:
            return await self._books.state.put_new(f"batch:{self.settings.id}:{batch}", b"1", COUNTED_S)
        except StoreError as error:
            log.warning("%s: cannot count the tokens of the batch %s now: %s", self.id, batch, error)
            return False

    def end(self, outcome: Outcome, error: BaseException | None = None) -> None:
        """Record what became of the call. Only the first report counts."""
        if self._ended:
            return
        self._ended = True
        late = self._told is not None and bool(self._told.batch)  # the tokens of a batch were spent long before
        if self._account is not None:
            usage = Usage() if self._told is None or late else self._told.usage
            now = self._deployments.clock.now()
            self._account.finish_alone(usage.input_tokens + usage.output_tokens, now)
        if self._hold is not None and late:
            self._hold.meters = tuple(meter for meter in self._hold.meters if meter.kind != "tokens")
        latency_ms = (time.perf_counter() - self._started) * 1000
        failed = str(error) if isinstance(error, SemrouteError) else None
        usage, model = Usage() if self._told is None else self._told.usage, self._model()
        attempt = Attempt(
            model=self._what if model is None else model.id,
            status=outcome,
            latency_ms=latency_ms,
            error_code=error.code if isinstance(error, SemrouteError) else None,
            error=failed,
            usage=usage,
            cost_usd=Decimal(0) if model is None else self._cost_usd(model, usage),
        )
        record = Record(
            request_id=self.id,
            decision=self._decision(),
            attempts=(attempt,) if self._asked else (),
            outcome=outcome,
            overhead_ms=0.0,
            at=self._at,
            latency_ms=latency_ms,
            caller=self._caller,
            error=failed,
        )
        self._recorder.end(record, self._hold)

    def _model(self) -> Model | None:
        """Return the model in the route files that an answer names, with or without a date at its end.

        None: there is none.
        """
        name = "" if self._told is None else self._told.model
        models = (model for model in self._config.models.values() if model.provider == self.settings.id)
        return next((model for model in models if name == model.name or name.startswith(f"{model.name}-20")), None)

    def _cost_usd(self, model: Model, usage: Usage) -> Decimal:
        if self._told is None or not self._told.batch:
            return cost_usd(model, usage, ended=time.time())
        return batch_cost_usd(model, usage, preset_of(self.settings.preset, self.settings.base_url).batch_share)

    def _decision(self) -> Decision:
        return Decision(
            id=self.id,
            route=None,
            reason="pinned",
            explanation=f"passed on to the provider {self.settings.id}",
            confidence=1.0,
            threshold=0.0,
            margin=0.0,
            model=None,
            plan=(),
            rejected={},
            candidates=(),
            estimate=Estimate(input_tokens=0, output_tokens=0, cost_usd=Decimal(0)),
            config_version=self._config.version,
        )


class PassthroughAnswer(Response[Any]):
    """The answer to a call that is passed on. It goes out piece by piece."""

    def __init__(
        self,
        request: AnyRequest,
        passage: PassthroughAccount,
        target: str,
        body: bytes | Upload,
        media: str,
        reads: Reads | None = None,
    ) -> None:
        """`target`: path and query, which follow the provider's address. `media`: the media type of the body.

        `reads`: gets a good answer whole, and returns what the caller gets.
        """
        super().__init__(None)
        self._request = request
        self._passage = passage
        self._target, self._body, self._media, self._reads = target, body, media, reads
        gateway: Gateway = request.app.state.gateway
        transport = cast("PassingTransport", gateway.serving.transport)
        self._provider = PassingProvider(passage.settings, transport)
        self._begun = False
        self.whole = False
        """Whether the answer came to a good end."""

    def to_asgi_response(self, app: Litestar | None, request: Any, **_: Any) -> Any:
        """Return the ASGI application that sends the answer."""
        return self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        passage = self._passage
        try:
            await passage.admit()
            async with asyncio.timeout(TRANSFER_S):
                await self._pass(receive, send)
            self.whole = True
            passage.end("ok")
        except (CallerGoneError, HTTPException):
            passage.end("cancelled")
        except asyncio.CancelledError:
            passage.end("cancelled")
            raise
        except TimeoutError:
            await self._fail(
                ProviderTimeoutError(f"the call had not ended after {TRANSFER_S:g} s"), scope, receive, send
            )
        except SemrouteError as error:
            await self._fail(error, scope, receive, send)
        finally:
            passage.end("failed")  # by an exception that nobody expects

    async def _fail(self, error: SemrouteError, scope: Scope, receive: Receive, send: Send) -> None:
        refused = isinstance(error, LimitError | BudgetError | ForbiddenError)
        self._passage.end("refused" if refused else "failed", error)
        if not self._begun:
            answer = error_responses.render(self._request, error, status_of(error), self._passage.headers)
            await answer.to_asgi_response(None, self._request)(scope, receive, send)
        elif (caller := http_connection.connection_of(scope)) is not None:
            caller.abort()  # the part that was sent must not look complete

    async def _pass(self, receive: Receive, send: Send) -> None:
        with contextlib.ExitStack() as stack:
            body = self._body
            if isinstance(body, Upload):  # until the body ends, reading it shows when the caller goes away
                body = body._replace(pieces=_then(body.pieces, lambda: stack.enter_context(Presence(receive))))
            else:
                stack.enter_context(Presence(receive))
            await self._exchange(body, send)

    async def _exchange(self, body: bytes | Upload, send: Send) -> None:
        for pages_left in reversed(range(MAX_PAGES)):
            async with await self._provider.ask(self._request.method, self._target, self._media, body) as answer:
                first, ended = await self._small(answer)
                if ended and self._reads is not None:
                    read = await self._reads(first)
                    if isinstance(read, NextPage) and pages_left:
                        self._target = _after(self._target, read.after)
                        continue
                    first = read.empty if isinstance(read, NextPage) else read
                await self._begin(answer, send, len(first) if ended else None)
                await send({"type": "http.response.body", "body": first, "more_body": not ended})
                while not ended:
                    piece = await self._read(answer)
                    ended = not piece
                    await send({"type": "http.response.body", "body": piece, "more_body": not ended})
                return

    async def _small(self, answer: Answer) -> tuple[bytes, bool]:
        """Return the beginning of the answer, and whether that is all. Small JSON answers are read to count tokens."""
        begun, must = bytearray(), self._reads is not None
        if not must and ("json" not in answer.headers.get("content-type", "") or self._target.endswith("/content")):
            return b"", False
        most = READ_BYTES if must else SMALL_BYTES
        while len(begun) <= most:
            if not (piece := await self._read(answer)):
                whole = bytes(begun)
                await self._passage.read(whole)
                return whole, True
            begun += piece
        if must:
            raise OversizedAnswerError(f"the provider's answer is over {READ_BYTES} bytes: ask for fewer with `limit`")
        return bytes(begun), False

    async def _read(self, answer: Answer) -> bytes:
        try:
            async with asyncio.timeout(STALL_S):
                return await self._provider.read(answer)
        except TimeoutError:
            raise ProviderTimeoutError(f"the provider sent nothing for {STALL_S:g} s") from None

    async def _begin(self, answer: Answer, send: Send, size: int | None) -> None:
        """Send the head. A browser must neither show nor run a file as if it were one of our pages.

        `size`: of the body; None: the provider knows.
        """
        media = answer.headers.get("content-type", "")
        headers = {"content-type": media if media and media.isascii() else "application/octet-stream"}
        if size is not None:
            headers["content-length"] = str(size)
        elif "content-length" in answer.headers and "content-encoding" not in answer.headers:
            headers["content-length"] = answer.headers["content-length"]
        headers |= {"content-disposition": "attachment", "x-content-type-options": "nosniff", **self._passage.headers}
        self._begun = True
        await send({"type": "http.response.start", "status": answer.status, "headers": encode_headers(headers)})


def _after(target: str, id_: str) -> str:
    """Return the address of the page that follows an id in a list."""
    path, _, query = target.partition("?")
    return f"{path}?{urlencode([*(pair for pair in parse_qsl(query) if pair[0] != 'after'), ('after', id_)])}"


async def _then(pieces: AsyncIterator[bytes], end: Callable[[], None]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        yield piece
    end()
