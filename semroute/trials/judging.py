"""The judge: a model that grades a sample of the answers after they have gone out.

It grades an answer alone, or compares it with another one. It does not know which model gave which answer, and it sees
a pair in both orders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from semroute.config.config import Config
from semroute.config.schema.models import Model
from semroute.config.schema.trial_settings import SHADOW, JudgeSettings
from semroute.decision import Decision
from semroute.execution.answer_quality import wording
from semroute.execution.grading import MAX_REASON_CHARS, Reply, ask_judge
from semroute.execution.judge_health import JudgeHealth, UngradedError
from semroute.execution.judge_prompts import MAX_REPLY_TOKENS, ask_of, comparing, grade_in, grading, preference_in
from semroute.gateway.trial_queue import Served
from semroute.messages import ChatRequest, Completion
from semroute.record import Attempt, Trial, TrialPurpose
from semroute.trials.answers import same, whole
from semroute.trials.mirroring import can_mirror, mirrored
from semroute.trials.one_trial import (
    ANSWER_S,
    answer_of,
    expected_tokens,
    in_scope,
    make_trial,
    stratum,
    unfit_to_answer,
)
from semroute.trials.strata import Strata
from semroute.trials.trial_models import TrialModels, barred, expected_usd
from semroute.trials.trial_runner import TrialMeans
from semroute.trials.verdicts import SCORES, Verdict, flipped, verdict

JUDGE_S = 30.0
"""The longest time for one judgement."""


class Judge:
    """Grades answers."""

    purpose: TrialPurpose = "judge"

    def __init__(self, models: TrialModels) -> None:
        self._models = models
        self._strata: Strata[tuple[str | None, str]] = Strata()
        self._health = JudgeHealth("answers stay without a grade")

    def wanted(self, config: Config) -> bool:
        """Return whether there is a judge that draws requests itself. A judge of the shadow's answers draws none."""
        judge = config.judge
        return judge is not None and judge.pairwise != SHADOW and judge.share > 0 and judge.budget_usd_per_day > 0

    def chance(self, request: ChatRequest, decision: Decision, config: Config) -> float:
        """Return the probability with which a request should be drawn."""
        judge = _settings(config)
        if not in_scope(judge.only, decision, config):
            return 0.0
        if judge.pairwise is not None and (decision.model == judge.pairwise or not can_mirror(request)):
            return 0.0
        return self._strata.chance(stratum(decision, config), judge.share)

    async def run(self, served: Served, means: TrialMeans) -> Sequence[Trial]:
        """Grade the answer of a request, or compare it with that of another model."""
        config = served.serving.router.config
        judge, answer = _settings(config), whole(served.answer, served.finish_reason)
        if judge.pairwise is not None:
            return await self._run_pair(served, means, answer, config.models[judge.pairwise])
        if (reason := _unfit(served, judge, config)) is not None:
            means.drop("judge", reason)
            return ()

        async def find(attempts: list[Attempt]) -> dict[str, Any]:
            question = grading(judge.rubric, served.request, wording(answer))
            grade = await self._asked(served, question, grade_in, attempts)
            return {"served_score": grade.score, "detail": _reason(served, grade.reason)}

        question = grading(judge.rubric, served.request, wording(answer))
        expected = expected_usd(config.models[judge.model], question, MAX_REPLY_TOKENS)
        return await make_trial(
            served, means, "judge", judge.budget_usd_per_day, expected, find, judge=judge.model, method="rubric"
        )

    async def _run_pair(self, served: Served, means: TrialMeans, answer: Completion, other: Model) -> Sequence[Trial]:
        """Ask another model, and compare its answer with the one that was served."""
        config = served.serving.router.config
        judge, request = _settings(config), mirrored(served.request)
        if (reason := _unfit(served, judge, config) or unfit_to_answer(served, other)) is not None:
            means.drop("judge", reason)
            return ()

        async def find(attempts: list[Attempt]) -> dict[str, Any]:
            call = self._models.caller(served.serving, config, ANSWER_S)
            tried = await answer_of(call, request, other, attempts)
            return await self._compared(served, answer, tried, attempts)

        expected = expected_usd(other, request, expected_tokens(served)) + _pair_usd(served, judge, answer, answer)
        named = {"judge": judge.model, "method": "pairwise", "model": other.id}
        return await make_trial(served, means, "judge", judge.budget_usd_per_day, expected, find, **named)

    async def compare(
        self, served: Served, means: TrialMeans, answer: Completion, tried: Completion, model: str
    ) -> Sequence[Trial]:
        """Compare an answer with the one that the shadow got from `model`, if the route files want that."""
        config = served.serving.router.config
        judge = config.judge
        if judge is None or judge.pairwise != SHADOW or not in_scope(judge.only, served.record.decision, config):
            return ()
        if means.rng.random() >= judge.share:
            return ()
        if (reason := _unfit(served, judge, config)) is not None:
            means.drop("judge", reason)
            return ()

        async def find(attempts: list[Attempt]) -> dict[str, Any]:
            return await self._compared(served, answer, tried, attempts)

        expected = _pair_usd(served, judge, answer, tried)
        named: dict[str, Any] = {"judge": judge.model, "method": "pairwise", "model": model}
        named["propensity"] = served.draws["shadow"] * judge.share
        return await make_trial(served, means, "judge", judge.budget_usd_per_day, expected, find, **named)

    async def _compared(
        self, served: Served, answer: Completion, tried: Completion, attempts: list[Attempt]
    ) -> dict[str, Any]:
        """Judge two answers in both orders. Equal answers are a tie, and nobody is asked."""
        if same(answer, tried):
            return _scored("tie", {"same_text": True})
        rubric, ask = _settings(served.serving.router.config).rubric, served.request
        texts = wording(answer), wording(tried)
        one = await self._asked(served, comparing(rubric, ask, *texts), preference_in, attempts)
        other = await self._asked(served, comparing(rubric, ask, *texts[::-1]), preference_in, attempts)
        detail = {"same_text": False, "flipped": flipped(one.better, other.better), **_reason(served, one.reason)}
        return _scored(verdict(one.better, other.better), detail)

    async def _asked(
        self, served: Served, question: ChatRequest, read: Callable[[str], Reply], attempts: list[Attempt]
    ) -> Reply:
        """Ask the judge one question. Raises `UngradedError` and `NotMadeError`."""
        config = served.serving.router.config
        judge, call = _settings(config), self._models.caller(served.serving, config, JUDGE_S)
        try:
            found = await ask_judge(call, question, config.models[judge.model], read, attempts)
        except UngradedError as error:
            self._health.failed(error)
            raise
        self._health.graded(judge.model)
        return found


def _settings(config: Config) -> JudgeSettings:
    assert config.judge is not None, "a request is only drawn if there is a judge"
    return config.judge


def _unfit(served: Served, judge: JudgeSettings, config: Config) -> str | None:
    """Return why the judge cannot judge the answer to a request. None: it can."""
    if not ask_of(served.request):
        return "no text"
    return "barred" if barred(served, config.models[judge.model]) else None


def _pair_usd(served: Served, judge: JudgeSettings, answer: Completion, tried: Completion) -> Decimal:
    """Return what it costs to compare two answers in both orders."""
    question = comparing(judge.rubric, served.request, wording(answer), wording(tried))
    return 2 * expected_usd(served.serving.router.config.models[judge.model], question, MAX_REPLY_TOKENS)


def _scored(found: Verdict, detail: dict[str, Any]) -> dict[str, Any]:
    served_score, score = SCORES[found]
    return {"verdict": found, "served_score": served_score, "score": score, "detail": detail}


def _reason(served: Served, reason: str) -> dict[str, str]:
    """Return the judge's reason, if the log may hold texts: it quotes the answer."""
    keeps = served.serving.router.config.log.content == "full"
    return {"reason": reason[:MAX_REASON_CHARS]} if keeps and reason else {}
