"""Make one call to one model, and note it in the attempts."""

from __future__ import annotations

import io
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec import field

from semroute.bases import Frozen
from semroute.config.schema.models import Model
from semroute.config.schema.policies import Policy
from semroute.config.schema.resilience import UNWRITTEN_S, Timeouts
from semroute.errors import ContentPolicyError, ProviderError, ProviderTimeoutError
from semroute.execution.deployments import Deployments, Permit
from semroute.execution.faults import fault_of
from semroute.execution.hedging import BEATEN
from semroute.execution.output_contract import Contract
from semroute.messages import ChatRequest, Completion, Opaque, Part, Refusal, Text, Thinking, ToolCall, Usage
from semroute.providers.provider import Provider
from semroute.providers.transport import watch_sending
from semroute.record import Attempt
from semroute.routing.pricing import cost_usd, estimate_input_tokens, estimate_text_tokens, size_bytes, tokens_of

FAIR_SHARE = 0.25
"""If a deadline leaves a call less than this share of a route's time limit, a timeout is not the provider's fault."""
EARLY_S = 0.005
"""Seconds. A timer may end this much too early."""
CONSTRAINED = ("guided_", "structured_outputs", "grammar", "regex", "ebnf", "format", "modalities")
"""The beginnings of the names of fields that ask a server for another form of answer than plain text."""
MAX_COUNTED_CHARS = 65_536
"""Characters of an answer that are kept to count its tokens. Only its end shows whether the provider counts them."""


Room = Callable[[Model, Sequence[Model]], Awaitable[str]]
"""Reserves what is missing for a call to a model, beside calls to other models that are under way.

Returns why a budget has no room for the call. Empty: there is room.
"""


class Work(Frozen, frozen=True, kw_only=True):
    """What is to be done: a request, the models to try, their providers, and the rules."""

    request: ChatRequest
    plan: tuple[Model, ...]
    providers: Mapping[str, Provider]
    """The provider of each model, by model id."""
    policy: Policy = Policy()
    deployments: Deployments = field(default_factory=Deployments)
    caller: str = ""
    """The id of the caller. Empty: not known."""
    input_tokens: int = 0
    """Estimated, for rate limits: the input, and the output if the request limits it."""
    sent_tokens: int = 0
    """Estimated tokens of the input of a long request, so that it is not read again. 0: not known, so count it."""
    count_tokens: Callable[[str], int] = estimate_text_tokens
    """Counts tokens that a provider does not report."""
    contract: Contract | None = None
    """What each whole answer must fulfil. None: there is no contract."""
    room: Room | None = None
    """None: no budget applies."""

    @property
    def goes_on(self) -> bool:
        """Return whether another model may continue a streamed answer that breaks, if it is only text so far.

        Two models can hardly write one JSON document, several answers, or the log-probabilities of one answer together.
        A strict request wants the answer of one model, or none.
        """
        request = self.request
        if not request.stream or request.strict or self.policy.stream.on_break != "continue":
            return False
        params = request.params
        formed = params.json_output or params.json_schema is not None or params.logprobs or (params.n or 1) > 1
        return not (formed or any([name.startswith(CONSTRAINED) for name in request.unread]))

    @property
    def whole(self) -> bool:
        """Return whether a call is silent until its answer is whole, or as much of it as the policy holds back."""
        return not self.request.stream or self.policy.stream.hold != 0

    def patience_s(self, model: Model) -> float:
        """Return how long a call to a model may be silent before another model is asked as well."""
        silences = self.deployments.of(model).silences[self.whole]
        return silences.patience_s(model, self.request, self.policy, whole=self.whole)


class Watch:
    """Watches one attempt: its time, its permit, and its place in the list of attempts."""

    def __init__(self, work: Work, model: Model, timeouts: Timeouts, attempts: list[Attempt]) -> None:
        """`timeouts`: those of this call. They are shorter than the route's if the request's deadline is near."""
        self.model = model
        self._timeouts = timeouts
        self._work = work
        self._attempts = attempts
        self._place: int | None = None
        deployment = work.deployments.of(model)
        self._silences = deployment.silences[work.whole]
        self._permit: Permit = deployment.begin(work.input_tokens, work.caller)
        self._now = work.deployments.clock.now
        self._began = self._now()
        self._started = time.perf_counter()
        self._first_token_ms: float | None = None
        self._sent = watch_sending()
        self.dropped: tuple[str, ...] = ()
        """What the request asks for but the model's dialect cannot express."""
        self.service_tier = ""
        """The tier that served the call. Empty: the provider does not say."""

    @property
    def elapsed_ms(self) -> float:
        """Return the time since the attempt began."""
        return (time.perf_counter() - self._started) * 1000

    @property
    def sent(self) -> bool:
        """Return whether the whole request was sent. From then on, even a cancelled call costs its input."""
        return self._sent.whole

    def begun(self) -> None:
        """Note that the first content has come and will be sent on. The attempt takes its place in the list."""
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
        """Note that the call gave an answer."""
        if self._place is None:
            self._silences.answered(self._now() - self._began, usage.output_tokens)
        elapsed_ms = self._account(Attempt(model=self.model.id, status="ok", latency_ms=self.elapsed_ms, usage=usage))
        latency_ms = elapsed_ms if self._first_token_ms is None else self._first_token_ms
        self._permit.end("ok", latency_ms=latency_ms, tokens=usage.input_tokens + usage.output_tokens)

    def failed(self, error: ProviderError, usage: Usage = Usage()) -> None:
        """Note that the call failed. `usage`: what it consumed."""
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
        # A silent deployment is also slow. A policy that selects by latency should know that.
        slow_ms = elapsed_ms if isinstance(error, ProviderTimeoutError) else None
        if slow_ms is not None and self._first_token_ms is None:
            self._silences.unanswered(self._now() - self._began)
        self._permit.end("fault" if ours else "neither", latency_ms=slow_ms)

    def _ran_out(self, error: ProviderError, elapsed_s: float) -> bool:
        """Return whether the request ran out of time, so that the timeout is not the provider's fault.

        Either the request's deadline left the call too little time. Or the answer was still coming, and may have waited
        for a caller who reads slowly.
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
        """Note that the call was cancelled. `usage`: what it consumed.

        If the call was `BEATEN` after it was silent for too long, it counts as a failure.
        """
        self._account(Attempt(model=self.model.id, status="cancelled", latency_ms=self.elapsed_ms, usage=usage))
        silent_s, beaten = self._now() - self._began, left is not None and BEATEN in left.args
        if beaten and self._first_token_ms is None and silent_s >= self._work.patience_s(self.model):
            self._silences.unanswered(silent_s)
            self._permit.end("fault", latency_ms=self.elapsed_ms)
        else:
            self._permit.end("neither")

    def _account(self, attempt: Attempt) -> float:
        cost = cost_usd(self.model, attempt.usage, self.service_tier, time.time())
        attempt = msgspec.structs.replace(
            attempt, cost_usd=cost, first_token_ms=self._first_token_ms, dropped=self.dropped
        )
        if self._place is None:
            self._attempts.append(attempt)
        else:
            self._attempts[self._place] = attempt
        return attempt.latency_ms


async def call_model(work: Work, model: Model, timeouts: Timeouts, attempts: list[Attempt]) -> Completion:
    """Call one model for a whole answer. The call is always appended to `attempts`.

    Raises the provider's `ProviderError`.
    """
    watch, contract, request = Watch(work, model, timeouts, attempts), work.contract, work.request
    asked = request if contract is None else contract.asked(request, model)
    try:
        completion = await work.providers[model.id].complete(asked, model, timeouts)
    except ProviderError as error:
        watch.failed(error)
        raise
    except BaseException as left:  # the caller left, or this code has a defect: give back the place in any case
        watch.cancelled(left, estimate_usage(work, ()) if watch.sent else Usage())
        raise
    watch.dropped, watch.service_tier = completion.dropped, completion.service_tier
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
    """Return whether an answer is empty, or only says that the model will not answer."""
    return all([isinstance(part, Refusal) for part in parts])


def withheld(policy: Policy) -> ContentPolicyError | None:
    """Return the error for an answer whose content was filtered away. None: the answer is passed on as it is."""
    error = ContentPolicyError("the provider's content filter withheld the answer")
    return error if fault_of(error, policy.on_error).then != "fail" else None


def estimate_usage(work: Work, parts: Iterable[Part]) -> Usage:
    """Estimate what a call consumed, because the provider does not say."""
    said = SaidTokens(work.count_tokens)
    said.add(parts)
    return estimated(work, said)


def estimated(work: Work, said: SaidTokens) -> Usage:
    """Estimate the usage of an answer that came piece by piece."""
    return Usage(
        input_tokens=work.sent_tokens or estimate_input_tokens(work.request, work.count_tokens),
        output_tokens=said.tokens,
        estimated=True,
    )


class SaidTokens:
    """Counts the tokens of an answer that comes piece by piece.

    The pieces are joined before they are counted. Of a long answer only a part is kept.
    """

    def __init__(self, count_tokens: Callable[[str], int] = estimate_text_tokens) -> None:
        self._count_tokens = count_tokens
        self._text = io.StringIO()
        self._bytes = 0
        self.any = False
        """Whether the answer has a part that the caller can read."""

    def add(self, parts: Iterable[Part]) -> None:
        """Add further pieces."""
        for part in parts:
            self.any = self.any or not isinstance(part, Opaque)
            text = part.text if type(part) is Text else _written(part)  # most pieces are one word
            self._bytes += len(text) if text.isascii() else size_bytes(text)
            if self._text.tell() < MAX_COUNTED_CHARS:
                self._text.write(text[:MAX_COUNTED_CHARS])

    @property
    def tokens(self) -> int:
        """Estimate the tokens. Text that was not kept counts by its size alone."""
        kept = self._text.getvalue()
        return self._count_tokens(kept) + tokens_of(self._bytes - size_bytes(kept))

    @property
    def rough_tokens(self) -> int:
        """Estimate the tokens by the size alone. This is fast enough to do after each piece."""
        return tokens_of(self._bytes)


def _written(part: Part) -> str:
    match part:
        case Text(text=text) | Thinking(text=text):
            return text
        case ToolCall(name=name, arguments=arguments):
            return name + arguments
        case _:
            return ""
