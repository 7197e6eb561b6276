"""The front of the gateway: it takes requests, and each goes through gather, decide, act and record."""

from __future__ import annotations

import datetime
import time
from collections.abc import Awaitable, Callable

import msgspec

from semroute.access.accounts import Accounts
from semroute.caller import Caller
from semroute.dialects.dialect import endpoint_of
from semroute.execution.check_processes import Examiner
from semroute.execution.judge_health import Judges
from semroute.execution.sessions import Sessions, SessionStore
from semroute.gateway.acting import Call, Means
from semroute.gateway.deciding import decide
from semroute.gateway.encoder_threads import Readers
from semroute.gateway.gathering import Arrival, Sources
from semroute.gateway.recording import Recorder
from semroute.gateway.serving import InService, Serving
from semroute.messages import ChatRequest
from semroute.record import Record

_EPOCH = datetime.date(1970, 1, 1).toordinal()
_DAY_S = 86_400


class Gateway:
    """Serves requests. Needs a running event loop; close it with `aclose`."""

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
        """`accounts`: holds budgets and limits; None: nothing is limited. `room`: awaited before a request begins.

        `sessions`: which model each conversation is on; None: this process alone remembers it. `threads`: for the
        encoder; None: one for each core that the process may use.
        """
        self.clock = clock
        sessions = Sessions() if sessions is None else sessions
        self.recorder = Recorder(on_record, accounts, sessions)
        self._in_service = in_service
        self._room = room
        self._readers = Readers(threads)
        self._sources = Sources(self._readers, sessions, accounts)
        self._means = Means(accounts, Examiner(), Judges())

    @property
    def serving(self) -> Serving:
        """What is in service now."""
        return self._in_service.serving

    async def open(self, request: ChatRequest, caller: Caller = Caller()) -> Call:
        """Gather and decide. The `Call` acts and records.

        Raises `RequestError` for names that do not exist, and `OverloadedError`.
        """
        at, started = self.clock(), time.perf_counter()
        if self._room is not None:
            await self._room()
        if caller.metadata:
            request = msgspec.structs.replace(request, metadata={**request.metadata, **caller.metadata})
        serving = self._in_service.on(datetime.date.fromordinal(_EPOCH + int(at // _DAY_S)))
        session = f"{caller.id}\0{request.session}" if request.session else ""
        deployments = serving.deployments.at(endpoint_of(request))
        arrival = Arrival(serving, serving.router.config, deployments, caller, session, at, started)
        decided, account = await decide(request, arrival, self._sources, self.recorder)
        return Call(self._means, arrival, decided, account)

    async def aclose(self) -> None:
        """Wait for what the threads are doing, and for what is being counted and remembered."""
        await self.recorder.written()
        self._readers.close()
        await self._means.examiner.aclose()
