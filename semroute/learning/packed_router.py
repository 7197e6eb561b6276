"""Let a Router travel to another process.

What was learned travels, so nothing is trained twice. The other process opens the embedder itself. Keys of providers
and their headers stay here: deciding needs none.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import Any

import msgspec

from semroute.config.config import Config
from semroute.errors import EmbedderError
from semroute.router import Router
from semroute.routing.learned_gain import Gain
from semroute.semantic.embedder import open_embedder
from semroute.semantic.training import Trained


def let_routers_travel() -> None:
    """Tell `pickle` how to pack a Router. It cannot pack the embedder and the index."""
    copyreg.pickle(Router, _pack)


def without_secrets(config: Config) -> Config:
    """Return a configuration without the keys and headers of providers."""
    providers = {
        id_: msgspec.structs.replace(provider, api_key=None, headers={}) for id_, provider in config.providers.items()
    }
    return msgspec.structs.replace(config, providers=providers)


def unpack(
    config: Config, fingerprint: str, trained: Trained | None, tiers: Router | None, gain: Gain | None
) -> Router:
    """Build the Router again. `fingerprint`: of its embedder. Raises `EmbedderError` if the one here is another."""
    embedder = open_embedder(config.embedder) if tiers is None else tiers.embedder
    if embedder.fingerprint != fingerprint:
        raise EmbedderError(
            f"embedder {embedder.name}: got one with the fingerprint {embedder.fingerprint}, expected {fingerprint}: "
            "install the same release of semroute and the same files of the model"
        )
    return Router(config, embedder, trained, tiers=tiers, gain=gain)


def _pack(router: Router) -> tuple[Callable[..., Router], tuple[Any, ...]]:
    config = without_secrets(router.config)
    return unpack, (config, router.embedder.fingerprint, router.trained, router.tiers, router.gain)
