"""What is in service: a router and the providers of its models."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping

import msgspec

from semroute.bases import Frozen
from semroute.config.config import Config
from semroute.config.overlays import arm_config
from semroute.config.schema.experiments import Experiment
from semroute.execution.classifier import RouteClassifier
from semroute.execution.deployments import Deployments
from semroute.providers.echo import EchoProvider
from semroute.providers.provider import Provider, open_providers
from semroute.providers.transport import Transport
from semroute.router import Router


class ArmServings(Frozen, frozen=True, kw_only=True):
    """The arms of one experiment."""

    name: str
    experiment: Experiment
    control: str
    weights: dict[str, float]
    arms: dict[str, Serving]


class Serving(Frozen, frozen=True, kw_only=True):
    """All that requests need. A reload replaces it as a whole. A request keeps the one with which it began."""

    router: Router
    providers: Mapping[str, Provider]
    """The provider of each model, by model id. Models that cannot be called are absent."""
    unavailable: dict[str, str]
    """Why each of the other models cannot be called, by model id."""
    deployments: Deployments
    """What the calls so far have shown about each model. A reload keeps it."""
    transport: Transport | None = None
    """Carries the callbacks of checks. None: there are no callbacks."""
    classifier: RouteClassifier | None = None
    experiments: tuple[ArmServings, ...] = ()
    """The experiments of the route files. Their arms have none."""
    priced_on: datetime.date | None = None
    """The day (UTC) whose prices the router has. None: the router has just been loaded."""

    @classmethod
    def open(
        cls, router: Router, transport: Transport, *, echo: bool = False, deployments: Deployments | None = None
    ) -> Serving:
        """Connect a router's models to their providers.

        `echo`: whether the offline provider stands in for all of them. `deployments`: the ones of the `Serving` that
        this one replaces.
        """
        known = deployments or Deployments()
        configs = [*router.config.candidates.values(), router.config]  # of two entries with one id, its own counts
        models = {model.id: model for config in configs for model in config.models.values()}
        providers = {each.id: each.limits for config in configs for each in config.providers.values()}
        known.keep(models.values(), providers)
        serving = cls._of(router, transport, echo, known)
        candidates = {name: cls._of(other, transport, echo, known) for name, other in router.candidates.items()}
        return msgspec.structs.replace(serving, experiments=tuple(_experiments(serving, candidates)))

    @classmethod
    def _of(cls, router: Router, transport: Transport, echo: bool, known: Deployments) -> Serving:
        models = router.config.models
        if echo:
            providers: dict[str, Provider] = dict.fromkeys(models, EchoProvider())
            return cls(router=router, providers=providers, unavailable={}, deployments=known, transport=transport)
        opened = open_providers(router.config, transport, known.learn)
        unavailable = {
            model.id: reason
            for model in models.values()
            if (reason := router.config.providers[model.provider].unavailable)
        }
        providers = {model.id: opened[model.provider] for model in models.values() if model.id not in unavailable}
        return cls(
            router=router,
            providers=providers,
            unavailable=unavailable,
            deployments=known,
            transport=transport,
            classifier=_classifier(router.config),
        )


class InService:
    """The only reference to what is in service. A reload replaces it. A request reads it once."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving

    def config(self) -> Config:
        """Return the configuration that is in service now."""
        return self.serving.router.config

    def price_on(self, day: datetime.date) -> Serving:
        """Put the prices of a day into service."""
        serving = self.serving
        experiments = tuple(
            msgspec.structs.replace(each, arms={name: _priced(arm, day) for name, arm in each.arms.items()})
            for each in serving.experiments
        )
        self.serving = msgspec.structs.replace(_priced(serving, day), experiments=experiments)
        return self.serving


def _priced(serving: Serving, day: datetime.date) -> Serving:
    return msgspec.structs.replace(serving, router=serving.router.on(day), priced_on=day)


def _experiments(serving: Serving, candidates: Mapping[str, Serving]) -> Iterator[ArmServings]:
    """Yield the experiments with a `Serving` for each arm. Arms share all that their overlay does not change."""
    config = serving.router.config
    over = config.adopted.experiment if config.adopted is not None else ""
    for name, experiment in config.experiments.items():
        if name == over:
            continue
        arms = {}
        for arm, written in experiment.arms.items():
            base = serving if written.folder is None else candidates[written.folder]
            router = base.router.configured(arm_config(config, name, arm))
            arms[arm] = msgspec.structs.replace(base, router=router)
        yield ArmServings(
            name=name,
            experiment=experiment,
            control=experiment.control_arm,
            weights={arm: written.weight for arm, written in experiment.arms.items()},
            arms=arms,
        )


def _classifier(config: Config) -> RouteClassifier | None:
    if config.classifier is None:
        return None
    return RouteClassifier(config.classifier, config.routes)
