"""Thresholds that `semroute tune` or `semroute sweep` found count only for the embedder that they were found with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from semroute.config.config import Config
from semroute.config.schema.matching import Tuned
from semroute.semantic.embedder import Embedder

logger = logging.getLogger(__name__)


class Stale(NamedTuple):
    """Thresholds that do not count."""

    section: str
    """The section of the route files that they stand in."""
    told: str
    """Why they do not count."""
    advice: str


def stale(config: Config, embedder: Embedder) -> Iterator[Stale]:
    """Yield what does not count."""
    found = (
        ("tuned", "tune", "the tuned thresholds do not count: they were", config.tuned.encoder),
        ("swept", "sweep", "the swept abstention threshold does not count: it was", config.swept.encoder),
    )
    for section, command, what, encoder in found:
        if encoder in ("", embedder.fingerprint) or (section == "swept" and config.swept.abstain_threshold is None):
            continue
        told = (
            f"{what} found with another embedded model ({encoder}), "
            f"and {embedder.name} ({embedder.fingerprint}) has other confidences"
        )
        yield Stale(section, told, f"run `semroute {command}` again, or delete the file")


def without_stale(config: Config, embedder: Embedder) -> Config:
    """Leave out thresholds that do not count, and tell the log."""
    for one in stale(config, embedder):
        source = config.sources.get(f"{one.section}.encoder")
        logger.warning("%s%s; %s", f"{source.file}:{source.line}: " if source else "", one.told, one.advice)
        if one.section == "tuned":
            config = replace(config, tuned=Tuned())
        else:
            config = replace(config, swept=replace(config.swept, abstain_threshold=None))
    return config
