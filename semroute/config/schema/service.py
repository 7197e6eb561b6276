"""What route files say of the service itself: budgets, the decision log and pages of other sites."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta

from semroute.bases import RouteFileStruct
from semroute.config.schema.values import Fraction


class Budget(RouteFileStruct, frozen=True, kw_only=True):
    """How much may be spent, by whom or on what; without `key`, `team`, `route` and `model`: in all."""

    name: Annotated[str, Meta(min_length=1)]
    """Unique over all files."""
    usd: Decimal
    """The hard limit of each period."""
    per: Literal["day", "month"] = "month"
    """UTC."""
    soft: Fraction = 0.8
    """From this share of the limit on, the choice of models slides toward cheap."""
    key: str | None = None
    """An access key's id or name."""
    team: str | None = None
    """A team, as access keys name it."""
    route: str | None = None
    """A route."""
    model: str | None = None
    """A model's id."""


class LogSettings(RouteFileStruct, frozen=True, kw_only=True):
    """What the decision log keeps. Where it is kept says SEMROUTE_DATABASE_URL."""

    content: Literal["none", "hash", "redacted", "full"] = "none"
    """Of prompts and answers: nothing, their SHA-256, the text without keys, e-mails, cards and the like, or all."""
    embedding: bool = True
    """Keep the embedding of the matched text, so that decisions can be replayed without it."""
    keep_days: Annotated[int, Meta(ge=1)] | None = None
    """Older records are deleted; None: none are. Statistics stay."""
    keep_mb: Annotated[int, Meta(ge=1)] | None = None
    """The oldest records are deleted when the log is larger; None: never."""
    queue: Annotated[int, Meta(ge=1)] = 10_000
    """Records that may wait to be written."""
    when_full: Literal["drop", "slow"] = "drop"
    """A full queue: drop records and count them, or let requests wait."""


class Cors(RouteFileStruct, frozen=True, kw_only=True):
    """Which web pages may use the service from a browser, besides its own."""

    origins: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Where such pages come from, such as `https://app.example.com`; `*`: from anywhere."""

    def allows(self, origin: str) -> bool:
        """Whether pages of an origin may use the service."""
        return origin in self.origins or "*" in self.origins
