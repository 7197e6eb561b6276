"""Serve requests. Each one goes through four phases: gathering, deciding, acting and recording.

This file opens a request, which takes the first two phases: the Router decides, based on the facts that `gathering`
collects. The other phases have files of their own.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Awaitable, Callable

import msgspec

from semroute.access.accounts import Accounts
from semroute.caller import Caller
from semroute.config.config import Config
from semroute.errors import RequestError, UnknownModelError, UnknownRouteError
from semroute.execution.check_processes import AnswerChecker
from semroute.execution.judge_health import JudgeHealth
from semroute.execution.sessions import Sessions, SessionStore
from semroute.gateway.acting import Call, Means
from semroute.gateway.encoder_threads import EncoderThreads
from semroute.gateway.gathering import FactSources, Gathering, RequestContext, unit_of, with_input_size
from semroute.gateway.recording import Account, Recorder
from semroute.gateway.request_features import Evidence
from semroute.gateway.serving import InService, Serving
from semroute.messages import EMBEDDINGS, ChatRequest
from semroute.record import Record
from semroute.router import Decided
from semroute.routing.decide import AUTO
from semroute.routing.model_aliases import alias_target

_EPOCH = datetime.date(1970, 1, 1).toordinal()
_DAY_S = 86_400


class Gateway:
    """Serves requests. It needs a running event loop. Call `aclose` at the end."""

    def __init__(
        self,
        in_service: InService,
        on_record: Callable[[Record], None],
        *,
        accounts: Accounts | None = None,
        room: Callable[[], Awaitable[None]] | None = None,
        sessions: SessionStore | None = None,
        threads: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`on_record`: gets the record of each request that has ended.

        `accounts`: hold budgets and limits. None: nothing is limited. `room`: is awaited before each request.
        `sessions`: know the model of each conversation. None: only this process knows it. `threads`: the number of
        encoder threads. None: one for each core that the process may use. `clock`: seconds since 1970.
        """
        self.clock = clock
        sessions = Sessions() if sessions is None else sessions
        self.recorder = Recorder(on_record, accounts, sessions)
        self._in_service = in_service
        self._room = room
        self._readers = EncoderThreads(threads)
        self._sources = FactSources(self._readers, sessions)
        self._means = Means(AnswerChecker(), JudgeHealth())

    @property
    def serving(self) -> Serving:
        """Return what is in service now."""
        return self._in_service.serving

    async def open(self, request: ChatRequest, caller: Caller = Caller()) -> Call:
        """Gather facts and decide. The returned `Call` acts and records.

        Raises `RequestError` for names that do not exist, and `OverloadedError`.
        """
        at, started = self.clock(), time.perf_counter()
        if self._room is not None:
            await self._room()
        if caller.metadata:
            request = msgspec.structs.replace(request, metadata={**request.metadata, **caller.metadata})
        today = datetime.date.fromordinal(_EPOCH + int(at // _DAY_S))
        serving = self._in_service.serving
        if serving.priced_on != today:
            serving = self._in_service.price_on(today)
        config = serving.router.config
        session = f"{caller.id}\0{request.session}" if request.session else ""
        arrival = RequestContext(
            serving=serving,
            config=config,
            deployments=serving.deployments.at(request.endpoint),
            accounts=self.recorder.accounts if config.budgets or caller.bounded else None,
            caller=caller,
            session=session,
            at=at,
            started=started,
            unit=unit_of(request, caller, session),
        )
        decided, account = await self._decide(request, arrival)
        return Call(self._means, arrival, decided, account)

    async def _decide(self, request: ChatRequest, arrival: RequestContext) -> tuple[Decided, Account]:
        """Let the Router decide on the facts that are gathered, and open the account of the request.

        If deciding fails after it called a model, the failure is recorded.
        """
        if arrival.config.aliases and request.endpoint == EMBEDDINGS:
            _require_model(request, arrival.config)
        gathering = Gathering(arrival, self._sources)
        try:
            decided = await arrival.serving.router.decide_in(gathering, request)
        except (UnknownModelError, UnknownRouteError) as error:
            if not arrival.caller.restricted:
                raise
            # A key that may use only some routes or models is not told which others there are.
            raise type(error)(f"{str(error).rpartition('; ')[0]}; see /v1/models", param=error.param) from None
        except BaseException as error:
            if (left_off := gathering.left_off()) is not None:
                account = Account(self.recorder, arrival, *left_off, gathering.attempts)
                account.begin()
                account.fail(error)
            raise
        account = Account(
            self.recorder,
            arrival,
            with_input_size(decided.request, decided.facts),
            decided.decision,
            decided.facts,
            decided.reading,
            gathering.attempts,
            Evidence(request, decided.signals, gathering.remembered, gathering.label),
        )
        return decided, account

    async def aclose(self) -> None:
        """Wait until the threads have finished, all costs are counted, and all sessions are stored."""
        await self.recorder.written()
        self._readers.close()
        await self._means.examiner.aclose()


def _require_model(request: ChatRequest, config: Config) -> None:
    """Raise `RequestError` if the request for embeddings uses an alias that stands for a choice among models."""
    target = alias_target(config, request.model)
    if target != request.model and target.partition(":")[0] == AUTO:
        told = f"model {request.model!r} is an alias of {target}"
        raise RequestError(f"{told}, expected a model's id: embeddings are not routed", param="model")
