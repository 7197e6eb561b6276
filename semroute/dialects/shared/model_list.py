"""What callers may name as `model`, as the lists of models of all dialects tell it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from semroute.bases import Frozen
from semroute.errors import RequestError

MAX_PAGE = 1000
"""How many models one page holds at most."""


class Listed(Frozen, frozen=True, kw_only=True):
    """A name that `model` may have."""

    id: str
    owner: str
    description: str = ""
    input_tokens: int | None = None
    """The most that it takes; of a virtual model, that its largest one takes."""
    output_tokens: int | None = None
    thinks: bool = False
    shutdown_date: str = ""
    """The day from which its provider does not serve it any more; empty: none is known."""
    metadata: dict[str, Any] = {}
    """What OpenAI's form tells besides."""


class ModelList(Protocol):
    """How a dialect tells its callers which models there are."""

    def render_one(self, model: Listed) -> dict[str, Any]:
        """One model."""
        ...

    def render_page(self, every: Sequence[Listed], query: Mapping[str, Any]) -> dict[str, Any]:
        """The page that the query of the address asks for. Raises `RequestError`."""
        ...


def place_of(every: Sequence[Listed], id_: str, name: str) -> int:
    """Where a model stands in the list. `name`: the parameter that names it. Raises `RequestError`."""
    for place, model in enumerate(every):
        if model.id == id_:
            return place
    raise RequestError(f"?{name}: got {id_[:100]!r}, expected the id of a model in the list", param=name)


def page_size(said: str | None, name: str, default: int) -> int:
    """How many models a page may hold. `name`: the parameter that says so. Raises `RequestError`."""
    if said is None:
        return default
    if not (said.isascii() and said.isdigit()) or not int(said[:10]):
        raise RequestError(f"?{name}: got {said[:100]!r}, expected a number from 1 to {MAX_PAGE}", param=name)
    return min(int(said[:10]), MAX_PAGE)
