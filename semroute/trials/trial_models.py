"""Call models for trials, apart from the calls for answers.

Trials have circuit breakers, counts of their limits and connections of their own. So a trial that fails, is slow or is
refused changes nothing for answers. Of the limits that answers have, a trial only uses what they leave:

- It begins only if the model's breaker is closed, and half of each of its limits is free.
- If answers come to need the place that it has in a limit of concurrent calls, it is cancelled.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from typing import Literal, NamedTuple

from msgspec.structs import replace

from semroute.config.config import Config
from semroute.config.schema.models import Model
from semroute.config.schema.policies import Policy
from semroute.config.schema.resilience import Retry
from semroute.config.schema.rules import Rule
from semroute.execution.clock import CLOCK, Clock
from semroute.execution.deployments import Deployment, Deployments
from semroute.execution.executor import one_model_caller
from semroute.execution.grading import CallModel
from semroute.execution.model_call import Work
from semroute.gateway.serving import Serving
from semroute.gateway.trial_queue import Served
from semroute.messages import ChatRequest, Completion, Usage
from semroute.providers.echo import EchoProvider
from semroute.providers.provider import Provider, open_providers
from semroute.providers.transport import Transport
from semroute.record import Attempt
from semroute.routing.pricing import cost_usd, estimate_input_tokens
from semroute.routing.rule_matching import exclusion_reason, narrowing_rules

KEPT = 0.5
"""The share of each limit that trials leave to answers."""
LOOK_S = 0.02
"""How often a trial looks whether answers need its place."""


class NotMadeError(Exception):
    """A trial is not made. `str(error)` is the reason. There are few reasons, and trials are counted by them."""


class Places(NamedTuple):
    """A limit of concurrent calls."""

    limit: int
    answers: Callable[[], int]
    """Returns how many calls for answers are under way."""
    trials: str
    """Its name among the counts of trials."""

    def room(self, trials: Counter[str]) -> int:
        """Return how many more calls the limit allows."""
        return self.limit - self.answers() - trials[self.trials]


class TrialModels:
    """Calls models for trials."""

    def __init__(self, transport: Transport, *, echo: bool = False, clock: Clock = CLOCK) -> None:
        """`transport`: carries no other calls. `echo`: whether the offline provider stands in for all models."""
        self._transport = transport
        self._echo = echo
        self._deployments = Deployments(clock)
        self._running: Counter[str] = Counter()
        """How many trials call each model, and each provider."""
        self._opened: tuple[Config, Mapping[str, Provider]] | None = None

    def caller(self, serving: Serving, config: Config, deadline_s: float) -> CallModel:
        """Return a function that calls one model once for a whole answer.

        `serving`: what answers use. `config`: where the models are from. The function raises `NotMadeError` if the call
        would be in the way of answers.
        """

        async def call(request: ChatRequest, model: Model, attempts: list[Attempt]) -> Completion:
            return await self._call(serving, config, model, request, attempts, deadline_s)

        return call

    async def _call(
        self,
        serving: Serving,
        config: Config,
        model: Model,
        request: ChatRequest,
        attempts: list[Attempt],
        deadline_s: float,
    ) -> Completion:
        tokens = estimate_input_tokens(request)
        places = self._places(serving, model)
        if (reason := self._in_the_way(serving.deployments.states().get(model.id), places, tokens)) is not None:
            raise NotMadeError(reason)
        work = Work(
            request=request,
            plan=(model,),
            providers=self._providers(config),
            policy=Policy(deadline_s=deadline_s, hedge_after_ms=None, retry=Retry(max_attempts=1)),
            deployments=self._deployments,
            input_tokens=tokens,
        )
        with self._counted(model):
            calling = one_model_caller(work)(request, model, attempts)
            return await (self._making_room(calling, places) if places else calling)

    def _providers(self, config: Config) -> Mapping[str, Provider]:
        """Return the provider of each model that can be called, by model id."""
        if self._opened is None or self._opened[0] is not config:
            models = config.models.values()
            self._deployments.keep(models, {each.id: each.limits for each in config.providers.values()})
            opened = open_providers(config, self._transport, self._deployments.learn)
            echo = EchoProvider()
            available = (model for model in models if self._echo or not config.providers[model.provider].unavailable)
            self._opened = config, {m.id: echo if self._echo else opened[m.provider] for m in available}
        return self._opened[1]

    # --- what answers leave -------------------------------------------------------------------------------------------

    def _in_the_way(self, known: Deployment | None, places: Iterable[Places], tokens: int) -> str | None:
        """Return why a call should not begin now. None: answers do not need what it takes."""
        if known is not None:
            now = known.clock.now()
            if known.breaker.state(now) != "closed":
                return "breaker open"
            if known.full(tokens, now) is not None or known.spare(now) < KEPT:
                return "limits"
        if any(each.room(self._running) <= int(each.limit * KEPT) for each in places):
            return "limits"
        return None

    @staticmethod
    def _places(serving: Serving, model: Model) -> list[Places]:
        answers = serving.router.config.models.get(model.id)

        def running() -> int:
            known = serving.deployments.states().get(model.id)
            return 0 if known is None else known.in_flight

        found = []
        if answers is not None and answers.limits.concurrency is not None:
            found.append(Places(answers.limits.concurrency, running, model.id))
        for each in serving.deployments.accounts():
            if each.provider == model.provider and each.limits.concurrency is not None:
                found.append(Places(each.limits.concurrency, partial(getattr, each, "in_flight"), f"\0{each.provider}"))
        return found

    async def _making_room(self, calling: Awaitable[Completion], places: Iterable[Places]) -> Completion:
        """Make a call, and cancel it if answers need its place. Then it raises `NotMadeError`."""
        task = asyncio.ensure_future(calling)
        try:
            while not (await asyncio.wait({task}, timeout=LOOK_S))[0]:
                if any(each.room(self._running) < 0 for each in places):
                    raise NotMadeError("made room")
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    @contextmanager
    def _counted(self, model: Model) -> Iterator[None]:
        names = model.id, f"\0{model.provider}"
        self._running.update(names)
        try:
            yield
        finally:
            self._running.subtract(names)


def barred(served: Served, model: Model) -> str | None:
    """Return why a request must not go to a model: by a rule, or by the regions of its policy. None: it may."""
    config, decision = served.serving.router.config, served.record.decision
    rules: tuple[Rule, ...] = narrowing_rules(config.rules, served.facts)
    for rule in rules:
        if reason := exclusion_reason(model, rule):
            return reason
    route = config.routes.get(decision.route or "")
    own = route.policy if route is not None else config.default.policy if decision.rule is None else None
    regions = (own or config.policy).regions
    if regions and set(regions).isdisjoint(model.regions):
        return f"it is not in {' or '.join(regions)}"
    return None


def expected_usd(model: Model, request: ChatRequest, output_tokens: int) -> Decimal:
    """Return what a call costs if the answer has so many tokens, or as many as the request allows if that is less."""
    limits = [limit for limit in (request.params.max_tokens, model.max_output_tokens) if limit]
    output_tokens = min([output_tokens, *limits])
    return cost_usd(model, Usage(input_tokens=estimate_input_tokens(request), output_tokens=output_tokens))


def of_purpose(attempts: Iterable[Attempt], purpose: Literal["judge", "shadow"]) -> tuple[Attempt, ...]:
    """Return calls with the purpose that they were made for."""
    return tuple(replace(attempt, purpose=purpose) for attempt in attempts)
