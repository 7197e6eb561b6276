"""What rules may hold: conditions, and what follows when they hold."""

from __future__ import annotations

from collections.abc import Set
from typing import Annotated, Literal

from msgspec import Meta

from semroute.bases import RouteFileStruct
from semroute.config.dialects import key_headers
from semroute.config.schema.models import Feature, ModelEntry
from semroute.config.schema.values import Name
from semroute.decision import Tier

Scalar = str | int | float | bool
NotEmpty = Meta(min_length=1)
"""A list that is written must not be empty. A list that is left out is no condition."""
Trait = Literal["code", "images", "tools", "json", "json_schema"]
Harness = Literal["title", "summary", "memory", "classifier"]
"""What a coding agent asks for itself: a title, a summary to go on from, notes for later, or a class of something."""
LookAt = Literal["ask", "prompt"]
Script = Literal[
    "latin", "cyrillic", "greek", "arabic", "hebrew", "devanagari", "thai", "han", "kana", "hangul", "other"
]
Language = Literal[
    "ar",
    "de",
    "el",
    "en",
    "es",
    "fr",
    "he",
    "hi",
    "it",
    "ja",
    "ko",
    "nl",
    "pl",
    "pt",
    "ru",
    "sv",
    "th",
    "tr",
    "uk",
    "zh",
]
"""The languages that `routing/language_guess.py` can guess."""

SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", *key_headers()})
"""Headers that rules never see."""


class Compare(RouteFileStruct, frozen=True, kw_only=True):
    """A number's bounds; all that are given must hold."""

    gt: float | None = None
    """Greater than."""
    gte: float | None = None
    """Greater than, or equal."""
    lt: float | None = None
    """Less than."""
    lte: float | None = None
    """Less than, or equal."""


Wanted = Scalar | tuple[Scalar, ...] | Compare
"""What a rule asks of one value."""


class When(RouteFileStruct, frozen=True, kw_only=True, rename={"not_": "not"}):
    """The conditions of a rule; all that are given must hold."""

    metadata: dict[str, Wanted] = {}
    """What the request's metadata must hold. For each key: a value, a list of values, or bounds such as `{gte: 3}`. A
    text that is a number counts as that number. If the request has a list, one of its elements must match."""
    headers: dict[str, str | Annotated[tuple[str, ...], NotEmpty]] = {}
    """What HTTP headers must hold. For each name, in lower case: a value, or a list of values. Rules cannot read keys
    and cookies."""
    keywords: Annotated[tuple[Name, ...], NotEmpty] = ()
    """Words or phrases. The ask must hold one of them. Upper and lower case count as the same."""
    regex: Name | None = None
    """A regular expression in RE2 syntax, found anywhere in the ask. `(?i)` in front ignores the case."""
    look_at: LookAt = "ask"
    """Where `keywords` and `regex` are looked for: in what is asked (`ask`), or in the whole turn with what is pasted
    into it (`prompt`). If something must not leave your machines, look at the prompt."""
    system: Name | None = None
    """A regular expression like `regex`, for the system prompt."""
    harness: Annotated[tuple[Harness, ...], NotEmpty] = ()
    """What a coding agent asks for itself, if semroute recognises it."""
    input_tokens: Compare | None = None
    """Estimated length of the whole conversation."""
    prompt_tokens: Compare | None = None
    """Estimated length of the last user turn."""
    turns: Compare | None = None
    """How many messages come from the user."""
    max_tokens: Compare | None = None
    """Bounds for the `max_tokens` of the request. A request without it does not match."""
    retrieval_score: Compare | None = None
    """Bounds for `metadata.retrieval_score`: how sure a retrieval system is of what it found. A request without it does
    not match."""
    has: Annotated[tuple[Trait, ...], NotEmpty] = ()
    """What the request must have: code, images, tools, JSON mode, a JSON Schema for the answer."""
    language: Annotated[tuple[Language, ...], NotEmpty] = ()
    """The language of the ask, as ISO 639-1 codes such as `de`. It is guessed from frequent words."""
    script: Annotated[tuple[Script, ...], NotEmpty] = ()
    """The script of most letters of the ask."""
    all: Annotated[tuple[When, ...], NotEmpty] = ()
    """Each of these holds."""
    any: Annotated[tuple[When, ...], NotEmpty] = ()
    """One of these holds."""
    not_: When | None = None
    """This does not hold. Written `not`."""


class Only(RouteFileStruct, frozen=True, kw_only=True):
    """Which models remain. A model must meet all of these, even if a request names it."""

    models: Annotated[tuple[str, ...], NotEmpty] = ()
    """Model ids."""
    providers: Annotated[tuple[str, ...], NotEmpty] = ()
    """Served by one of these providers."""
    regions: Annotated[tuple[Name, ...], NotEmpty] = ()
    """In one of these regions."""
    features: Annotated[tuple[Feature, ...], NotEmpty] = ()
    """With all of these features."""
    tiers: Annotated[tuple[Tier, ...], NotEmpty] = ()
    """Of one of these tiers."""


class Rule(RouteFileStruct, frozen=True, kw_only=True):
    """Rules are tried before any embedding.

    Of the rules that hold and have a target, the one with the highest priority decides. Every rule that holds and has
    `only` also leaves out other models, whatever decides.
    """

    name: Name
    """Unique over all files."""
    when: When
    """What must hold of the request."""
    description: str = ""
    """One sentence for people."""
    priority: int = 0
    """Rules with a higher number come first. Rules with the same number keep the order of the files."""
    models: tuple[str, ...] = ()
    """The target: these models."""
    route: str | None = None
    """The target: this route."""
    tier: Tier | None = None
    """The target: all models of this tier."""
    only: Only | None = None
    """Leaves out all models but these. It may stand alone or beside a target."""

    @property
    def targets(self) -> bool:
        """Return whether the rule says where a request goes."""
        return bool(self.models) or self.route is not None or self.tier is not None


def left_out(only: Only, ids: Set[str], model: ModelEntry) -> str | None:
    """Return what narrowing allows, if it leaves out a model. None: the model stays. `ids`: all names of the model."""
    checks = (
        (not only.models or not ids.isdisjoint(only.models), f"models {', '.join(only.models)}"),
        (not only.providers or model.provider in only.providers, f"providers {', '.join(only.providers)}"),
        (not only.regions or not set(only.regions).isdisjoint(model.regions), f"regions {', '.join(only.regions)}"),
        (set(only.features) <= set(model.features), f"models with {', '.join(only.features)}"),
        (not only.tiers or model.tier in only.tiers, f"tiers {', '.join(only.tiers)}"),
    )
    return next((allowed for stays, allowed in checks if not stays), None)
