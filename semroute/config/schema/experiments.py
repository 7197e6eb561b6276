"""What route files say of experiments: two or more ways to serve requests, each for a part of the users."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Annotated

from msgspec import Meta

from semroute.bases import RouteFileStruct
from semroute.config.schema.policies import Policy
from semroute.config.schema.values import Fraction, Name


class Overlay(RouteFileStruct, frozen=True, kw_only=True):
    """What differs from the route files as they are."""

    policy: Policy | None = None
    """Keys that replace those of every policy: the global one, and those of routes and of the default. Keys that are
    not written stay as they are. A section such as `difficulty` is replaced as a whole."""
    models: dict[str, tuple[str, ...]] | tuple[str, ...] | None = None
    """Model ids: a list for all routes and the default, or a mapping from routes to lists. In a mapping, `default` is
    the default, unless a route has that name."""
    thresholds: dict[str, Fraction] = {}
    """By route, the confidence that it needs. They override all other thresholds."""


class Arm(Overlay, frozen=True, kw_only=True):
    """One of the ways to serve requests. An arm without an overlay and without a folder is the route files as they
    are.
    """

    weight: Annotated[float, Meta(ge=0)] = 1.0
    """Its share of the users is its weight, divided by the sum of all weights."""
    folder: str | None = None
    """A folder with other route files, seen from this folder, instead of an overlay. Its budgets, log settings, origins
    and experiments do not count."""


class ExperimentScope(RouteFileStruct, frozen=True, kw_only=True):
    """Which requests take part. A request must meet each condition that is given."""

    keys: tuple[Name, ...] = ()
    """Ids or names of access keys. Empty: any."""
    teams: tuple[Name, ...] = ()
    """Teams of access keys. Empty: any."""
    features: tuple[Name, ...] = ()
    """Values of the request's `metadata.feature`. Empty: any."""


class Guards(RouteFileStruct, frozen=True, kw_only=True):
    """How much worse than the control arm another arm may be. If one surely is, the experiment ends, and all requests
    go to the control arm.
    """

    error_rate: str | None = None
    """In percentage points, such as `+1%`: with 2% errors in the control arm, up to 3% are allowed."""
    p95_ms: str | None = None
    """As a part of the control arm's 95th percentile of latency, such as `+20%`."""
    cost_usd: str | None = None
    """As a part of the control arm's cost of a request, such as `+10%`."""
    quality: str | None = None
    """In percentage points of the mean score from feedback, such as `-2%`."""


class Experiment(RouteFileStruct, frozen=True, kw_only=True):
    """Serve a part of the users in another way, and compare. Each user stays in one arm.

    A user is told by the request's user, else by its conversation, else by its key. A request of which none of these is
    known counts as a user of its own.
    """

    arms: dict[str, Arm]
    """The arms, by a name of your choice: two or more."""
    control: str = ""
    """The arm that the others are compared with. Not set: the first."""
    start: datetime.date | None = None
    """The first day, in UTC. Not set: the experiment starts when a service first sees it."""
    end: datetime.date | None = None
    """The last day, in UTC. Not set: it runs until it is stopped or a guard ends it."""
    least_days: Annotated[int, Meta(ge=0)] = 7
    """Nothing is concluded before it has run for so many days. Guards do not wait for that."""
    least_samples: Annotated[int, Meta(ge=1)] = 1000
    """Nothing is concluded before each arm has had so many requests."""
    only: ExperimentScope = ExperimentScope()
    """Which requests take part. Not set: all."""
    guards: Guards = Guards()
    """When the experiment ends by itself."""
    budget_usd_per_day: Annotated[Decimal, Meta(description="USD")] | None = None
    """What the arms other than control may cost together in a day (UTC). When it is spent, the experiment pauses until
    the next day, and all requests go to the control arm."""

    @property
    def control_arm(self) -> str:
        """Return the arm that the others are compared with."""
        return self.control or next(iter(self.arms))


class Adopted(Overlay, frozen=True, kw_only=True):
    """The arm of an experiment that was adopted. `semroute experiment stop NAME --adopt ARM` writes it, in a file of
    its own.
    """

    experiment: str = ""
    """The experiment. It is over, even if the route files still define it."""
    arm: str = ""
    """The arm."""
