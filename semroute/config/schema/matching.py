"""What route files say of how prompts are compared with routes."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from semroute.bases import RouteFileStruct
from semroute.config.schema.values import Fraction, Name, Positive
from semroute.decision import Tier

RouteOn = Literal["last_user", "conversation"]


class EmbedderSettings(RouteFileStruct, frozen=True, kw_only=True):
    """Which model turns text into vectors."""

    model: str = "bundled"
    """`bundled`, or the name of any model that fastembed supports."""
    max_tokens: Annotated[int, Meta(ge=8)] = 128
    """At most so many tokens of a prompt are embedded, from its head and its tail."""
    query_prefix: str | None = None
    """What each prompt begins with when it is embedded, such as `query: `; None: as the model's family needs it."""
    passage_prefix: str | None = None
    """The same for utterances; None: as for prompts."""
    cache_dir: str | None = None
    """Where fastembed keeps what it downloads; None: its own default."""
    threads: Annotated[int, Meta(ge=1)] | None = None
    """Threads for one embedding; None: one."""
    cached_prompts: Annotated[int, Meta(ge=0)] = 4096
    """So many of the last prompts are not embedded again when they are repeated, at about 2 KB each; 0: none."""


class Abstain(RouteFileStruct, frozen=True, kw_only=True):
    """When no route is taken."""

    threshold: Fraction | None = None
    """The least confidence that takes a route which names no threshold of its own; None: calibrated for each route."""
    target_false_abstain: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    """The share of prompts that belong to a route and may go to the default all the same: what the thresholds are
    calibrated for. Less of it lets more in that belongs to no route."""


class Tuned(RouteFileStruct, frozen=True, kw_only=True):
    """Thresholds that `semroute tune` found: they stand in a file of their own, and count before all others."""

    encoder: str = ""
    """Fingerprint of the encoder that they were found with: with another they do not count. Empty: with any."""
    thresholds: dict[str, Fraction] = {}
    """By route."""


class TierExemplars(RouteFileStruct, frozen=True, kw_only=True):
    """What requests of a tier look like: matched like a route, for policies with `difficulty: {by: exemplars}`."""

    tier: Tier
    """The tier that such requests want."""
    utterances: Annotated[tuple[Name, ...], Meta(min_length=1)]
    """Example prompts."""


class Classifier(RouteFileStruct, frozen=True, kw_only=True):
    """A small model that reads each request and names its route. Off unless this is written."""

    model: str
    """A model id."""
    routes: tuple[str, ...] = ()
    """Only where the most similar route is one of these; empty: for every request that no rule took."""
    deadline_s: Positive = 2.0
    """After that, or when its answer is no known label, the semantic decision stands."""
    cache_size: Annotated[int, Meta(ge=0)] = 1024
    """Answers that are remembered, by prompt."""
