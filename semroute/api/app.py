"""The service: a Litestar application around one Gateway."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec
from litestar import Litestar
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, YamlRenderPlugin
from threadpoolctl import threadpool_limits

from semroute import __version__, reload
from semroute import settings as settings_module
from semroute.access.callers import Access
from semroute.access.trial_budget import TrialBudget
from semroute.api import (
    admin,
    alarm_service,
    completions,
    count_tokens,
    dashboard,
    decisions,
    error_responses,
    experiment_endpoints,
    feedback,
    gemini_endpoints,
    guards,
    learning_endpoints,
    models_endpoints,
    ollama_endpoints,
    passthrough,
    responses_endpoints,
    text_completions_endpoint,
)
from semroute.api.accounting import Books, kept_content
from semroute.api.alarm_service import Alarms
from semroute.api.background_work import keep_going
from semroute.api.experiment_watch import ExperimentWatch, no_stage
from semroute.api.fast_path import Service
from semroute.api.learning_jobs import LearningJobs
from semroute.api.misroute_counting import Misroutes
from semroute.api.openapi_page import ReferencePage
from semroute.api.origin_checks import OriginGate
from semroute.api.request_intake import BodyLimits, RequestPlaces
from semroute.api.worker_pipe import Lifeline
from semroute.config.load import default_folder
from semroute.cpus import usable_cores
from semroute.errors import SemrouteError
from semroute.execution.breaker_sync import BreakerSync
from semroute.execution.idempotency import Idempotency, SharedAnswers
from semroute.execution.sessions import SharedSessions
from semroute.gateway.gateway import Gateway
from semroute.gateway.learned_quality import LearnedQuality
from semroute.gateway.serving import InService, Serving
from semroute.providers.streamed_upload import PassingTransport
from semroute.providers.transport import Transport, trusted_authorities
from semroute.router import Router
from semroute.settings import Settings
from semroute.stores.experiment_store import ExperimentStore
from semroute.stores.grades import read_grades
from semroute.telemetry.logs import configure
from semroute.trials.kinds import trial_kinds
from semroute.trials.trial_runner import Trials

SWITCH_S = 0.0005
"""Seconds that a thread waits for the interpreter's lock before it gets it. With Python's 5 ms, a thread that embedded
a prompt would wait longer for the busy event loop than the embedding took."""
TRIAL_CONNECTIONS = 16
"""The most connections for trials. They are apart from those for answers."""
COLLECTED = (10_000, 20, 50)
"""Thresholds of the garbage collector. A request makes some hundred objects; nearly all are freed without it."""


def create_app(settings: Settings | None = None, lifeline: Lifeline | None = None) -> Litestar:
    """Build the application. If `settings` is None, they are read from the environment.

    At its start the application loads the router and opens the database. Any `SemrouteError` then stops it.
    `lifeline`: has the last good state to start from, and reports to the supervisor.
    """
    settings, lifeline = settings or settings_module.read(), lifeline or Lifeline()
    configure(settings.log_level, settings.log_format)

    places = RequestPlaces(
        settings.max_running,
        settings.max_bodies_bytes,
        settings.max_body_bytes,
        lambda: app.state.access.several_keys,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        try:
            async with _running(app, settings, lifeline):
                yield
        except (SemrouteError, OSError) as error:
            app.failure = str(error)
            lifeline.fail(app.failure)
            raise

    app = Service(
        bodies=BodyLimits(places, settings.max_body_bytes, settings.receive_s),
        route_handlers=[
            *completions.HANDLERS,
            gemini_endpoints.gemini,
            count_tokens.messages,
            count_tokens.responses,
            models_endpoints.models,
            models_endpoints.model,
            admin.routes,
            admin.live,
            admin.probed,
            admin.ready,
            admin.reload,
            alarm_service.alarms,
            alarm_service.reset,
            decisions.decisions,
            decisions.decision,
            decisions.stats,
            decisions.learned,
            decisions.budgets,
            experiment_endpoints.experiments,
            decisions.reset_budget,
            decisions.audit,
            feedback.feedback,
            feedback.link,
            feedback.linked_page,
            feedback.linked,
            admin.metrics,
            dashboard.page,
            dashboard.part,
            *learning_endpoints.HANDLERS,
            *ollama_endpoints.HANDLERS,
            *passthrough.HANDLERS,
            *responses_endpoints.HANDLERS,
            *text_completions_endpoint.HANDLERS,
        ],
        lifespan=[lifespan],
        exception_handlers={Exception: error_responses.answer_to},
        openapi_config=OpenAPIConfig(
            title="semroute",
            version=__version__,
            use_handler_docstrings=True,
            render_plugins=[ReferencePage(path="/"), JsonRenderPlugin(), YamlRenderPlugin()],
        ),
        logging_config=None,
    )
    app.state.settings = settings
    return app


@contextlib.asynccontextmanager
async def _running(app: Service, settings: Settings, lifeline: Lifeline) -> AsyncIterator[None]:
    """Load the router, watch its files, and close everything at the end."""
    sys.setswitchinterval(SWITCH_S)
    # Several training threads wait for each other, and requests wait for them. With several threads, a reload on two
    # busy cores took 4 to 28 s instead of 1 or 2. On two idle cores it took a tenth of a second less.
    threadpool_limits(1, user_api="blas")
    folder = Path(settings.routes) if settings.routes else default_folder()
    loading = asyncio.to_thread(reload.load, folder, lifeline.good.files)
    loaded, tls = await asyncio.gather(loading, asyncio.to_thread(trusted_authorities))
    transport = PassingTransport(tls=tls)
    in_service = InService(Serving.open(_kept(loaded.router), transport, echo=settings.echo))
    deployments = in_service.serving.deployments
    books = await asyncio.to_thread(Books, settings, in_service.config, lifeline)
    learned = LearnedQuality(
        in_service.config, partial(books.ask, read_grades, books.database), TrialBudget(books.state)
    )
    gateway = Gateway(
        in_service,
        books.record,
        accounts=books.accounts,
        room=books.writer.room if books.writer is not None else None,
        sessions=SharedSessions(books.state) if settings.shared else None,
        threads=max(1, usable_cores() // settings.workers),
        learned=learned,
    )
    gateway.recorder.arm_budget = budget = TrialBudget(books.state)
    watch = ExperimentWatch(
        gateway.experiments,
        ExperimentStore(books.database),
        lambda: in_service.serving,
        books.state,
        on_stage=books.metrics.staged if books.metrics is not None else no_stage,
    )
    trial_transport = Transport(tls=tls, max_connections=TRIAL_CONNECTIONS)
    trials = Trials(
        trial_kinds(trial_transport, echo=settings.echo),
        budget,
        books.enter,
        on_trial=books.metrics.tried if books.metrics is not None else _ignore,
        on_drop=books.metrics.untried if books.metrics is not None else _ignore,
    )
    gateway.recorder.trials = trials if trials.wanted(in_service.config()) else None
    await books.state.start()
    await watch.look()
    works: list[Callable[[], Awaitable[None]]] = [partial(admin.show, gateway, books)] if settings.workers > 1 else []
    if settings.shared:
        exchange = BreakerSync(books.state, deployments, lambda: in_service.config().models.values())
        works.append(exchange.run)

    def swap(router: Router) -> None:
        in_service.serving = Serving.open(_kept(router), transport, echo=settings.echo, deployments=deployments)
        gateway.recorder.trials = trials if trials.wanted(router.config) else None

    reloader = reload.Reloader(folder, loaded, swap, on_good=lambda files: lifeline.keep(files=files))
    app.state.gateway, app.state.reloader, app.state.lifeline = gateway, reloader, lifeline
    idempotency = Idempotency(SharedAnswers(books.state) if settings.shared else None)
    app.state.idempotency, app.state.keepalive_s = idempotency, settings.keepalive_s
    access = Access(settings, books.ring)
    app.state.books, app.state.access = books, access
    alarm = app.state.alarms = Alarms(
        books.database,
        in_service.config,
        transport,
        books.metrics,
        logs=books.writer is not None,
        ask=books.ask,
    )
    misroutes = Misroutes(books.database, in_service.config, books.metrics, ask=books.ask)
    jobs = app.state.learning_jobs = LearningJobs(settings.database_url)
    app.state.maps = learning_endpoints.Maps()
    app.state.refusals = guards.Refusals()
    app.gate = OriginGate(access, lambda: in_service.config().cors)
    gc.set_threshold(*COLLECTED)
    gc.freeze()  # objects that exist by now stay; looking through them again and again would stop everything for 0.1 s
    works += [
        watch.run,
        trials.run,
        learned.run,
        reloader.watch,
        books.watch,
        books.state.run,
        alarm.watch,
        alarm.deliver,
        partial(responses_endpoints.sweep, books),
    ]
    works += [misroutes.watch] if books.writer is not None else []
    watching = {asyncio.create_task(keep_going(work)) for work in works}
    try:
        yield
    finally:
        for task in watching:
            task.cancel()
        await asyncio.wait(watching)
        await jobs.aclose()
        await idempotency.aclose()
        await gateway.aclose()
        await learned.aclose()
        await trials.aclose()
        await alarm.aclose()
        await misroutes.aclose()
        await books.aclose()
        await transport.aclose()
        await trial_transport.aclose()


def _ignore(*_: object) -> None:
    """Do nothing: metrics are switched off."""


def _kept(router: Router) -> Router:
    """Return the router with settings of the log that this installation can follow."""
    return router.configured(msgspec.structs.replace(router.config, log=kept_content(router.config.log)))
