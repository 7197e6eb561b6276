"""One call to one model, and its account."""

from __future__ import annotations

import io
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

import msgspec
from msgspec import field

from semroute.bases import Frozen
from semroute.config.schema.models import Model
from semroute.config.schema.policies import Policy
from semroute.config.schema.resilience import UNWRITTEN_S, Timeouts
from semroute.errors import ContentPolicyError, ProviderError, ProviderTimeoutError
from semroute.execution.continuation_request import may_go_on
from semroute.execution.deployments import Deployments, Permit
from semroute.execution.faults import fault_of
from semroute.execution.hedging import BEATEN, patience_s
from semroute.execution.output_contract import Contract
from semroute.messages import ChatRequest, Completion, Opaque, Part, Refusal, Text, Thinking, ToolCall, Usage
from semroute.providers import call_context
from semroute.providers.provider import Provider
from semroute.record import Attempt
from semroute.routing.pricing import cost_usd, estimate_input_tokens, estimate_text_tokens, size_bytes, tokens_of

FAIR_SHARE = 0.25
"""Of a route's limit: a provider that is given less before the request's deadline is not blamed for its silence."""
EARLY_S = 0.005
"""So much too early a timer may end."""
MAX_COUNTED_CHARS = 65_536
"""Of an answer, kept for the count of its tokens: only the end shows whether the provider tells it."""


class Work(Frozen, frozen=True, kw_only=True):
    """What is to be done: a request, the models to try, who serves them, and by which rules."""

    request: ChatRequest
    plan: tuple[Model, ...]
    providers: Mapping[str, Provider]
    """By model id."""
    policy: Policy = Policy()
    deployments: Deployments = field(default_factory=Deployments)
    caller: str = ""
    """Whose request it is; empty: nobody's that is known."""
    input_tokens: int = 0
    """About what the request sends, and what it may get at most, where it says so: for the rate limits."""
    sent_tokens: int = 0
    """Of a long request, about what it sends: it is not read again for that; 0: it is to be counted."""
    count_tokens: Callable[[str], int] = estimate_text_tokens
    """Counts what a provider does not report."""
    contract: Contract | None = None
    """What whole answers are held to."""
    room: Callable[[Model], Awaitable[bool]] | None = None
    """Reserves what one more answer of a model may cost, beside the one that is reserved already. None: no budget
    applies, or all that the request may cost is reserved."""

    @property
    def goes_on(self) -> bool:
        """Whether another model may go on with a streamed answer that breaks, as long as it says nothing but text."""
        return self.request.stream and self.policy.stream.on_break == "continue" and may_go_on(self.request)

    @property
    def whole(self) -> bool:
        """Whether nothing is heard of a call before its answer is whole, or as much of it as is held back."""
        return not self.request.stream or self.policy.stream.hold != 0

    def patience_s(self, model: Model) -> float:
        """How long a call to a model may be silent before another is asked as well."""
        whole = self.whole
        silences = self.deployments.of(model).silences(whole=whole)
        return patience_s(silences, model, self.request, self.policy, whole=whole)


class Watch:
    """One attempt under way: its time, its permit, and its place in the account."""

    def __init__(self, work: Work, model: Model, timeouts: Timeouts, attempts: list[Attempt]) -> None:
        """`timeouts`: what the call is given, which is less than the route's where the request's deadline is near."""
        self.model = model
        self._timeouts = timeouts
        self._work = work
        self._attempts = attempts
        self._place: int | None = None
        deployment = work.deployments.of(model)
        self._silences = deployment.silences(whole=work.whole)
        self._permit: Permit = deployment.begin(work.input_tokens, work.caller)
        self._now = work.deployments.clock.now
        self._began = self._now()
        self._started = time.perf_counter()
        self._first_token_ms: float | None = None
        self._sent = call_context.watch_sending()
        self.dropped: tuple[str, ...] = ()
        """What the request asks for and the model's dialect cannot say."""

    @property
    def elapsed_ms(self) -> float:
        """Since the attempt began."""
        return (time.perf_counter() - self._started) * 1000

    @property
    def sent(self) -> bool:
        """Whether the request has gone out in full: a call that is cancelled then has cost its input at least."""
        return self._sent.whole

    def begun(self) -> None:
        """The first content has come, and will be seen: the attempt takes its place in the account."""
        self._permit.begun()
        self._silences.answered(self._now() - self._began)
        self._place = len(self._attempts)
        self._attempts.append(
            Attempt(
                model=self.model.id,
                status="running",
                latency_ms=self.elapsed_ms,
                first_token_ms=self._first_token_ms,
                dropped=self.dropped,
            )
        )

    def first_token(self) -> None:
        """Note that the first content has come."""
        if self._first_token_ms is None:
            self._first_token_ms = self.elapsed_ms

    def succeeded(self, usage: Usage) -> None:
        """It gave an answer."""
        if self._place is None:
            self._silences.answered(self._now() - self._began, usage.output_tokens)
        elapsed_ms = self._account(Attempt(model=self.model.id, status="ok", latency_ms=self.elapsed_ms, usage=usage))
        latency_ms = elapsed_ms if self._first_token_ms is None else self._first_token_ms
        self._permit.end("ok", latency_ms=latency_ms, tokens=usage.input_tokens + usage.output_tokens)

    def failed(self, error: ProviderError, usage: Usage = Usage()) -> None:
        """It failed, after the given usage."""
        attempt = Attempt(
            model=self.model.id,
            status="failed",
            latency_ms=self.elapsed_ms,
            error_code=error.code,
            error=str(error),
            usage=usage,
        )
        elapsed_ms = self._account(attempt)
        ours = fault_of(error, self._work.policy.on_error).ours and not self._ran_out(error, elapsed_ms / 1000)
        # A silent deployment is slow, too: who chooses by latency should know.
        slow_ms = elapsed_ms if isinstance(error, ProviderTimeoutError) else None
        if slow_ms is not None and self._first_token_ms is None:
            self._silences.unanswered(self._now() - self._began)
        self._permit.end("fault" if ours else "neither", latency_ms=slow_ms)

    def _ran_out(self, error: ProviderError, elapsed_s: float) -> bool:
        """Whether it was the request's time that was over, and not the provider's.

        The request's deadline left the call too little; or the answer was still coming, and may have waited for a
        caller who reads slowly.
        """
        if not isinstance(error, ProviderTimeoutError):
            return False
        given, policy = self._timeouts, self._work.policy
        over_s = [
            left_s
            for name in given.__struct_fields__
            if (left_s := getattr(given, name)) is not None
            and left_s < FAIR_SHARE * min(getattr(policy.timeouts, name) or UNWRITTEN_S[name], policy.deadline_s)
        ]
        if self._first_token_ms is not None:
            over_s.append(given.stream_s)
        return bool(over_s) and elapsed_s >= min(over_s) - EARLY_S

    def cancelled(self, left: BaseException | None = None, usage: Usage = Usage()) -> None:
        """Nobody waited for it, after the given usage. One that was silent for too long, and was `BEATEN`, failed."""
        self._account(Attempt(model=self.model.id, status="cancelled", latency_ms=self.elapsed_ms, usage=usage))
        silent_s, beaten = self._now() - self._began, left is not None and BEATEN in left.args
        if beaten and self._first_token_ms is None and silent_s >= self._work.patience_s(self.model):
            self._silences.unanswered(silent_s)
            self._permit.end("fault", latency_ms=self.elapsed_ms)
        else:
            self._permit.end("neither")

    def _account(self, attempt: Attempt) -> float:
        cost = cost_usd(self.model, attempt.usage)
        attempt = msgspec.structs.replace(
            attempt, cost_usd=cost, first_token_ms=self._first_token_ms, dropped=self.dropped
        )
        if self._place is None:
            self._attempts.append(attempt)
        else:
            self._attempts[self._place] = attempt
        return attempt.latency_ms


async def call_model(work: Work, model: Model, timeouts: Timeouts, attempts: list[Attempt]) -> Completion:
    """Call one model for a whole answer, and append the account to `attempts`, whatever happens.

    Raises the provider's `ProviderError`.
    """
    watch, contract, request = Watch(work, model, timeouts, attempts), work.contract, work.request
    asked = request if contract is None else contract.asked(request, model)
    try:
        completion = await work.providers[model.id].complete(asked, model, timeouts)
    except ProviderError as error:
        watch.failed(error)
        raise
    except (
        BaseException
    ) as left:  # the caller left; or a defect of ours, which must not hold the model's place for ever
        watch.cancelled(left, estimate_usage(work, ()) if watch.sent else Usage())
        raise
    watch.dropped = completion.dropped
    usage = completion.usage or estimate_usage(work, completion.parts)
    if completion.finish_reason == "content_filter" and only_declines(completion.parts):
        refusal = withheld(work.policy)
        if refusal is not None:
            watch.failed(refusal, usage)
            raise refusal
    if contract is not None:
        try:
            completion = await contract.kept(request, asked, completion)
        except ProviderError as error:
            watch.failed(error, usage)
            raise
        except BaseException as left:
            watch.cancelled(left, usage)
            raise
        watch.dropped = completion.dropped
    watch.succeeded(usage)
    return completion


def only_declines(parts: tuple[Part, ...]) -> bool:
    """Whether there is nothing in an answer but, at most, a word why it is none."""
    return all([isinstance(part, Refusal) for part in parts])


def withheld(policy: Policy) -> ContentPolicyError | None:
    """What an answer means whose content was filtered away; None: it is passed on as it is."""
    error = ContentPolicyError("the provider's content filter withheld the answer")
    return error if fault_of(error, policy.on_error).then != "fail" else None


def estimate_usage(work: Work, parts: Iterable[Part]) -> Usage:
    """About what a call consumed, where the provider does not say."""
    said = SaidTokens(work.count_tokens)
    said.add(parts)
    return estimated(work, said)


def estimated(work: Work, said: SaidTokens) -> Usage:
    """As `estimate_usage`, of an answer that came piece by piece."""
    return Usage(
        input_tokens=work.sent_tokens or estimate_input_tokens(work.request, work.count_tokens),
        output_tokens=said.tokens,
        estimated=True,
    )


class SaidTokens:
    """Counts what an answer says, piece by piece. The pieces of one text count together; it keeps a bounded part."""

    def __init__(self, count_tokens: Callable[[str], int] = estimate_text_tokens) -> None:
        self._count_tokens = count_tokens
        self._text = io.StringIO()
        self._bytes = 0
        self.any = False
        """Whether there was a part that the caller can read."""

    def add(self, parts: Iterable[Part]) -> None:
        """Further pieces."""
        for part in parts:
            self.any = self.any or not isinstance(part, Opaque)
            text = part.text if type(part) is Text else _written(part)  # a piece is mostly a word
            self._bytes += len(text) if text.isascii() else size_bytes(text)
            if self._text.tell() < MAX_COUNTED_CHARS:
                self._text.write(text[:MAX_COUNTED_CHARS])

    @property
    def tokens(self) -> int:
        """About how many tokens there were. What was not kept counts by its size alone."""
        kept = self._text.getvalue()
        return self._count_tokens(kept) + tokens_of(self._bytes - size_bytes(kept))

    @property
    def rough_tokens(self) -> int:
        """As `tokens`, by the size alone: for a look after each piece."""
        return tokens_of(self._bytes)


def _written(part: Part) -> str:
    match part:
        case Text(text=text) | Thinking(text=text):
            return text
        case ToolCall(name=name, arguments=arguments):
            return name + arguments
        case _:
            return ""
