"""What a dialect's folder says of itself, for the rest of semroute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from semroute.bases import Frozen
from semroute.config.schema.providers import ProviderSettings
from semroute.dialects.dialect import ClientDialect, ProviderDialect
from semroute.dialects.shared.body_edits import BodyEdits
from semroute.dialects.shared.forwarded_headers import Header
from semroute.dialects.shared.model_list import ModelList


class Endpoint(Frozen, frozen=True, kw_only=True):
    """An address that callers send requests to, for answers in one form."""

    path: str
    """`{model:str}` in it stands for the model, where the address names it instead of the body."""
    client: ClientDialect
    body: type[msgspec.Struct]
    """What is read of a body, as the service's own documentation shows it."""
    about: str
    """One sentence for that documentation."""
    media_type: str = "text/event-stream"
    """Of a streamed answer."""


class Signs(Frozen, frozen=True, kw_only=True):
    """By what the callers of a dialect are known, so that errors and lists of models have the form that they expect.

    `paths` say most, then `headers`, then the longest of `shared_paths`.
    """

    paths: tuple[str, ...] = ()
    """How addresses begin that only these callers ask for."""
    post_paths: tuple[str, ...] = ()
    """The same, for POST alone."""
    headers: dict[str, str] = {}
    """Headers that only these callers send, in lower case, each with how the address begins where that holds."""
    shared_paths: tuple[str, ...] = ()
    """How addresses begin that belong to these callers unless something else is known."""


class Dialect(Frozen, frozen=True, kw_only=True):
    """All that the rest of semroute knows of one wire format. Its folder's `dialect.py` holds it as `DIALECT`."""

    client: ClientDialect | None = None
    """How callers are answered, errors included; None: no caller speaks it."""
    signs: Signs = Signs()
    endpoints: tuple[Endpoint, ...] = ()
    """Addresses that need nothing but a call of a model. Those that need more have handlers of their own."""
    models: ModelList | None = None
    """The form of a list of models; None: OpenAI's."""
    provider: Callable[[ProviderSettings], ProviderDialect] | None = None
    """Makes what speaks to one provider; None: no provider speaks it."""
    telemetry_name: str = ""
    """The provider's name by OpenTelemetry's conventions; empty: many vendors serve it, each under its own name."""
    edits: BodyEdits = BodyEdits()
    """How callers' own bodies are changed, so that the rest of them reaches a provider as it is."""
    headers: tuple[Header, ...] = ()
    """Headers of callers that go on to a provider of this dialect."""
    drop_logprobs: Callable[[dict[str, Any]], None] | None = None
    """Takes log-probabilities out of a provider's own body, in place; None: there are none in it."""
