"""What route files say of trials beside requests: a judge that grades answers, and a shadow that asks another model."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from msgspec import Meta

from semroute.bases import RouteFileStruct
from semroute.config.schema.values import Fraction, Name
from semroute.decision import Tier

SHADOW = "shadow"
"""Stands for the answer of the shadow where a judge is told what to compare with."""
RUBRIC = "The answer is correct, does all that the request asks for, and says nothing beside the point."


class TrialScope(RouteFileStruct, frozen=True, kw_only=True):
    """Which requests count. All that are given must fit."""

    routes: tuple[str, ...] = ()
    """Requests of these routes. Empty: of all, and of the default."""
    tiers: tuple[Tier, ...] = ()
    """Requests that are planned for models of these tiers. Empty: for any."""


class JudgeSettings(RouteFileStruct, frozen=True, kw_only=True):
    """A model that grades a sample of the answers after they have gone out. No answer waits for it."""

    model: str
    """A model id. A model tends to prefer its own answers, so take one that serves none."""
    share: Fraction = 0.05
    """The share of the requests that are graded. Rare routes and tiers get more than their share. With
    `pairwise: shadow` it is the share of the shadow's answers that are compared."""
    rubric: Name = RUBRIC
    """What a good answer is, in words."""
    pairwise: str | None = None
    """Compare the answer with that of another model, both ways round: a model id, or `shadow` for the answer that the
    shadow got. Not set: the answer is graded alone, from 0 to 1."""
    budget_usd_per_day: Annotated[Decimal, Meta(description="USD")] = Decimal(1)
    """What the judge may spend in a day (UTC), with the calls to the model that it compares with."""
    only: TrialScope = TrialScope()
    """Which requests are graded."""


class CandidateFolder(RouteFileStruct, frozen=True, kw_only=True):
    """Another folder of route files."""

    routes: Name
    """The folder. A relative path starts at the folder of these route files."""


class ShadowSettings(RouteFileStruct, frozen=True, kw_only=True):
    """What another model would have answered, or what another folder of route files would have decided.

    A sample of the requests is put to the other model after its answer has gone out. Only the model is called: no tool
    is run, and nobody sees its answer.
    """

    to: str | CandidateFolder
    """A model id, or `{routes: FOLDER}`. The route files of that folder decide the request anew. If they choose another
    model, it is asked."""
    share: Fraction = 0.05
    """The share of the requests. Rare routes and tiers get more than their share."""
    budget_usd_per_day: Annotated[Decimal, Meta(description="USD")] = Decimal(1)
    """What the shadow may spend in a day (UTC)."""
    only: TrialScope = TrialScope()
    """Which requests are put to the other model."""
