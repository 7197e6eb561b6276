"""Recording: the last phase of a request. Each request is recorded, however it ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from decimal import Decimal

import msgspec

from semroute.access.accounts import Accounts, Hold
from semroute.access.trial_budget import TrialBudget, TrialHold
from semroute.decision import Decision, Details
from semroute.errors import BudgetError, ForbiddenError, LimitError
from semroute.execution.sessions import SessionStore
from semroute.gateway.gathering import RequestContext
from semroute.gateway.learned_quality import LearnedQuality
from semroute.gateway.request_features import Evidence, packed_features
from semroute.gateway.trial_queue import Draws, Served, TrialQueue
from semroute.messages import CHAT, ChatRequest, Chunk, Completion, FinishReason, Part, Text, Usage
from semroute.record import Attempt, Outcome, Record, cost_usd, served
from semroute.routing.difficulty import Reading
from semroute.routing.explain import ask_and_material
from semroute.routing.facts import Facts
from semroute.routing.pricing import saved_usd
from semroute.routing.scoring import Floats
from semroute.routing.sticky import Remembered
from semroute.stores.log_content import without_prompt

MAX_FEATURE_CHARS = 64


class Recorder:
    """Takes the records of all requests. Answers do not wait until their cost is counted."""

    def __init__(
        self,
        on_record: Callable[[Record], None],
        accounts: Accounts | None,
        sessions: SessionStore,
        learned: LearnedQuality | None = None,
    ) -> None:
        self.accounts = accounts
        """Hold budgets and limits. None: nothing is limited."""
        self.running = 0
        """How many calls are under way. Whoever begins a call adds it."""
        self.arm_budget: TrialBudget | None = None
        """Holds what the arms of experiments may spend. None: nothing is limited."""
        self.trials: TrialQueue | None = None
        """Takes requests for trials. None: there are no trials."""
        self.learned = learned
        """Counts what is spent to learn the models' quality. None: nothing is learned."""
        self._on_record = on_record
        self._sessions = sessions
        self._writing: set[asyncio.Task[None]] = set()

    def end(
        self, record: Record, hold: Hold | None = None, session: str = "", arm_hold: TrialHold | None = None
    ) -> None:
        """Take the record of a call that has ended. `hold`, `arm_hold`: what was reserved for it."""
        if hold is not None:
            assert self.accounts is not None
            self._later(self.accounts.settle(hold, record))
        if arm_hold is not None:
            assert self.arm_budget is not None
            self._later(self.arm_budget.settle(arm_hold, record.cost_usd, record.ended))
        self.running -= 1
        if self.learned is not None and self.learned.spending:
            self.learned.finish(record)
        if session and record.outcome == "ok":
            self.remember(session, record.decision, record.model)
        self._on_record(record)

    def remember(self, session: str, decision: Decision, model: str | None) -> None:
        """Keep a session on a model. A decision by a rule or for a pinned model says nothing about later turns."""
        if model is not None and decision.reason not in ("rule", "pinned"):
            self._later(self._sessions.put(session, Remembered(route=decision.route, model=model)))

    async def written(self) -> None:
        """Wait until all costs are counted and all sessions are stored."""
        while self._writing:
            await asyncio.wait(self._writing)

    def _later(self, writing: Coroutine[None, None, None]) -> None:
        """Write to the shared state in a task, so that no answer waits for it."""
        task = asyncio.get_running_loop().create_task(writing)
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)


class Account:
    """The account of one request. It ends once, with the record."""

    def __init__(
        self,
        recorder: Recorder,
        arrival: RequestContext,
        request: ChatRequest,
        decision: Decision,
        facts: Facts,
        reading: Reading,
        attempts: list[Attempt],
        evidence: Evidence | None = None,
    ) -> None:
        """`attempts`: the calls that the decision needed. The calls for the answer are appended. `evidence`: None if
        the request was not decided to the end.
        """
        self.request = request
        self.decision = decision
        """Budgets may take models out of its plan."""
        self.attempts = attempts
        self.hold: Hold | None = None
        """What is reserved for the request."""
        self.arm_hold: TrialHold | None = None
        """What is reserved of the budget of an experiment."""
        self.costs_known = False
        """Whether nothing more will be spent: the call has ended, or a held streamed answer is whole."""
        self.keeps_answer = arrival.config.log.content != "none"
        """Whether the log may hold the answer, or a trial needs it."""
        self._draws: Draws = {}
        self._recorder = recorder
        self._arrival = arrival
        self._facts = facts
        self._reading = reading
        self._evidence = evidence
        self._ended: float | None = None
        self._outcome: Outcome = "running"
        self._error: str | None = None
        self._final: Record | None = None
        self._answer: list[Part] = []
        self._finish_reason: FinishReason | None = None

    @property
    def record(self) -> Record:
        """Return the record so far. It is final when the call has ended."""
        return self._final or self._so_far()

    def begin(self) -> None:
        """Begin the call. Every later error must reach `fail`."""
        self._recorder.running += 1
        accounts, arrival = self._arrival.accounts, self._arrival
        if accounts is not None:
            # The hold exists before anything is reserved. So `end` frees everything, even if the caller leaves while
            # the reservation is under way.
            self.hold = accounts.open(arrival.config, arrival.caller, self.request.id, self.decision.route)
        trials = self._recorder.trials
        if trials is not None and self.request.endpoint == CHAT:
            self._draws = trials.draw(self.request, self.decision, arrival.serving)
            self.keeps_answer = self.keeps_answer or bool(self._draws)
        if self.decision.explored and self._recorder.learned is not None:
            self._recorder.learned.begin(arrival.config, self.decision)

    def fail(self, error: BaseException) -> None:
        """Record a failure, a refusal, or a caller who went away."""
        if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            self.end("cancelled")
        else:
            self.end("refused" if isinstance(error, (BudgetError, ForbiddenError, LimitError)) else "failed", error)

    def remember(self) -> None:
        """Keep the conversation on the decision's model, as soon as the call is admitted."""
        self._recorder.remember(self._arrival.session, self.decision, self.decision.model)

    def note(self, chunk: Chunk) -> None:
        """Keep what a chunk gives to the caller."""
        self._answer += chunk.parts
        if chunk.finish_reason is not None:
            self._finish_reason = chunk.finish_reason

    def end(self, outcome: Outcome, error: BaseException | None = None, answer: Completion | None = None) -> None:
        """Record the call. Only the first of several ends counts. `answer`: a whole answer."""
        if self._outcome != "running":
            return
        self._outcome, self._ended, self.costs_known = outcome, time.perf_counter(), True
        if error is not None:
            self._error = str(error)
        if answer is not None and self.keeps_answer:
            self._answer += answer.parts
            self._finish_reason = answer.finish_reason
        self._final = self._so_far()
        self._recorder.end(self._for_the_log(self._final), self.hold, self._arrival.session, self.arm_hold)
        trials, arrival = self._recorder.trials, self._arrival
        if self._draws and outcome == "ok" and trials is not None:
            served = Served(
                request=self.request,
                record=self._final,
                answer=tuple(self._answer),
                finish_reason=self._finish_reason,
                facts=self._facts,
                serving=arrival.serving,
                caller=arrival.caller,
                draws=self._draws,
            )
            trials.put(served)

    def _so_far(self) -> Record:
        arrival, attempts = self._arrival, tuple(self.attempts)
        elapsed_ms = ((self._ended or time.perf_counter()) - arrival.started) * 1000
        config, chosen = arrival.config, served(attempts)
        model = config.models.get(chosen.model) if chosen is not None else None
        baseline, saved = config.models.get(config.baseline), Decimal(0)
        answered = self._outcome == "ok" or (self._outcome == "running" and self.costs_known)
        if answered and baseline is not None:
            saved = saved_usd(baseline, _used(self.decision, chosen), cost_usd(attempts))
        return Record(
            request_id=self.request.id,
            decision=self.decision,
            attempts=attempts,
            outcome=self._outcome,
            overhead_ms=max(0.0, elapsed_ms - sum([attempt.latency_ms for attempt in attempts])),
            at=arrival.at,
            latency_ms=elapsed_ms,
            caller=arrival.caller,
            tier=model.tier if model is not None else "",
            feature=str(self.request.metadata.get("feature") or "")[:MAX_FEATURE_CHARS],
            unit=arrival.unit,
            experiment=arrival.experiment,
            arm=arrival.arm,
            saved_usd=saved,
            error=self._error,
        )

    def _for_the_log(self, record: Record) -> Record:
        """Add the evidence for the decision, and as much of the texts as the log may hold."""
        keep, reading = self._arrival.config.log, self._reading
        attempts, error, prompt = record.attempts, record.error, None
        if keep.content != "none" or error or any([attempt.error for attempt in attempts]):
            prompt = "\n".join(message.text for message in self.request.messages)
        if prompt is not None and keep.content != "full":
            error = without_prompt(error, prompt)
            attempts = tuple(
                msgspec.structs.replace(attempt, error=without_prompt(attempt.error, prompt)) for attempt in attempts
            )
        return msgspec.structs.replace(
            record,
            decision=self._told(record.decision),
            attempts=attempts,
            error=error,
            embedding=_halves(reading.embedding) if keep.embedding else b"",
            encoder=self._arrival.serving.router.embedder.fingerprint if reading.embedding.size else "",
            features=self._features(prompt) if keep.features or keep.content == "full" else b"",
            scores=_halves(reading.scores),
            routes=tuple(self._arrival.config.routes),
            content=keep.content,
            prompt=None if keep.content == "none" else prompt,
            answer=None if keep.content == "none" else text_of(self._answer),
        )

    def _features(self, prompt: str | None) -> bytes:
        """Return all that the decision was made from. Empty: it was not made to the end."""
        if self._evidence is None:
            return b""
        keep, router = self._arrival.config.log, self._arrival.serving.router
        return packed_features(router, self._facts, self._reading, self._evidence, keep, prompt)

    def _told(self, decision: Decision) -> Decision:
        """Return the decision for the log. If the log keeps the text as it is, the decision keeps its asks. Otherwise
        it keeps no words of the text.
        """
        if self._arrival.config.log.content != "full":
            return decision if decision.details is None else msgspec.structs.replace(decision, details=None)
        if decision.details is not None or self.request.long:
            return decision
        pieces = ask_and_material(self._facts.prompt, self._facts.ask)
        return msgspec.structs.replace(decision, details=Details(words=(), flip=None, pieces=pieces))


def text_of(answer: Sequence[Part]) -> str:
    """Return the text of an answer."""
    return "".join([part.text for part in answer if isinstance(part, Text)])


def _halves(values: Floats) -> bytes:
    """Return numbers as float16, little-endian."""
    return values.astype("<f2").tobytes() if values.size else b""


def _used(decision: Decision, chosen: Attempt | None) -> Usage:
    """Return the tokens of an answer. If the route had it ready, they are what a model would have used."""
    if decision.answer is not None:
        return Usage(input_tokens=decision.estimate.input_tokens, output_tokens=decision.estimate.output_tokens)
    return Usage() if chosen is None else chosen.usage
