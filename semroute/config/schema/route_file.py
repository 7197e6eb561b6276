"""A route file: everything that may stand at its top."""

from __future__ import annotations

import datetime

from semroute.bases import RouteFileStruct
from semroute.config.schema.matching import Abstain, Classifier, EmbedderSettings, RouteOn, TierExemplars, Tuned
from semroute.config.schema.models import ModelEntry
from semroute.config.schema.policies import Policy
from semroute.config.schema.providers import ProviderEntry
from semroute.config.schema.routes import Default, Route
from semroute.config.schema.rules import Rule
from semroute.config.schema.service import Budget, Cors, LogSettings
from semroute.config.schema.values import Name


class RouteFile(RouteFileStruct, frozen=True, kw_only=True):
    """One `*.yaml` of the routes folder. Every key is optional: all files are merged."""

    embedder: EmbedderSettings | None = None
    """Which model turns text into vectors."""
    abstain: Abstain | None = None
    """When no route is taken."""
    route_on: RouteOn | None = None
    """What text is matched: `last_user`, the last user turn; `conversation`, all user turns. None: `last_user`."""
    tuned: Tuned | None = None
    """Thresholds that `semroute tune` found."""
    policy: Policy | None = None
    """For routes that have none of their own."""
    prices_as_of: datetime.date | None = None
    """When the prices were last checked."""
    providers: dict[str, ProviderEntry] = {}
    """Where models are served, by an id of your choice."""
    models: dict[str, ModelEntry] = {}
    """The models, by an id of your choice: what plans and callers name them by."""
    aliases: dict[str, str] = {}
    """Names of models that clients insist on, where `*` stands for any text: `auto`, `auto:<route>` or a model's id
    that each stands for. The id of a model always means that model."""
    default: Default | None = None
    """Where a request goes that no route matched with confidence."""
    baseline: str | None = None
    """The model that savings are measured against; None: the dearest of the default's."""
    budgets: tuple[Budget, ...] = ()
    """How much may be spent."""
    log: LogSettings | None = None
    """What the decision log keeps."""
    cors: Cors | None = None
    """Which web pages may use the service; None: its own alone."""
    routes: tuple[Route, ...] = ()
    """The intents."""
    rules: tuple[Rule, ...] = ()
    """Decided before any embedding: by priority, then in this order."""
    negatives: tuple[Name, ...] = ()
    """Prompts that belong to none of the routes of any file; they sharpen what is in scope."""
    tiers: tuple[TierExemplars, ...] = ()
    """What requests of each tier look like."""
    classifier: Classifier | None = None
    """A model as the router."""
