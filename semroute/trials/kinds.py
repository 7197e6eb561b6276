"""The kinds of trial that the service makes."""

from __future__ import annotations

from semroute.providers.transport import Transport
from semroute.trials.judging import Judge
from semroute.trials.shadowing import Shadow
from semroute.trials.trial_models import TrialModels
from semroute.trials.trial_runner import TrialKind


def trial_kinds(transport: Transport, *, echo: bool = False) -> tuple[TrialKind, ...]:
    """Return every kind of trial.

    `transport`: carries their calls, and no others. `echo`: whether the offline provider stands in for all models.
    """
    models = TrialModels(transport, echo=echo)
    judge = Judge(models)
    return (judge, Shadow(models, TrialModels(transport, echo=echo), judge))
