"""Serve requests. Each one goes through four phases: gathering, deciding, acting and recording."""

from __future__ import annotations

import datetime
import time
from collections.abc import Awaitable, Callable

import msgspec

from semroute.access.accounts import Accounts
from semroute.caller import Caller
from semroute.execution.check_processes import AnswerChecker
from semroute.execution.judge_health import JudgeHealth
from semroute.execution.sessions import Sessions, SessionStore
from semroute.gateway.acting import Call, Means
from semroute.gateway.deciding import decide
from semroute.gateway.encoder_threads import EncoderThreads
from semroute.gateway.gathering import FactSources, RequestContext
from semroute.gateway.recording import Recorder
from semroute.gateway.serving import InService, Serving
from semroute.messages import ChatRequest
from semroute.record import Record

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
        arrival = RequestContext(
            serving=serving,
            config=config,
            deployments=serving.deployments.at(request.endpoint),
            accounts=self.recorder.accounts if config.budgets or caller.bounded else None,
            caller=caller,
            session=f"{caller.id}\0{request.session}" if request.session else "",
            at=at,
            started=started,
        )
        decided, account = await decide(request, arrival, self._sources, self.recorder)
        return Call(self._means, arrival, decided, account)

    async def aclose(self) -> None:
        """Wait until the threads have finished, all costs are counted, and all sessions are stored."""
        await self.recorder.written()
        self._readers.close()
        await self._means.examiner.aclose()
