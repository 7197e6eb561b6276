"""The description of a dialect, which its folder gives to the rest of semroute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from semroute.bases import Frozen
from semroute.config.schema.providers import ProviderSettings
from semroute.dialects.protocols import ClientDialect, ProviderDialect
from semroute.dialects.shared.body_edits import BodyEdits
from semroute.dialects.shared.dropped import FieldNames
from semroute.dialects.shared.forwarded_headers import Header
from semroute.dialects.shared.model_list import ModelList


class Endpoint(Frozen, frozen=True, kw_only=True):
    """An address that callers send requests to, for answers in one form."""

    path: str
    """The path of the address. `{model:str}` in it is the model, if the address names the model and not the body."""
    client: ClientDialect
    body: type[msgspec.Struct]
    """The fields that are read of a body. The service's own API documentation shows them."""
    about: str
    """A sentence about the address, for that documentation."""
    media_type: str = "text/event-stream"
    """The media type of a streamed answer."""


class Signs(Frozen, frozen=True, kw_only=True):
    """How the service recognises callers of a dialect. They get errors and lists of models in its form.

    `paths` decide first, then `headers`, then the longest prefix in `shared_paths`.
    """

    paths: tuple[str, ...] = ()
    """Prefixes of addresses that only these callers use."""
    post_paths: tuple[str, ...] = ()
    """Prefixes of addresses to which only these callers send POST requests."""
    headers: dict[str, str] = {}
    """Headers that only these callers send, in lower case, with the prefix of the addresses for which they count."""
    shared_paths: tuple[str, ...] = ()
    """Prefixes of addresses that several dialects share. They count as these callers' if nothing else decides."""


class Dialect(Frozen, frozen=True, kw_only=True):
    """All that the rest of semroute knows of one wire format. The folder's `dialect.py` holds it as `DIALECT`."""

    client: ClientDialect | None = None
    """The client side. None: no caller speaks this dialect."""
    signs: Signs = Signs()
    endpoints: tuple[Endpoint, ...] = ()
    """Addresses that only need a call to a model. Addresses that need more have their own handlers."""
    models: ModelList | None = None
    """The form of the list of models. None: OpenAI's form."""
    provider: Callable[[ProviderSettings], ProviderDialect] | None = None
    """Makes the provider side for one provider. None: no provider speaks this dialect."""
    telemetry_name: str = ""
    """The provider's name by OpenTelemetry's conventions. Empty: several vendors serve this dialect, under their own
    names."""
    edits: BodyEdits = BodyEdits()
    """How to change a caller's own body, so that the rest of it reaches a provider unchanged."""
    field_names: FieldNames = {}
    """What callers call the fields that notes name as Chat Completions does."""
    headers: tuple[Header, ...] = ()
    """Headers of callers that are forwarded to a provider of this dialect."""
    drop_logprobs: Callable[[dict[str, Any]], None] | None = None
    """Removes the log-probabilities from a provider's own body, in place. None: a body never has any."""
