"""What is in service: a router and the providers of its models."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

import msgspec

from semroute.bases import Frozen
from semroute.config.config import Config
from semroute.execution.classifier import RouteClassifier
from semroute.execution.deployments import Deployments
from semroute.providers.echo import EchoProvider
from semroute.providers.provider import Provider, open_providers
from semroute.providers.transport import Transport
from semroute.router import Router


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
        models = router.config.models
        known = deployments or Deployments()
        known.keep(models.values(), {each.id: each.limits for each in router.config.providers.values()})
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
        self.serving = msgspec.structs.replace(self.serving, router=self.serving.router.on(day), priced_on=day)
        return self.serving


def _classifier(config: Config) -> RouteClassifier | None:
    if config.classifier is None:
        return None
    return RouteClassifier(config.classifier, config.routes)
