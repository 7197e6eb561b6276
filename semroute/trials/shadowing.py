"""The shadow: another model gets a sample of the requests after they were answered, or another folder decides them.

Only the model is called. It gets the tools as they are declared, but nobody runs them, and nobody sees its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from semroute.config.config import Config
from semroute.config.schema.trial_settings import ShadowSettings
from semroute.decision import Decision, Signals
from semroute.errors import SemrouteError
from semroute.gateway.trial_queue import Served
from semroute.messages import ChatRequest, Completion
from semroute.record import Attempt, Trial, TrialPurpose
from semroute.trials.answers import likeness, whole
from semroute.trials.candidate_folder import CandidateRouter
from semroute.trials.judging import Judge
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
from semroute.trials.trial_models import TrialModels, expected_usd
from semroute.trials.trial_runner import TrialMeans, trial_of


class Shadow:
    """Puts requests to another model, or to another folder."""

    purpose: TrialPurpose = "shadow"

    def __init__(self, models: TrialModels, candidate_models: TrialModels, judge: Judge) -> None:
        """`candidate_models`: call the models of a candidate folder, which may differ under the same id.

        `judge`: compares the answers, if the route files want that.
        """
        self._models, self._candidate_models = models, candidate_models
        self._judge = judge
        self._candidate = CandidateRouter()
        self._strata: Strata[tuple[str | None, str]] = Strata()

    def wanted(self, config: Config) -> bool:
        """Return whether the route files have a shadow."""
        shadow = config.shadow
        return shadow is not None and shadow.share > 0 and shadow.budget_usd_per_day > 0

    def chance(self, request: ChatRequest, decision: Decision, config: Config) -> float:
        """Return the probability with which a request should be drawn."""
        shadow = _settings(config)
        if decision.model == shadow.to or not in_scope(shadow.only, decision, config) or not can_mirror(request):
            return 0.0
        return self._strata.chance(stratum(decision, config), shadow.share)

    async def run(self, served: Served, means: TrialMeans) -> Sequence[Trial]:
        """Put a request to the other model or folder."""
        config = served.serving.router.config
        shadow = _settings(config)
        if isinstance(shadow.to, str):
            return await self._asked(served, means, self._models, config, shadow.to, {})
        folder = Path(config.folder, shadow.to.routes)
        candidate = await self._candidate.get(folder, served.serving.router)
        if candidate is None:
            means.drop("shadow", "candidate folder")
            return ()
        config, then = candidate.config, served.record.decision
        try:
            now = await asyncio.to_thread(candidate.route, replace(served.request, explain=False), _away(config))
        except SemrouteError as error:
            told = f"the candidate folder cannot decide it: {error}"
            failed = {"candidate": config.version, "failed": "undecided"}
            return (trial_of(served, "shadow", means.clock(), (), error=told, detail=failed),)
        detail = {
            "candidate": config.version,
            "candidate_route": now.route or "",
            "candidate_model": now.model or "",
            "route_changed": now.route != then.route,
            "model_changed": now.model != then.model,
        }
        if now.model is None or now.model == then.model:
            return (trial_of(served, "shadow", means.clock(), (), model=now.model or "", detail=detail),)
        return await self._asked(served, means, self._candidate_models, config, now.model, detail)

    async def _asked(
        self,
        served: Served,
        means: TrialMeans,
        models: TrialModels,
        config: Config,
        model_id: str,
        detail: dict[str, Any],
    ) -> Sequence[Trial]:
        """Ask a model of a configuration, and compare its answer with the one that was served."""
        model, request = config.models[model_id], mirrored(served.request)
        if (reason := unfit_to_answer(served, model)) is not None:
            means.drop("shadow", reason)
            return ()
        answer, got = whole(served.answer, served.finish_reason), list[Completion]()

        async def find(attempts: list[Attempt]) -> dict[str, Any]:
            tried = await answer_of(models.caller(served.serving, config, ANSWER_S), request, model, attempts)
            got.append(tried)
            return {"method": "agreement", "detail": likeness(answer, tried)}

        shadow = _settings(served.serving.router.config)
        expected = expected_usd(model, request, expected_tokens(served))
        trials = await make_trial(
            served, means, "shadow", shadow.budget_usd_per_day, expected, find, model=model.id, detail=detail
        )
        for tried in got:
            trials = (*trials, *await self._judge.compare(served, means, answer, tried, model.id))
        return trials


def _away(config: Config) -> Signals:
    """Return which models of a configuration cannot be called."""
    unavailable = {model.id: config.providers[model.provider].unavailable for model in config.models.values()}
    return Signals(unavailable={id_: why for id_, why in unavailable.items() if why})


def _settings(config: Config) -> ShadowSettings:
    assert config.shadow is not None, "a request is only drawn if there is a shadow"
    return config.shadow
