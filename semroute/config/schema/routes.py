"""What route files say of routes, and of requests that no route takes."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from semroute.bases import RouteFileStruct
from semroute.config.schema.policies import Policy
from semroute.config.schema.values import Fraction, Name

MAX_ROUTE_NAME = 128
"""Characters."""


class JsonContract(RouteFileStruct, frozen=True, kw_only=True):
    """Every answer is JSON that fits a schema. A model without the feature `json` is asked for JSON in words.

    An answer that does not fit is not sent, and the next model is asked. A stream is held back until it is whole.
    """

    json_schema: dict[str, Any] | None = None
    """The JSON Schema of the answer. Not set: any JSON."""


class CannedAnswer(RouteFileStruct, frozen=True, kw_only=True):
    """A text that answers every request of a route. No model is called."""

    text: Name
    """The answer. `{date}` is today's date in UTC, `{user}` the request's user, and `{metadata.NAME}` a field of its
    metadata."""
    threshold: Fraction | None = None
    """The confidence that a match needs for this answer. With less, the route's models answer. Not set: the route's
    threshold."""


class Route(RouteFileStruct, frozen=True, kw_only=True):
    """An intent: what it looks like, and which models serve it."""

    name: Annotated[str, Meta(min_length=1, max_length=MAX_ROUTE_NAME)]
    """Unique over all files."""
    utterances: Annotated[tuple[Name, ...], Meta(min_length=1)]
    """Example prompts. The more varied, the better the match."""
    models: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Model ids, tried in this order unless the policy says otherwise."""
    description: str = ""
    """One sentence that says what the route is about. If the route has at most 30 utterances, it counts as one, too."""
    threshold: Fraction | None = None
    """The confidence that this route needs. Not set: as `abstain` says."""
    policy: Policy | None = None
    """The policy. Not set: the global one."""
    answer: str | CannedAnswer | None = None
    """A text that answers without a model. Requests that need more than a text, such as JSON, a tool call or several
    answers, go to the models. So do those that end with something else than a text of the user. Not set: the models
    answer."""
    output: JsonContract | None = None
    """What every answer of this route must be. Not set: what the caller asks for."""


class MoreUtterances(RouteFileStruct, frozen=True, kw_only=True):
    """Further utterances of a route that may stand in another file, such as those that `semroute suggest` prints."""

    route: str
    """The name of the route."""
    utterances: Annotated[tuple[Name, ...], Meta(min_length=1)]
    """Example prompts. They count like the route's own, and come after them."""


class Default(RouteFileStruct, frozen=True, kw_only=True):
    """Where a request goes when no route matches with confidence. Strong models serve best here."""

    models: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Model ids, tried in this order."""
    policy: Policy | None = None
    """The policy. Not set: the global one."""
