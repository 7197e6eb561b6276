"""The list of models that callers may name, for all dialects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from semroute.bases import Frozen
from semroute.errors import RequestError

MAX_PAGE = 1000
"""The most models on one page."""


class Listed(Frozen, frozen=True, kw_only=True):
    """A model in the list."""

    id: str
    owner: str
    description: str = ""
    input_tokens: int | None = None
    """The most input tokens. For a virtual model, those of its largest model."""
    output_tokens: int | None = None
    thinks: bool = False
    shutdown_date: str = ""
    """The day from which the provider no longer serves the model. Empty: no such day is known."""
    metadata: dict[str, Any] = {}
    """More fields, for OpenAI's form."""


class ModelList(Protocol):
    """Renders the list of models in a dialect."""

    def render_one(self, model: Listed) -> dict[str, Any]:
        """Render one model."""
        ...

    def render_page(self, every: Sequence[Listed], query: Mapping[str, Any]) -> dict[str, Any]:
        """Render the page that the query asks for. Raises `RequestError`."""
        ...


def place_of(every: Sequence[Listed], id_: str, name: str) -> int:
    """Return the index of a model in the list. `name` is the query parameter, for messages. Raises `RequestError`."""
    for place, model in enumerate(every):
        if model.id == id_:
            return place
    raise RequestError(f"?{name}: got {id_[:100]!r}, expected the id of a model in the list", param=name)


def page_size(said: str | None, name: str, default: int) -> int:
    """Read the size of a page. `name` is the query parameter, for messages. Raises `RequestError`."""
    if said is None:
        return default
    if not (said.isascii() and said.isdigit()) or not int(said[:10]):
        raise RequestError(f"?{name}: got {said[:100]!r}, expected a number from 1 to {MAX_PAGE}", param=name)
    return min(int(said[:10]), MAX_PAGE)
