"""What route files may hold (the `Written` structs), and what they become together (`Config`)."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from semroute.types import Fraction, Frozen, Model, ModelEntry, Policy, Route, Written

DialectName = Literal["openai", "anthropic", "gemini", "echo"]
Scalar = str | int | float | bool


class EmbedderSettings(Written, frozen=True, kw_only=True):
    """Which model turns text into vectors."""

    model: str = "bundled"
    """`bundled`, or the name of any model that fastembed supports."""
    max_tokens: Annotated[int, Meta(ge=8)] = 128
    """At most so many tokens of a prompt are embedded, from its head and its tail."""
    cache_dir: str | None = None
    """Where fastembed keeps what it downloads; null: its own default."""
    threads: Annotated[int, Meta(ge=1)] | None = None
    """Threads for one embedding; null: one."""


class Abstain(Written, frozen=True, kw_only=True):
    """When no route is taken."""

    threshold: Fraction = 0.5
    """The least confidence that takes a route which names no threshold of its own."""


class ProviderEntry(Written, frozen=True, kw_only=True):
    """Where models are served. The key comes from the environment: `api_key: "${OPENAI_API_KEY}"`."""

    dialect: DialectName
    """Its wire format. `openai` covers every compatible server."""
    base_url: str = ""
    """Up to the version, such as `https://api.openai.com/v1`."""
    api_key: str | None = None
    """null: the provider takes none."""
    headers: dict[str, str] = {}
    """Sent with every call."""


class Default(Written, frozen=True, kw_only=True):
    """Where a request goes that no route matched with confidence: best to the strong models."""

    models: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Model ids, tried in this order."""
    policy: Policy | None = None
    """null: the global one."""


class Compare(Written, frozen=True, kw_only=True):
    """A number's bounds; all that are given must hold."""

    gt: float | None = None
    """Greater than."""
    gte: float | None = None
    """Greater than, or equal."""
    lt: float | None = None
    """Less than."""
    lte: float | None = None
    """Less than, or equal."""


class When(Written, frozen=True, kw_only=True):
    """The conditions of a rule; all that are given must hold."""

    input_tokens: Compare | None = None
    """Estimated length of the whole conversation."""
    metadata: dict[str, Scalar] = {}
    """Keys of the request's metadata and the values they must have."""


class Rule(Written, frozen=True, kw_only=True):
    """Decided before any embedding. The first rule that holds wins."""

    name: Annotated[str, Meta(min_length=1)]
    """Unique over all files."""
    when: When
    """What must hold of the request."""
    description: str = ""
    """One sentence for people."""
    models: tuple[str, ...] = ()
    """The plan; or name a route."""
    route: str | None = None
    """The route to take."""


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


class RouteFile(Written, frozen=True, kw_only=True):
    """One `*.yaml` of the routes folder. Every key is optional: all files are merged."""

    embedder: EmbedderSettings | None = None
    """Which model turns text into vectors."""
    abstain: Abstain | None = None
    """When no route is taken."""
    policy: Policy | None = None
    """For routes that have none of their own."""
    prices_as_of: datetime.date | None = None
    """When the prices were last checked."""
    providers: dict[str, ProviderEntry] = {}
    """Where models are served, by an id of your choice."""
    models: dict[str, ModelEntry] = {}
    """The models, by an id of your choice: what plans and callers name them by."""
    default: Default | None = None
    """Where a request goes that no route matched with confidence."""
    baseline: str | None = None
    """The model that savings are measured against; null: the dearest of the default's."""
    budgets: tuple[Budget, ...] = ()
    """How much may be spent."""
    log: LogSettings | None = None
    """What the decision log keeps."""
    routes: tuple[Route, ...] = ()
    """The intents."""
    rules: tuple[Rule, ...] = ()
    """Decided before any embedding, in this order: the first that holds wins."""


class Provider(ProviderEntry, frozen=True, kw_only=True):
    """A provider of the merged configuration."""

    id: str
    missing_variables: tuple[str, ...] = ()
    """Environment variables that it names and that are not set: its models cannot be called."""

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
    missing_variables: dict[str, tuple[str, ...]] = {}
    """By provider."""
    broken: frozenset[str] = frozenset()
    """Keys, as in `sources`, of what stands in a file and is not in `merged` because it is wrong."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All route files together, checked: every name resolves."""

    providers: dict[str, Provider]
    models: dict[str, Model]
    default: Default
    routes: dict[str, Route]
    """By name, in the order of the files."""
    rules: tuple[Rule, ...] = ()
    embedder: EmbedderSettings = EmbedderSettings()
    abstain: Abstain = Abstain()
    policy: Policy = Policy()
    baseline: str = ""
    """A model's id."""
    budgets: tuple[Budget, ...] = ()
    log: LogSettings = LogSettings()
    prices_as_of: datetime.date | None = None
    sources: dict[str, Source] = {}
    """Where each thing stands, by a key such as `routes.billing` or `routes.billing.utterances[3]`."""
    version: str = ""
    """Changes whenever a file does."""
