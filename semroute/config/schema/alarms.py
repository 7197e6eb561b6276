"""What route files say of alarms for drift and quality."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import Meta

from semroute.bases import RouteFileStruct
from semroute.config.schema.values import Name

AlarmName = Literal["prompts", "in_scope", "quality"]


class AlarmWebhook(RouteFileStruct, frozen=True, kw_only=True):
    """Your endpoint that is told when an alarm is raised, and when it is over. It never gets a prompt or an answer."""

    url: Name
    """Its address. Redirects are not followed."""
    secret: Name | None = None
    """Signs each message, as Standard Webhooks says: `whsec_` and a key in base64, or any text. Not set: messages have
    no signature."""


class AlarmSettings(RouteFileStruct, frozen=True, kw_only=True):
    """Which alarms the service watches for. It reads them from the decision log, in the background."""

    watch: Annotated[tuple[AlarmName, ...], Meta(min_length=1)] = get_args(AlarmName)
    """What may raise an alarm. `prompts`: people ask other things than before. `in_scope`: the routes know the prompts
    less well. `quality`: scores from feedback or a judge fell."""
    reference_requests: Annotated[int, Meta(ge=2000, le=20_000)] = 5000
    """How many requests `prompts` and `in_scope` are measured against: the last ones before the alarms were switched
    on. If there are fewer, those that follow."""
    reference_scores: Annotated[int, Meta(ge=50, le=100_000)] = 300
    """How many scores of a tier `quality` is measured against, from each source."""
    quality_drop: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    """How far the mean of the scores of a tier may fall without an alarm."""
    webhook: AlarmWebhook | None = None
    """Whom to tell. Not set: alarms only show in the log, `/health/ready`, `/alarms` and `/metrics`."""
