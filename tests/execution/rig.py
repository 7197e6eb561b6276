"""The executor in front of the fault server, without the service around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from semroute.config.schema.models import Model
from semroute.config.schema.policies import Policy
from semroute.config.schema.providers import ProviderSettings
from semroute.config.schema.resilience import BreakerSettings, RateLimits, Retry, Timeouts
from semroute.dialects.openai.provider import OpenAIProviderDialect
from semroute.errors import SemrouteError
from semroute.execution.deployments import Deployments
from semroute.execution.executor import first_answer
from semroute.execution.model_call import Work
from semroute.execution.streaming import first_stream
from semroute.messages import ChatRequest, Chunk, Message, Text, Usage
from semroute.providers.http_provider import HttpProvider
from semroute.providers.transport import Transport
from semroute.record import Attempt
from tests.providers.fault_server import FaultServer

HASTY = Timeouts(connect_s=1, first_token_s=0.2, stall_s=0.2, total_s=0.2, stream_s=1)
PATIENT = Timeouts(connect_s=20, first_token_s=20, stall_s=20, total_s=20)
QUICK = Policy(timeouts=PATIENT, deadline_s=40, retry=Retry(base_s=0.001, cap_s=0.01))
"""Repeats at once, but gives a busy machine its time."""
UNLIMITED = RateLimits()
NEVER = BreakerSettings(failures=10**6, min_calls=10**6)


class Rig:
    """Asks plans of scenarios. `attempts` is the account of the last request."""

    def __init__(self, server: FaultServer, transport: Transport, deployments: Deployments) -> None:
        self.server = server
        self.deployments = deployments
        self.attempts: list[Attempt] = []
        self.chunks: list[Chunk] = []
        settings = ProviderSettings(id="p", dialect="openai", base_url=server.url, api_key="k")
        self._provider = HttpProvider(settings, OpenAIProviderDialect(), transport, deployments.learn)
        self._models: dict[str, Model] = {}

    def model(
        self,
        scenario: str,
        *,
        limits: RateLimits = UNLIMITED,
        breaker: BreakerSettings = NEVER,
        context_tokens: int | None = None,
        features: tuple[str, ...] = ("prefill",),
        provider: str = "p",
    ) -> Model:
        """The model of a scenario, as configured. Each provider's name stands for the same server."""
        model = Model(
            id=scenario,
            provider=provider,
            name=scenario,
            limits=limits,
            breaker=breaker,
            context_tokens=context_tokens,
            features=features,  # type: ignore[arg-type]  # the tests name only those that there are
            input_price=1,  # type: ignore[arg-type]  # a whole number is as exact
            output_price=2,  # type: ignore[arg-type]
        )
        self._models[scenario] = model
        return model

    def work(
        self, plan: Sequence[str | Model], policy: Policy = QUICK, *, stream: bool = False, input_tokens: int = 10
    ) -> Work:
        """A request for a plan."""
        models = tuple(each if isinstance(each, Model) else self.model(each) for each in plan)
        raw = {"messages": [{"role": "user", "content": "Hi"}]}
        request = ChatRequest(
            id="1",
            messages=(Message(role="user", parts=(Text(text="Hi"),)),),
            stream=stream,
            dialect="openai",
            raw=raw,
        )
        providers = dict.fromkeys((model.id for model in models), self._provider)
        return Work(
            request=request,
            plan=models,
            providers=providers,
            policy=policy,
            deployments=self.deployments,
            input_tokens=input_tokens,
        )

    async def ask(self, *plan: str | Model, policy: Policy = QUICK, stream: bool = False) -> str:
        """The text of the answer. Raises as the executor does."""
        work, self.attempts, self.chunks = self.work(plan, policy, stream=stream), [], []
        if not stream:
            return (await first_answer(work, self.attempts)).text
        opened = await first_stream(work, self.attempts)
        try:
            async for chunk in opened:
                self.chunks.append(chunk)
        finally:
            await opened.aclose()
        return self.text

    async def error(self, *plan: str | Model, policy: Policy = QUICK, stream: bool = False) -> SemrouteError:
        """The error that the request ends in."""
        try:
            text = await self.ask(*plan, policy=policy, stream=stream)
        except SemrouteError as error:
            return error
        raise AssertionError(f"expected an error, got {text!r}")

    @property
    def text(self) -> str:
        """What the caller of the last stream saw."""
        return "".join(part.text for chunk in self.chunks for part in chunk.parts if isinstance(part, Text))

    @property
    def usage(self) -> Usage | None:
        """What the caller of the last stream was told."""
        return next((chunk.usage for chunk in reversed(self.chunks) if chunk.usage is not None), None)

    @property
    def account(self) -> list[tuple[str, str]]:
        """Who was called, and how it ended."""
        return [(attempt.model, attempt.error_code or attempt.status) for attempt in self.attempts]


@asynccontextmanager
async def rig(server: FaultServer, deployments: Deployments | None = None) -> AsyncIterator[Rig]:
    """A rig with a transport of its own."""
    transport = Transport()
    try:
        yield Rig(server, transport, deployments or Deployments())
    finally:
        await transport.aclose()
        for _ in range(3):
            await asyncio.sleep(0)  # connections end in the loop's next rounds
