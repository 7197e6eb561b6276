"""Find the folders that route files name as arms of experiments, before the files are checked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from semroute.config.yaml_documents import parse


def arm_folders(texts: Mapping[str, bytes], environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the folders as they are written, each once. `texts`: the route files by name."""
    found: dict[str, None] = {}
    for name, data in texts.items():
        if b"experiments" in data and b"folder" in data:  # others need not be read here
            found |= dict.fromkeys(_folders(parse(name, data, environ).value))
    return tuple(found)


def _folders(document: Mapping[str, object]) -> Iterator[str]:
    for experiment in _values(document.get("experiments")):
        arms = experiment.get("arms") if isinstance(experiment, dict) else None
        for arm in _values(arms):
            if isinstance(arm, dict) and isinstance(folder := arm.get("folder"), str):
                yield folder


def _values(mapping: object) -> list[object]:
    return list(mapping.values()) if isinstance(mapping, dict) else []
