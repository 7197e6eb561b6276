"""All route files together: as a draft, and once they are checked."""

from __future__ import annotations

import datetime

import msgspec

from semroute.bases import Frozen
from semroute.config.schema.matching import Abstain, Classifier, EmbedderSettings, RouteOn, Tuned
from semroute.config.schema.models import Model
from semroute.config.schema.policies import Policy
from semroute.config.schema.providers import ProviderSettings
from semroute.config.schema.route_file import RouteFile
from semroute.config.schema.routes import Default, Route
from semroute.config.schema.rules import Rule
from semroute.config.schema.service import Budget, Cors, LogSettings
from semroute.decision import Tier


class WrittenAt(Frozen, frozen=True, kw_only=True):
    """Where something was written."""

    file: str
    line: int
    path: str = "$"
    """Where in that file, such as `$.routes[0].threshold`."""


class Draft(Frozen, frozen=True, kw_only=True):
    """All route files together, before their meaning is checked: a name may lead nowhere."""

    folder: str
    """As the user gave it."""
    merged: RouteFile
    """What could be read."""
    sources: dict[str, WrittenAt]
    """As in `Config`."""
    rewritten: dict[str, tuple[str, str]] = {}
    """Where a text may be meant: how it is written, and what YAML reads. By key as in `sources`."""
    missing_variables: dict[str, tuple[str, ...]] = {}
    """By provider."""
    missing_extras: dict[str, str] = {}
    """By provider, the extra of semroute that it needs and that is not installed."""
    broken: frozenset[str] = frozenset()
    """Keys, as in `sources`, of sections and entries with something wrong in them."""
    missing: frozenset[str] = frozenset()
    """Keys, as in `sources`, of what was left out of `merged` because it is wrong."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All route files together, checked: every name resolves."""

    providers: dict[str, ProviderSettings]
    models: dict[str, Model]
    default: Default
    routes: dict[str, Route]
    """By name, in the order of the files."""
    rules: tuple[Rule, ...] = ()
    """The first to be tried first."""
    tiers: dict[Tier, tuple[str, ...]] = {}
    """Example prompts of each tier."""
    classifier: Classifier | None = None
    aliases: dict[str, str] = {}
    """What the names that clients insist on stand for. The first that fits counts."""
    folder: str = ""
    """Where the files stand, and what `semroute train` wrote."""
    negatives: tuple[str, ...] = ()
    embedder: EmbedderSettings = EmbedderSettings()
    abstain: Abstain = Abstain()
    route_on: RouteOn = "last_user"
    tuned: Tuned = Tuned()
    policy: Policy = Policy()
    baseline: str = ""
    """A model's id."""
    budgets: tuple[Budget, ...] = ()
    log: LogSettings = LogSettings()
    cors: Cors | None = None
    """None: no pages but the service's own."""
    prices_as_of: datetime.date | None = None
    sources: dict[str, WrittenAt] = {}
    """Where each thing stands, by a key such as `routes.billing` or `routes.billing.utterances[3]`."""
    version: str = ""
    """Changes whenever a file does."""
