"""Who calls the service, and what a key may use."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from semroute.bases import Frozen

Scope = Literal["route", "complete", "passthrough", "read", "admin"]
"""`passthrough`: what is passed on to a provider as it is, for keys that have limits which cannot be held there."""


class Caller(Frozen, frozen=True, kw_only=True):
    """Who calls: what a key is good for. The defaults are those of a service without keys."""

    id: str = ""
    """Of the key; empty: no key was needed."""
    name: str = ""
    team: str = ""
    scopes: tuple[Scope, ...] = ("route", "complete", "read", "admin")
    routes: tuple[str, ...] = ()
    """Routes it may use; empty: all."""
    models: tuple[str, ...] = ()
    """Models it may use; empty: all."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    """Requests under way at once."""
    usd_per_day: Decimal | None = None
    usd_per_month: Decimal | None = None
    metadata: dict[str, Any] = {}
    """What rules can read; it goes before what the request says of itself."""

    @property
    def restricted(self) -> bool:
        """Whether it is good for some routes or models alone."""
        return bool(self.routes or self.models)

    @property
    def limited(self) -> bool:
        """Whether limits or budgets of its own apply to it."""
        return not (
            self.requests_per_minute is None
            and self.tokens_per_minute is None
            and self.concurrency is None
            and self.usd_per_day is None
            and self.usd_per_month is None
        )

    def may_take(self, route: str | None) -> bool:
        """Whether it is good for a route; None: for what no route takes, as all keys are."""
        return not self.routes or route is None or route in self.routes

    def may_use(self, model_id: str, group: str) -> bool:
        """Whether the key may use a model. A key for a model may use all deployments of it, its `group`."""
        return not self.models or model_id in self.models or group in self.models
