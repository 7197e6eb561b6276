"""Check answers by the model's own certainty, by another model's grade, and by an HTTP callback."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from semroute.config.json_schemas import SchemaFaultError
from semroute.config.schema.models import Model
from semroute.config.schema.policies import Callback, Checks, Judge, JudgeError
from semroute.errors import NoModelError, PlanExhaustedError, ProviderError
from semroute.execution.answer_quality import mean_logprob, wording
from semroute.execution.check_processes import AnswerChecker
from semroute.execution.judge_health import JudgeHealth, UngradedError
from semroute.execution.judge_prompts import ask_of, grade_in, grading
from semroute.json_errors import UNREADABLE, why_unreadable
from semroute.messages import ChatRequest, Completion
from semroute.providers.transport import Transport, encode_headers
from semroute.record import Attempt

CallModel = Callable[[ChatRequest, Model, list[Attempt]], Awaitable[Completion]]
"""Calls one model, and appends the call to the attempts. Raises one of `UNANSWERED`."""
UNANSWERED = (ProviderError, PlanExhaustedError, NoModelError)
"""The errors of a call that gave no answer: the model refused, failed, or cannot be called now."""

Reply = TypeVar("Reply")
MAX_VERDICT_BYTES = 64 * 1024
MAX_REASON_CHARS = 500
CALLBACK = "the callback"
CERTAINTY = "Whether the answer is correct and complete: 1 if certain, 0.5 if a guess, 0 if wrong."


class CallbackVerdict(msgspec.Struct, frozen=True, rename={"passed": "pass"}):
    """The reply of a callback."""

    passed: bool
    reason: str = ""


async def ask_judge(
    call: CallModel, question: ChatRequest, judge: Model, read: Callable[[str], Reply], attempts: list[Attempt]
) -> Reply:
    """Ask a model for its judgement. The call is appended to `attempts`. Raises `UngradedError`.

    `read`: reads its reply, and raises one of `UNREADABLE` if this is none.
    """
    calls: list[Attempt] = []
    try:
        reply = await call(question, judge, calls)
        return read(reply.text)
    except UNANSWERED as error:
        raise UngradedError(judge.id, f"{judge.id} could not grade it: {error}") from None
    except UNREADABLE as error:
        why = f"{judge.id} gave no grade: got {why_unreadable(error, reply.text)}"
        raise UngradedError(judge.id, why, unreadable=True) from None
    finally:
        attempts += [replace(one, purpose="judge") for one in calls]


class Grader:
    """Runs all checks of an answer. Checks that cost nothing come first."""

    def __init__(
        self,
        call: CallModel,
        models: Mapping[str, Model],
        transport: Transport | None,
        examiner: AnswerChecker,
        judges: JudgeHealth | None = None,
    ) -> None:
        """`models`: all models, by id. `transport`: carries callbacks. `examiner`: runs the checks that need no call.

        `judges`: know which judges failed. None: only this grader knows it.
        """
        self._examiner = examiner
        self._judges = judges or JudgeHealth()
        self._call = call
        self._models = models
        self._transport = transport

    async def failures(
        self,
        checks: Checks,
        request: ChatRequest,
        model: Model,
        answer: Completion,
        attempts: list[Attempt],
        on_judge_error: JudgeError = "escalate",
    ) -> list[str]:
        """Return why an answer is not good enough. Empty: it is good enough. Calls to judges go to `attempts`.

        The last of `attempts` must be the call that gave the answer. If a judge gives no grade and the answer is
        accepted anyway, this attempt says so.
        """
        place = len(attempts) - 1
        if checks.min_logprob is not None and (mean := mean_logprob(answer)) is not None:
            _note_grade(attempts, place, "logprob", mean)
        try:
            found = await self._examiner.failures(checks, answer)
        except SchemaFaultError as error:  # no answer is to blame: it is held to the other checks
            attempts[place] = replace(attempts[place], ungraded=f"the checks' `json_schema` cannot be used: {error}")
            found = await self._examiner.failures(replace(checks, json=True, json_schema=None), answer)
        for name, ask in self._asking(checks, request, model, answer, attempts, place):
            if found:
                break
            try:
                found = await ask()
                self._judges.graded(name)
            except UngradedError as error:
                self._judges.failed(error)
                attempts[place] = replace(attempts[place], ungraded=str(error))
                found = [str(error)] if on_judge_error == "escalate" else []
        return found

    def _asking(
        self,
        checks: Checks,
        request: ChatRequest,
        model: Model,
        answer: Completion,
        attempts: list[Attempt],
        place: int,
    ) -> Iterator[tuple[str, Callable[[], Awaitable[list[str]]]]]:
        """Yield the checks that others make, cheapest first: a name for messages, and a function that runs it.

        `place`: of the call that gave the answer, among the attempts.
        """
        graded = partial(self._graded, request, answer, attempts, place)
        if checks.min_certainty is not None:
            own = Judge(model=model.id, rubric=CERTAINTY, threshold=checks.min_certainty)
            yield model.id, partial(graded, own, "certainty", "rates its own certainty")
        if checks.judge is not None:
            who = f"judge {checks.judge.model} gives"
            yield checks.judge.model, partial(graded, checks.judge, "judge", who)
        if checks.callback is not None:
            yield CALLBACK, partial(self._called_back, checks.callback, request, model, answer)

    async def _graded(
        self,
        request: ChatRequest,
        answer: Completion,
        attempts: list[Attempt],
        place: int,
        judge: Judge,
        check: str,
        who: str,
    ) -> list[str]:
        question = grading(judge.rubric, request, wording(answer))
        grade = await ask_judge(self._call, question, self._models[judge.model], grade_in, attempts)
        _note_grade(attempts, place, check, grade.score)
        if grade.score >= judge.threshold:
            return []
        why = f" ({grade.reason[:MAX_REASON_CHARS]})" if grade.reason else ""
        return [f"{who} {grade.score:g}, expected at least {judge.threshold:g}{why}"]

    async def _called_back(
        self, callback: Callback, request: ChatRequest, model: Model, answer: Completion
    ) -> list[str]:
        if self._transport is None:
            raise UngradedError(CALLBACK, "the callback cannot be called here")
        body = msgspec.json.encode({"prompt": ask_of(request), "answer": wording(answer), "model": model.id})
        headers = encode_headers({"content-type": "application/json", "user-agent": "semroute"})
        try:
            async with asyncio.timeout(callback.timeout_s):
                sent = self._transport.send(
                    "POST", callback.url, headers=headers, body=body, connect_s=callback.timeout_s
                )
                async with await sent as response:
                    said = await response.aread(MAX_VERDICT_BYTES)
                    if response.status != 200:
                        raise UngradedError(CALLBACK, f"the callback answered with status {response.status}")
            verdict = msgspec.json.decode(said, type=CallbackVerdict)
        except TimeoutError:
            why = f"the callback did not answer within {callback.timeout_s:g} s"
            raise UngradedError(CALLBACK, why) from None
        except ProviderError as error:
            raise UngradedError(CALLBACK, f"the callback failed: {error}") from None
        except UNREADABLE as error:
            why = f"the callback gave no verdict: got {why_unreadable(error, said)}"
            raise UngradedError(CALLBACK, why) from None
        why = f": {verdict.reason[:MAX_REASON_CHARS]}" if verdict.reason else ""
        return [] if verdict.passed else [f"the callback refuses it{why}"]


def _note_grade(attempts: list[Attempt], place: int, check: str, grade: float) -> None:
    if math.isfinite(grade):
        attempts[place] = replace(attempts[place], grades={**attempts[place].grades, check: grade})
