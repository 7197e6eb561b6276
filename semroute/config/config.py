"""All route files together: as a draft before the checks, and as a `Config` after them."""

from __future__ import annotations

import datetime

import msgspec

from semroute.bases import Frozen
from semroute.config.schema.alarms import AlarmSettings
from semroute.config.schema.experiments import Adopted, Experiment
from semroute.config.schema.matching import Abstain, Classifier, EmbedderSettings, RouteOn, Swept, Tuned
from semroute.config.schema.models import Model
from semroute.config.schema.policies import Policy
from semroute.config.schema.providers import ProviderSettings
from semroute.config.schema.route_file import RouteFile
from semroute.config.schema.routes import Default, Route
from semroute.config.schema.rules import Rule
from semroute.config.schema.service import Budget, Cors, LogSettings
from semroute.config.schema.trial_settings import JudgeSettings, ShadowSettings
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
    """The path as the user gave it."""
    merged: RouteFile
    """The parts of the files that could be read."""
    sources: dict[str, WrittenAt]
    """See `Config.sources`."""
    rewritten: dict[str, tuple[str, str]] = {}
    """Values that may be meant as text: how each is written, and what YAML reads. By key, as in `sources`."""
    missing_variables: dict[str, tuple[str, ...]] = {}
    """By provider, the unset environment variables that it names."""
    missing_extras: dict[str, str] = {}
    """By provider, the missing extra of semroute that it needs."""
    broken: frozenset[str] = frozenset()
    """Keys, as in `sources`, of sections and entries that have an error."""
    missing: frozenset[str] = frozenset()
    """Keys, as in `sources`, of what was left out of `merged` because it has an error."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All route files together, checked: every name resolves."""

    providers: dict[str, ProviderSettings]
    models: dict[str, Model]
    default: Default
    routes: dict[str, Route]
    """By name, in the order of the files."""
    rules: tuple[Rule, ...] = ()
    """In the order in which they are tried."""
    tiers: dict[Tier, tuple[str, ...]] = {}
    """Example prompts of each tier."""
    classifier: Classifier | None = None
    judge: JudgeSettings | None = None
    shadow: ShadowSettings | None = None
    aliases: dict[str, str] = {}
    """By alias, the model that it stands for. The first alias that fits counts."""
    folder: str = ""
    """The folder of the files, and of the file that `semroute train` wrote."""
    negatives: tuple[str, ...] = ()
    embedder: EmbedderSettings = EmbedderSettings()
    abstain: Abstain = Abstain()
    route_on: RouteOn = "auto"
    strip: tuple[str, ...] = ()
    """Patterns of what is not the user's."""
    tuned: Tuned = Tuned()
    swept: Swept = Swept()
    """What `semroute sweep` set. `with_swept` has put it into the policies already."""
    policy: Policy = Policy()
    baseline: str = ""
    """The id of the model that savings are measured against."""
    budgets: tuple[Budget, ...] = ()
    experiments: dict[str, Experiment] = {}
    adopted: Adopted | None = None
    """None: no arm was adopted. Its overlay is part of this configuration already."""
    candidates: dict[str, Config] = {}
    """The configurations of the folders that are arms of experiments, by folder as written."""
    log: LogSettings = LogSettings()
    alarms: AlarmSettings | None = None
    """None: nothing is watched."""
    cors: Cors | None = None
    """None: only the service's own pages may call it."""
    prices_as_of: datetime.date | None = None
    sources: dict[str, WrittenAt] = {}
    """Where each thing stands, by a key such as `routes.billing` or `routes.billing.utterances[3]`."""
    version: str = ""
    """Changes whenever a file does."""
