"""Gather: the facts of the moment that a decision asks for."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import msgspec

from semroute.access.accounts import Accounts
from semroute.caller import Caller
from semroute.config.config import Config
from semroute.decision import Decision, Signals
from semroute.execution.deployments import Deployments
from semroute.execution.executor import one_model_caller
from semroute.execution.model_call import Work
from semroute.execution.sessions import SessionStore
from semroute.gateway.encoder_threads import Readers
from semroute.gateway.serving import Serving
from semroute.messages import ChatRequest
from semroute.record import Attempt
from semroute.router import Surroundings
from semroute.routing.decide import Choice
from semroute.routing.difficulty import Reading
from semroute.routing.facts import Facts, read_facts
from semroute.routing.sticky import stick


class Arrival(NamedTuple):
    """A request as it came: whose it is, when, and what is in service for it."""

    serving: Serving
    config: Config
    """Of what is in service."""
    deployments: Deployments
    """Those of the endpoint that is asked for."""
    caller: Caller
    session: str
    """The name of its conversation; empty: none. Two callers never share one."""
    at: float
    """When it came, by the gateway's clock."""
    started: float
    """The same, by `time.perf_counter()`."""


class Sources(NamedTuple):
    """Where the facts are."""

    readers: Readers
    sessions: SessionStore
    accounts: Accounts | None
    """Holds budgets and limits; None: nothing is limited."""


class Gathering(Surroundings):
    """The surroundings of one decision in the service. It keeps what it is told, for a decision that goes wrong."""

    def __init__(self, arrival: Arrival, sources: Sources) -> None:
        super().__init__(arrival.serving.router, Signals(), arrival.started)
        self.attempts: list[Attempt] = []
        """The calls that deciding took."""
        self._arrival = arrival
        self._sources = sources
        self._left_off: tuple[ChatRequest, Facts, Choice, Reading] | None = None

    async def facts(self, request: ChatRequest) -> Facts:
        """Read off the request; a long one in a thread. Raises `OverloadedError`."""
        if not request.long:
            return read_facts(request, self._arrival.config.route_on)
        return await self._sources.readers.run(partial(self.router.read_facts, request))

    async def reading(self, text: str) -> Reading:
        """Read in a thread, together with other prompts that wait. Raises `OverloadedError`."""
        return await self._sources.readers.read(self.router, text)

    async def classified(self, semantic: Choice, request: ChatRequest, facts: Facts, reading: Reading) -> Choice:
        """The classifier's choice, where there is one and it knows; else the semantic one."""
        candidates, serving, caller = semantic.compared.candidates, self._arrival.serving, self._arrival.caller
        if serving.classifier is None or not serving.classifier.wanted(candidates[0].route if candidates else None):
            return semantic
        config, accounts = self._arrival.config, self._sources.accounts
        assert config.classifier is not None
        model = config.models[config.classifier.model]
        if accounts is not None and await accounts.exhausted(config, caller, model.id):
            return semantic
        work = Work(
            request=sized(request, facts),
            plan=(model,),
            providers=serving.providers,
            policy=semantic.policy,
            deployments=serving.deployments,
            caller=caller.id,
            input_tokens=facts.input_tokens,
        )
        self._left_off = request, facts, semantic, reading
        label = await serving.classifier.label(facts.text, request.id, model, one_model_caller(work), self.attempts)
        choice = semantic if label is None else self.router.choose_classified(label, semantic)
        self._left_off = request, facts, choice, reading
        return choice

    async def continued(self, choice: Choice, facts: Facts) -> Choice:
        """The choice with the route and the model that the conversation is on."""
        session = self._arrival.session
        remembered = await self._sources.sessions.get(session) if session else None
        return stick(self._arrival.config, choice, remembered, facts)

    async def signals(self, choice: Choice, facts: Facts) -> tuple[Signals, str]:
        """Which models can be called, what is left of budgets; and why the choice leans to cheap models."""
        arrival, accounts = self._arrival, self._sources.accounts
        signals = arrival.deployments.signals(arrival.serving.unavailable, facts.wanted_tokens)
        if accounts is None:
            return signals, ""
        return await accounts.signals(arrival.config, arrival.caller, choice.route, signals)

    async def explained(self, decision: Decision, facts: Facts) -> Decision:
        """The decision with `details`; in a thread, for it takes many matches. Raises `OverloadedError`."""
        return await self._sources.readers.run(partial(self.router.explain, decision, facts))

    def left_off(self) -> tuple[ChatRequest, Decision, Reading] | None:
        """What a decision that went wrong had come to, where it took calls that must be paid for."""
        if not self.attempts or self._left_off is None:
            return None
        request, facts, choice, reading = self._left_off
        return request, self.router.decide(request, facts, choice, Signals(), reading), reading


def sized(request: ChatRequest, facts: Facts) -> ChatRequest:
    """The request with the size of its input, where it sets `max_tokens`: a model's window has to hold both."""
    if facts.max_tokens is None:
        return request
    return msgspec.structs.replace(request, input_tokens=facts.input_tokens)
