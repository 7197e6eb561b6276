"""What route files say of the service itself: budgets, the decision log and pages of other sites."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta

from semroute.bases import RouteFileStruct
from semroute.config.schema.values import Fraction


class Budget(RouteFileStruct, frozen=True, kw_only=True):
    """An amount that a key, a team, a route or a model may spend. With none of these, the budget is for everything."""

    name: Annotated[str, Meta(min_length=1)]
    """Unique over all files."""
    usd: Decimal
    """The hard limit of each period."""
    per: Literal["day", "month"] = "month"
    """The period, in UTC."""
    soft: Fraction = 0.8
    """From this share of the limit on, the choice of models leans to cheap ones."""
    key: str | None = None
    """An access key's id or name."""
    team: str | None = None
    """A team, as access keys name it."""
    route: str | None = None
    """A route."""
    model: str | None = None
    """A model's id."""


class LogSettings(RouteFileStruct, frozen=True, kw_only=True):
    """What the decision log keeps. `SEMROUTE_DATABASE_URL` says where."""

    content: Literal["none", "hash", "redacted", "full"] = "none"
    """What is kept of prompts and answers. `none`: nothing. `hash`: their SHA-256. `redacted`: the text without
    keys, e-mail addresses, card numbers and the like. `full`: the text."""
    embedding: bool = True
    """Keep the embedding of the matched text. Exports hold it, so prompts can be compared without their text."""
    features: bool = False
    """Keep all that a decision is made from except the text, so that `semroute replay` decides exactly the same. It
    holds the ask's word pieces, which can be turned back into its words, and the metadata and headers that rules read:
    protect it like the text."""
    keep_days: Annotated[int, Meta(ge=1)] | None = None
    """Delete records that are older. Not set: keep them. Statistics stay."""
    keep_mb: Annotated[int, Meta(ge=1)] | None = None
    """Delete the oldest records when the log is larger than this. Not set: never."""
    retry_minutes: Annotated[float, Meta(gt=0, le=60)] | None = None
    """Count requests after which the same user asked nearly the same again within so many minutes. It is weak evidence
    of a bad answer, and is shown on its own. It needs embeddings. Not set: nothing is counted."""
    queue: Annotated[int, Meta(ge=1)] = 10_000
    """How many records may wait to be written."""
    when_full: Literal["drop", "slow"] = "drop"
    """What happens when the queue is full. `drop`: records are dropped and counted. `slow`: requests wait."""


class Cors(RouteFileStruct, frozen=True, kw_only=True):
    """Which web pages may use the service from a browser, besides its own."""

    origins: Annotated[tuple[str, ...], Meta(min_length=1)]
    """The origins of such pages, such as `https://app.example.com`; `*` means all."""

    def allows(self, origin: str) -> bool:
        """Return whether pages of an origin may use the service."""
        return origin in self.origins or "*" in self.origins
