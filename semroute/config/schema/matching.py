"""What route files say of how prompts are compared with routes."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from semroute.bases import RouteFileStruct
from semroute.config.schema.values import Fraction, Name, Positive
from semroute.decision import Tier

RouteOn = Literal["auto", "last_user", "conversation"]


class EmbedderSettings(RouteFileStruct, frozen=True, kw_only=True):
    """Which model turns text into vectors."""

    model: str = "bundled"
    """`bundled`, `bundled-2026-11` for the model that was in the package before, or the name of any model that
    fastembed supports."""
    max_tokens: Annotated[int, Meta(ge=8)] = 128
    """How many tokens of a prompt are embedded at most. Of a longer prompt, only the beginning and the end are
    embedded."""
    query_prefix: str | None = None
    """Text put before each prompt when it is embedded, such as `query: `. Not set: what the model's family needs."""
    passage_prefix: str | None = None
    """Text put before each utterance. Not set: the same as for prompts."""
    cache_dir: str | None = None
    """The folder for models that fastembed downloads, and the one that holds `bundled-2026-11`. Not set:
    fastembed's own."""
    threads: Annotated[int, Meta(ge=1)] | None = None
    """How many threads make one embedding. Not set: one."""
    cached_prompts: Annotated[int, Meta(ge=0)] = 4096
    """How many embeddings of earlier prompts are remembered, at about 2 KB each. A remembered prompt is not embedded
    again."""


class Abstain(RouteFileStruct, frozen=True, kw_only=True):
    """When a prompt goes to no route."""

    threshold: Fraction | None = None
    """The confidence that a route needs, for routes without a threshold of their own. Not set: semroute calibrates
    it."""
    target_false_abstain: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    """The share of prompts that belong to a route but go to the default: calibration aims for this share. A smaller
    share also lets in more prompts that belong to no route."""


class Tuned(RouteFileStruct, frozen=True, kw_only=True):
    """Thresholds that `semroute tune` found. They are in a file of their own and come before all others."""

    encoder: str = ""
    """The fingerprint of the encoder that was used. With another encoder the thresholds do not count. Empty: they
    count with any."""
    thresholds: dict[str, Fraction] = {}
    """By route."""


class Swept(RouteFileStruct, frozen=True, kw_only=True):
    """Dials that `semroute sweep` set. They are in a file of their own and come before what the policies say.

    A dial counts only in policies that use it.
    """

    encoder: str = ""
    """The fingerprint of the encoder that `abstain_threshold` was found with. With another encoder it does not count.
    Empty: it counts with any."""
    abstain_threshold: Fraction | None = None
    """The confidence that a route needs, for routes that neither have a threshold of their own nor a tuned one."""
    moderate_from: Fraction | None = None
    """`difficulty.moderate_from` of policies with `difficulty: {by: complexity}`."""
    complex_from: Fraction | None = None
    """`difficulty.complex_from` of policies with `difficulty: {by: complexity}`."""
    strong_share: Fraction | None = None
    """`difficulty.strong_share` of policies that have it."""
    min_quality_retained: Fraction | None = None
    """`difficulty.min_quality_retained` of policies that have it."""
    cost_quality: Fraction | None = None
    """`cost_quality` of policies with `select: balanced`."""
    judge_threshold: Fraction | None = None
    """The grade that the judge of a cascade must give."""
    min_certainty: Fraction | None = None
    """`min_certainty` of cascades that have it."""
    min_logprob: Annotated[float, Meta(le=0)] | None = None
    """`min_logprob` of cascades that have it."""


class TierExemplars(RouteFileStruct, frozen=True, kw_only=True):
    """Example prompts of a tier, for policies with `difficulty: {by: exemplars}`.

    A prompt is matched with tiers in the same way as with routes.
    """

    tier: Tier
    """The tier that such requests want."""
    utterances: Annotated[tuple[Name, ...], Meta(min_length=1)]
    """Example prompts."""


class Classifier(RouteFileStruct, frozen=True, kw_only=True):
    """A small model that reads each request and names its route. It is off unless you write it."""

    model: str
    """A model id."""
    routes: tuple[str, ...] = ()
    """Ask it only when the most similar route is one of these. Empty: for every request that no rule decided."""
    deadline_s: Positive = 2.0
    """How long it may take. After that, or when it names no route, the semantic decision stands."""
    cache_size: Annotated[int, Meta(ge=0)] = 1024
    """How many of its answers are remembered."""
