"""Thresholds that `semroute tune` found count only for the embedder that they were found with."""

from __future__ import annotations

import logging

import msgspec

from semroute.config.config import Config
from semroute.config.schema.matching import Tuned
from semroute.semantic.embedder import Embedder

ADVICE = "run `semroute tune` again, or delete the file"

logger = logging.getLogger(__name__)


def stale(config: Config, embedder: Embedder) -> str:
    """Say why the tuned thresholds do not count. Empty: they count, or there are none."""
    if config.tuned.encoder in ("", embedder.fingerprint):
        return ""
    return (
        f"the tuned thresholds do not count: they were found with another embedded model ({config.tuned.encoder}), "
        f"and {embedder.name} ({embedder.fingerprint}) has other confidences"
    )


def without_stale(config: Config, embedder: Embedder) -> Config:
    """Leave out tuned thresholds that do not count, and tell the log."""
    if not (told := stale(config, embedder)):
        return config
    source = config.sources.get("tuned.encoder")
    logger.warning("%s%s; %s", f"{source.file}:{source.line}: " if source else "", told, ADVICE)
    return msgspec.structs.replace(config, tuned=Tuned())
