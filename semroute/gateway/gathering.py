"""Gathering: the first phase of a request. It collects the facts that the decision needs."""

from __future__ import annotations

import hashlib
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
from semroute.gateway.encoder_threads import EncoderThreads
from semroute.gateway.learned_quality import LearnedQuality
from semroute.gateway.serving import Serving
from semroute.messages import ChatRequest
from semroute.record import Attempt
from semroute.router import DecisionInputs
from semroute.routing.ask import Ask
from semroute.routing.decide import Choice
from semroute.routing.difficulty import Reading
from semroute.routing.facts import Facts, read_facts
from semroute.routing.sticky import Remembered, stick


class RequestContext(NamedTuple):
    """The circumstances of one request: who sent it, when, and what is in service for it."""

    serving: Serving
    config: Config
    """The configuration of `serving`."""
    deployments: Deployments
    """The deployments for this endpoint."""
    accounts: Accounts | None
    """The budgets and limits. None: none of them applies to this request."""
    caller: Caller
    session: str
    """The name of the conversation. Empty: it has none. Two callers never share a name."""
    at: float
    """When the request came, by the gateway's clock."""
    started: float
    """The same moment by `time.perf_counter()`."""
    unit: str = ""
    """See `Record.unit`; the next two fields likewise."""
    experiment: str = ""
    arm: str = ""


class FactSources(NamedTuple):
    """Where the facts come from."""

    readers: EncoderThreads
    sessions: SessionStore
    learned: LearnedQuality | None = None
    """What is learned of the models' quality. None: nothing."""


class Gathering(DecisionInputs):
    """The facts for one decision in the service.

    If the decision fails after it called a model, `left_off` tells how far it came.
    """

    def __init__(self, arrival: RequestContext, sources: FactSources) -> None:
        super().__init__(arrival.serving.router, Signals(), arrival.started)
        self.attempts: list[Attempt] = []
        """The calls to models that the decision needed."""
        self.remembered: Remembered | None = None
        """Where the conversation's last turn went. None: it has none."""
        self.label: str | None = None
        """What the classifier said. None: it was not asked, or did not answer."""
        self._arrival = arrival
        self._sources = sources
        self._left_off: tuple[ChatRequest, Facts, Choice, Reading] | None = None

    async def facts(self, request: ChatRequest) -> Facts:
        """Read the facts of the request. A long request is read in a thread. Raises `OverloadedError`."""
        if not request.long:
            return read_facts(request, self._arrival.config.route_on, self._arrival.config.strip)
        return await self._sources.readers.run(partial(self.router.read_facts, request))

    async def reading(self, ask: Ask) -> Reading:
        """Read an ask in a thread, together with others that wait. Raises `OverloadedError`."""
        return await self._sources.readers.read(self.router, ask)

    async def classified(self, semantic: Choice, request: ChatRequest, facts: Facts, reading: Reading) -> Choice:
        """Return the classifier's choice. If the classifier is not used or has no answer, return `semantic`."""
        candidates, serving, caller = semantic.compared.candidates, self._arrival.serving, self._arrival.caller
        if serving.classifier is None or not serving.classifier.wanted(candidates[0].route if candidates else None):
            return semantic
        config, accounts = self._arrival.config, self._arrival.accounts
        assert config.classifier is not None
        model = config.models[config.classifier.model]
        if accounts is not None and await accounts.exhausted(config, caller, model.id):
            return semantic
        work = Work(
            request=with_input_size(request, facts),
            plan=(model,),
            providers=serving.providers,
            policy=semantic.policy,
            deployments=serving.deployments,
            caller=caller.id,
            input_tokens=facts.input_tokens,
        )
        self._left_off = request, facts, semantic, reading
        self.label = label = await serving.classifier.label(
            facts.text, request.id, model, one_model_caller(work), self.attempts
        )
        choice = semantic if label is None else self.router.choose_classified(label, semantic)
        self._left_off = request, facts, choice, reading
        return choice

    async def continued(self, choice: Choice, facts: Facts) -> Choice:
        """Return the choice, with the route and the model of the conversation if it stays there."""
        self.remembered = remembered = await self._sources.sessions.get(self._arrival.session)
        return stick(self._arrival.config, choice, remembered, facts)

    async def signals(self, choice: Choice, facts: Facts) -> tuple[Signals, str]:
        """Return which models can be called and what is left of budgets.

        Also returns why the choice leans to cheap models. Empty: it does not.
        """
        arrival, accounts = self._arrival, self._arrival.accounts
        signals = arrival.deployments.signals(arrival.serving.unavailable, facts.wanted_tokens)
        why = ""
        if accounts is not None:
            signals, why = await accounts.signals(arrival.config, arrival.caller, choice.route, signals)
        if choice.policy.learn is not None and self._sources.learned is not None:
            # This is last, and nothing is awaited after it: what may be spent is still there when it is set aside.
            signals = self._sources.learned.signals(arrival.config, choice, signals)
        return signals, why

    async def explained(self, decision: Decision, facts: Facts) -> Decision:
        """Add `details` to the decision. It takes many matches, so it runs in a thread. Raises `OverloadedError`."""
        return await self._sources.readers.run(partial(self.router.explain, decision, facts))

    def left_off(self) -> tuple[ChatRequest, Decision, Facts, Reading] | None:
        """Return how far a failed decision came. None: it called no model, so it cost nothing."""
        if not self.attempts or self._left_off is None:
            return None
        request, facts, choice, reading = self._left_off
        return request, self.router.decide(request, facts, choice, Signals(), reading), facts, reading


def unit_of(request: ChatRequest, caller: Caller, session: str) -> str:
    """Return who asked, as a letter for the kind and a digest. Empty: not known.

    `session`: the name of the conversation, as in `RequestContext`.
    """
    for kind, name in (("u", request.params.user or request.metadata.get("user_id")), ("s", session), ("k", caller.id)):
        if name and isinstance(name, str):
            return kind + hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return ""


def with_input_size(request: ChatRequest, facts: Facts) -> ChatRequest:
    """Add the size of the input to a request that sets `max_tokens`: a model's window must hold both."""
    if facts.max_tokens is None:
        return request
    return msgspec.structs.replace(request, input_tokens=facts.input_tokens)
