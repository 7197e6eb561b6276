"""What route files may hold (the `Written` structs), and what they become together (`Config`)."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from semroute.calls import Limits
from semroute.config.conditions import Rule
from semroute.config.presets import PresetName
from semroute.settings import how_to_install
from semroute.structs import Written
from semroute.types import Frozen
from semroute.written import Fraction, Model, ModelEntry, Name, Policy, Positive, Route, Tier

RouteOn = Literal["last_user", "conversation"]
DialectName = Literal["openai", "responses", "anthropic", "gemini", "bedrock", "echo"]


class EmbedderSettings(Written, frozen=True, kw_only=True):
    """Which model turns text into vectors."""

    model: str = "bundled"
    """`bundled`, or the name of any model that fastembed supports."""
    max_tokens: Annotated[int, Meta(ge=8)] = 128
    """At most so many tokens of a prompt are embedded, from its head and its tail."""
    query_prefix: str | None = None
    """What each prompt begins with when it is embedded, such as `query: `; null: as the model's family needs it."""
    passage_prefix: str | None = None
    """The same for utterances; null: as for prompts."""
    cache_dir: str | None = None
    """Where fastembed keeps what it downloads; null: its own default."""
    threads: Annotated[int, Meta(ge=1)] | None = None
    """Threads for one embedding; null: one."""
    cached_prompts: Annotated[int, Meta(ge=0)] = 4096
    """So many of the last prompts are not embedded again when they are repeated, at about 2 KB each; 0: none."""


class Abstain(Written, frozen=True, kw_only=True):
    """When no route is taken."""

    threshold: Fraction | None = None
    """The least confidence that takes a route which names no threshold of its own; null: calibrated for each route."""
    target_false_abstain: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    """The share of prompts that belong to a route and may go to the default all the same: what the thresholds are
    calibrated for. Less of it lets more in that belongs to no route."""


class Tuned(Written, frozen=True, kw_only=True):
    """Thresholds that `semroute tune` found: they stand in a file of their own, and count before all others."""

    encoder: str = ""
    """Fingerprint of the encoder that they were found with: with another they do not count. Empty: with any."""
    thresholds: dict[str, Fraction] = {}
    """By route."""


class ProviderEntry(Written, frozen=True, kw_only=True):
    """Where models are served. The key comes from the environment: `api_key: "${OPENAI_API_KEY}"`."""

    dialect: DialectName = "openai"
    """Its wire format. `openai` covers every compatible server."""
    preset: PresetName | None = None
    """A server of the `openai` dialect whose address and peculiarities are known; null: none."""
    base_url: str = ""
    """With the version, such as `https://api.openai.com/v1`, Anthropic's without; empty: the preset's, the region's."""
    region: str = ""
    """Of Amazon Bedrock, such as `eu-central-1`; empty: as the `base_url` or AWS's own settings say."""
    api_version: str = ""
    """For servers that want one with each call, such as Azure; empty: the preset's."""
    api_key: str | None = None
    """null: the provider takes none; Amazon Bedrock is called with AWS's credentials then."""
    headers: dict[str, str] = {}
    """Sent with every call."""
    limits: Limits = Limits()
    """What the provider takes from all of its models together: the limits of your account."""
    passthrough: bool | None = None
    """Whether files, batches and moderations are passed on to it. true: also for requests that name no provider. false:
    never. Not set: for requests that name it, and for others if no other provider takes them."""


class Default(Written, frozen=True, kw_only=True):
    """Where a request goes that no route matched with confidence: best to the strong models."""

    models: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Model ids, tried in this order."""
    policy: Policy | None = None
    """null: the global one."""


class TierExemplars(Written, frozen=True, kw_only=True):
    """What requests of a tier look like: matched like a route, for policies with `difficulty: {by: exemplars}`."""

    tier: Tier
    """The tier that such requests want."""
    utterances: Annotated[tuple[Name, ...], Meta(min_length=1)]
    """Example prompts."""


class Classifier(Written, frozen=True, kw_only=True):
    """A small model that reads each request and names its route. Off unless this is written."""

    model: str
    """A model id."""
    routes: tuple[str, ...] = ()
    """Only where the most similar route is one of these; empty: for every request that no rule took."""
    deadline_s: Positive = 2.0
    """After that, or when its answer is no known label, the semantic decision stands."""
    cache_size: Annotated[int, Meta(ge=0)] = 1024
    """Answers that are remembered, by prompt."""


class Budget(Written, frozen=True, kw_only=True):
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


class LogSettings(Written, frozen=True, kw_only=True):
    """What the decision log keeps. Where it is kept says SEMROUTE_DATABASE_URL."""

    content: Literal["none", "hash", "redacted", "full"] = "none"
    """Of prompts and answers: nothing, their SHA-256, the text without keys, e-mails, cards and the like, or all."""
    embedding: bool = True
    """Keep the embedding of the matched text, so that decisions can be replayed without it."""
    keep_days: Annotated[int, Meta(ge=1)] | None = None
    """Older records are deleted; null: none are. Statistics stay."""
    keep_mb: Annotated[int, Meta(ge=1)] | None = None
    """The oldest records are deleted when the log is larger; null: never."""
    queue: Annotated[int, Meta(ge=1)] = 10_000
    """Records that may wait to be written."""
    when_full: Literal["drop", "slow"] = "drop"
    """A full queue: drop records and count them, or let requests wait."""


class Cors(Written, frozen=True, kw_only=True):
    """Which web pages may use the service from a browser, besides its own."""

    origins: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Where such pages come from, such as `https://app.example.com`; `*`: from anywhere."""

    def allows(self, origin: str) -> bool:
        """Whether pages of an origin may use the service."""
        return origin in self.origins or "*" in self.origins


class RouteFile(Written, frozen=True, kw_only=True):
    """One `*.yaml` of the routes folder. Every key is optional: all files are merged."""

    embedder: EmbedderSettings | None = None
    """Which model turns text into vectors."""
    abstain: Abstain | None = None
    """When no route is taken."""
    route_on: RouteOn | None = None
    """What text is matched: `last_user`, the last user turn; `conversation`, all user turns. null: `last_user`."""
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
    """The model that savings are measured against; null: the dearest of the default's."""
    budgets: tuple[Budget, ...] = ()
    """How much may be spent."""
    log: LogSettings | None = None
    """What the decision log keeps."""
    cors: Cors | None = None
    """Which web pages may use the service; null: its own alone."""
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


def deployment_ids(model: str, entry: ModelEntry) -> tuple[str, ...]:
    """What a model's further deployments are called: `<model>@<provider>`, and `…#2` where a provider has several."""
    ids: list[str] = []
    for place in entry.deployments:
        id_ = f"{model}@{place.provider}"
        same = sum(known.partition("#")[0] == id_ for known in ids)
        ids.append(f"{id_}#{same + 1}" if same else id_)
    return tuple(ids)


def not_installed(extra: str) -> str:
    """What to do about an extra that is missing."""
    return f"the extra `{extra}` is not installed ({how_to_install(extra)})"


class Provider(ProviderEntry, frozen=True, kw_only=True):
    """A provider of the merged configuration."""

    id: str
    missing_variables: tuple[str, ...] = ()
    """Environment variables that it names and that are not set: its models cannot be called."""
    missing_extra: str = ""
    """The extra of semroute that it needs and that is not installed: its models cannot be called."""

    @property
    def unavailable(self) -> str:
        """Why its models cannot be called here; empty: they can."""
        if self.missing_variables:
            return f"{', '.join(self.missing_variables)} is not set"
        return not_installed(self.missing_extra) if self.missing_extra else ""

    def __repr__(self) -> str:
        """Without the key and the headers, which may hold secrets."""
        return f"Provider(id={self.id!r}, dialect={self.dialect!r}, base_url={self.base_url!r})"


class Source(Frozen, frozen=True, kw_only=True):
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
    sources: dict[str, Source]
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

    providers: dict[str, Provider]
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
    """null: no pages but the service's own."""
    prices_as_of: datetime.date | None = None
    sources: dict[str, Source] = {}
    """Where each thing stands, by a key such as `routes.billing` or `routes.billing.utterances[3]`."""
    version: str = ""
    """Changes whenever a file does."""
