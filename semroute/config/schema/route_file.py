"""A route file: everything that may stand at its top."""

from __future__ import annotations

import datetime

from semroute.bases import RouteFileStruct
from semroute.config.schema.alarms import AlarmSettings
from semroute.config.schema.experiments import Adopted, Experiment
from semroute.config.schema.matching import Abstain, Classifier, EmbedderSettings, RouteOn, Swept, TierExemplars, Tuned
from semroute.config.schema.models import ModelEntry
from semroute.config.schema.policies import Policy
from semroute.config.schema.providers import ProviderEntry
from semroute.config.schema.routes import Default, MoreUtterances, Route
from semroute.config.schema.rules import Rule
from semroute.config.schema.service import Budget, Cors, LogSettings
from semroute.config.schema.trial_settings import JudgeSettings, ShadowSettings
from semroute.config.schema.values import Name


class RouteFile(RouteFileStruct, frozen=True, kw_only=True):
    """One `*.yaml` of the routes folder. Every key is optional: all files are merged."""

    embedder: EmbedderSettings | None = None
    """Which model turns text into vectors."""
    abstain: Abstain | None = None
    """When a prompt goes to no route."""
    route_on: RouteOn | None = None
    """Which text is matched. `auto`: what is asked in the last user turn, with the ask before it if the turn says
    nothing by itself, such as "and for Python?". `last_user`: the last user turn alone. `conversation`: all user turns.
    Not set: `auto`."""
    strip: tuple[Name, ...] = ()
    """Regular expressions in RE2 syntax for text that your clients add to the user's turn. semroute ignores what they
    match. The model still gets it."""
    tuned: Tuned | None = None
    """Thresholds that `semroute tune` found."""
    swept: Swept | None = None
    """Dials that `semroute sweep` set."""
    policy: Policy | None = None
    """The policy of routes that have none of their own."""
    prices_as_of: datetime.date | None = None
    """When the prices were last checked."""
    providers: dict[str, ProviderEntry] = {}
    """Where models are served, by an id of your choice."""
    models: dict[str, ModelEntry] = {}
    """The models, by an id of your choice. Plans and callers use that id."""
    aliases: dict[str, str] = {}
    """What the model names of clients stand for: `auto`, `auto:<route>` or a model's id. In a name, `*` stands for any
    text. A model's own id is never an alias."""
    default: Default | None = None
    """Where a request goes when no route matches with confidence."""
    baseline: str | None = None
    """The model that savings are measured against. Not set: the most expensive model of the default."""
    budgets: tuple[Budget, ...] = ()
    """How much may be spent."""
    experiments: dict[str, Experiment] = {}
    """Experiments, by a name of your choice: a part of the users is served in another way."""
    adopted: Adopted | None = None
    """The arm of an experiment that was adopted."""
    log: LogSettings | None = None
    """What the decision log keeps."""
    alarms: AlarmSettings | None = None
    """Watch for drift, and for a fall of quality. Not set: nothing is watched."""
    cors: Cors | None = None
    """Which web pages may use the service. Not set: only the service's own page."""
    routes: tuple[Route, ...] = ()
    """The intents."""
    more_utterances: tuple[MoreUtterances, ...] = ()
    """Further utterances of routes that any file defines."""
    rules: tuple[Rule, ...] = ()
    """The rules. They are tried before any embedding: the highest priority first, equal ones in this order."""
    negatives: tuple[Name, ...] = ()
    """Prompts that belong to no route. They and similar prompts go to the default."""
    tiers: tuple[TierExemplars, ...] = ()
    """Example prompts of each tier, for `difficulty: {by: exemplars}`."""
    classifier: Classifier | None = None
    """A small model that names the route of a request."""
    judge: JudgeSettings | None = None
    """A model that grades a sample of the answers. Not set: none does."""
    shadow: ShadowSettings | None = None
    """Another model, or another folder, that a sample of the requests is tried on. Not set: none."""
