"""All dialects. Each has a folder beside this module and a line in `config/dialects.py`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from semroute.config import dialects as table
from semroute.config.schema.providers import ProviderSettings
from semroute.dialects.description import Dialect, Endpoint
from semroute.dialects.openai.model_list import OpenAIModelList
from semroute.dialects.protocols import ProviderDialect
from semroute.dialects.shared.model_list import ModelList

_NOT_SPOKEN = Dialect()
_DEFAULT_LIST = OpenAIModelList()


def _load(name: str) -> Dialect:
    """Load the description in the folder of that name."""
    found = import_module(f"semroute.dialects.{name}.dialect").DIALECT
    assert isinstance(found, Dialect), f"semroute/dialects/{name}/dialect.py: expected DIALECT to be a Dialect"
    provides = found.provider is not None
    assert provides == table.DIALECTS[name].providers, f"{name}: its `provider` contradicts config/dialects.py"
    return found


DIALECTS: dict[str, Dialect] = {name: _load(name) for name in table.DIALECTS}
"""The dialects by name, in the order of the table."""
ENDPOINTS: tuple[Endpoint, ...] = tuple(endpoint for each in DIALECTS.values() for endpoint in each.endpoints)
JOINED = frozenset(header.name for each in DIALECTS.values() for header in each.headers if header.joins)
"""Headers that hold lists. If the provider's own headers have one too, semroute sends both lists as one."""


def dialect(name: str) -> Dialect:
    """Return the dialect of that name. Other names, such as those of requests for embeddings, get an empty one."""
    return DIALECTS.get(name, _NOT_SPOKEN)


def provider_dialect(provider: ProviderSettings) -> ProviderDialect:
    """Make the provider side for one provider."""
    make = DIALECTS[provider.dialect].provider
    assert make is not None, f"no provider speaks {provider.dialect}: the route files were not checked"
    return make(provider)


def expected_by(method: str, path: str, headers: Mapping[str, str]) -> Dialect:
    """Return the dialect in which a caller expects errors and lists of models. Names in `headers` are lower case."""
    for each in DIALECTS.values():
        if path.startswith(each.signs.paths) or (method == "POST" and path.startswith(each.signs.post_paths)):
            return each
    for each in DIALECTS.values():
        for name, start in each.signs.headers.items():
            if name in headers and path.startswith(start):
                return each
    return next((each for start, each in _SHARED if path.startswith(start)), _NOT_SPOKEN)


def model_list(found: Dialect) -> ModelList:
    """Return the form of the list of models in a dialect."""
    return found.models or _DEFAULT_LIST


_SHARED = sorted(
    ((start, each) for each in DIALECTS.values() for start in each.signs.shared_paths),
    key=lambda pair: len(pair[0]),
    reverse=True,
)
"""Prefixes of addresses that several dialects share, longest first: the first that matches decides."""
