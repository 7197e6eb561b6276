"""What requests are served with."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

import msgspec

from semroute.bases import Frozen
from semroute.config.config import Config
from semroute.execution.classifier import RouteClassifier
from semroute.execution.deployments import Deployments
from semroute.providers.echo import EchoProvider
from semroute.providers.http_provider import open_providers
from semroute.providers.provider import Provider
from semroute.providers.transport import Transport
from semroute.router import Router


class Serving(Frozen, frozen=True, kw_only=True):
    """What requests are served with. A reload replaces it whole; a request keeps the one it began with."""

    router: Router
    providers: Mapping[str, Provider]
    """By model id; those that cannot be called are absent."""
    unavailable: dict[str, str]
    """Models that cannot be called, and why."""
    deployments: Deployments
    """What the calls so far have shown of each model. Not replaced by a reload."""
    transport: Transport | None = None
    """For callbacks of checks."""
    classifier: RouteClassifier | None = None
    priced_on: datetime.date | None = None
    """The day, UTC, whose prices the router has; None: it has just been loaded."""

    @classmethod
    def open(
        cls, router: Router, transport: Transport, *, echo: bool = False, deployments: Deployments | None = None
    ) -> Serving:
        """Connect a router's models to their providers; with `echo`, to the offline one.

        `deployments`: those of the `Serving` that this one replaces.
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
    """The one reference to what is in service. A reload swaps it; a request takes it once."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving

    def config(self) -> Config:
        """The configuration that is in service now."""
        return self.serving.router.config

    def on(self, day: datetime.date) -> Serving:
        """What is in service, at the prices of a day."""
        if self.serving.priced_on != day:
            self.serving = msgspec.structs.replace(self.serving, router=self.serving.router.on(day), priced_on=day)
        return self.serving


def _classifier(config: Config) -> RouteClassifier | None:
    if config.classifier is None:
        return None
    return RouteClassifier(config.classifier, config.routes)
