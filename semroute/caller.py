"""Who calls the service, and what a key may use."""

from __future__ import annotations

from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

from semroute.bases import Frozen

Scope = Literal["route", "complete", "passthrough", "read", "admin"]
"""What a key may do. `passthrough`: requests that go to a provider unchanged, where the limits of a key cannot be
enforced."""


class Caller(Frozen, frozen=True, kw_only=True, dict=True):
    """Who calls, and what the key allows. The defaults are those of a service without keys."""

    id: str = ""
    """The id of the key. Empty: no key was needed."""
    name: str = ""
    team: str = ""
    scopes: tuple[Scope, ...] = ("route", "complete", "read", "admin")
    routes: tuple[str, ...] = ()
    """Routes that the key may use. Empty: all."""
    models: tuple[str, ...] = ()
    """Models that the key may use. Empty: all."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    """How many requests may run at once. None: no limit."""
    usd_per_day: Decimal | None = None
    usd_per_month: Decimal | None = None
    metadata: dict[str, Any] = {}
    """Metadata that rules can read. It overrides the request's own metadata."""

    @property
    def restricted(self) -> bool:
        """Return whether the key allows only some routes or models."""
        return bool(self.routes or self.models)

    @property
    def limited(self) -> bool:
        """Return whether the key has limits or budgets of its own."""
        return not (
            self.requests_per_minute is None
            and self.tokens_per_minute is None
            and self.concurrency is None
            and self.usd_per_day is None
            and self.usd_per_month is None
        )

    @cached_property
    def bounded(self) -> bool:
        """Return whether the key has limits or budgets of its own, or allows only some routes or models."""
        return self.restricted or self.limited

    def may_take(self, route: str | None) -> bool:
        """Return whether the key may use a route. None stands for requests that no route takes: all keys allow
        these.
        """
        return not self.routes or route is None or route in self.routes

    def may_use(self, model_id: str, group: str) -> bool:
        """Return whether the key may use a model. A key for a model may use all deployments of it, its `group`."""
        return not self.models or model_id in self.models or group in self.models
