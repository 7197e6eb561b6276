"""Models by name: fastembed lists, downloads and runs them.

Importing fastembed takes a fifth of a second and 20 MB. The bundled model needs none of it, so `embedder.py` imports
this module only for another model.
"""

from __future__ import annotations

import difflib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fastembed import TextEmbedding
from loguru import logger as fastembed_logger
from tokenizers import Tokenizer

from semroute.errors import EmbedderError

PROBE_TIMEOUT_S = 5.0


class NamedModel(NamedTuple):
    """A model that fastembed has loaded."""

    model: TextEmbedding
    tokenizer: Tokenizer
    """A copy of the one that fastembed runs."""
    limit: int
    """The most tokens of a text that the model takes."""
    dim: int
    kind: str
    """The name of fastembed's class for the architecture."""
    files: list[Path]
    """The files that its vectors depend on, as far as they exist."""


def load_named(
    model: str, max_tokens: int, threads: int | None, cache_dir: str | Path | None, other: str
) -> NamedModel:
    """Load a model from fastembed's cache, or else download it. `other`: the model that an error suggests instead.

    Raises `EmbedderError` if the name is unknown, or if the model is neither cached nor downloadable.
    """
    description = _describe(model, other)
    loaded = _load(model, description, threads, cache_dir, other)
    inner: Any = loaded.model  # a class per architecture; their common base knows no tokenizer
    tokenizer: Tokenizer = inner.tokenizer
    copy = Tokenizer.from_str(tokenizer.to_str())
    limit = int((tokenizer.truncation or {}).get("max_length", max_tokens))
    tokenizer.enable_truncation(max_length=min(max_tokens, limit))
    folder = Path(inner._model_dir)  # fastembed has no public name for it
    names = [description["model_file"], *description["additional_files"], "tokenizer.json"]
    files = [folder / name for name in names if (folder / name).is_file()]
    return NamedModel(loaded, copy, limit, int(description["dim"]), type(inner).__name__, files)


def _describe(model: str, other: str) -> dict[str, Any]:
    """Find a model in fastembed's list; an unknown name is an error that lists the close ones."""
    known = {entry["model"]: entry for entry in TextEmbedding.list_supported_models()}
    by_case = {name.lower(): name for name in known}
    if model.lower() in by_case:
        return known[by_case[model.lower()]]
    short = {name.rpartition("/")[2]: by_case[name] for name in by_case}
    wanted = model.lower()
    close = [by_case[name] for name in difflib.get_close_matches(wanted, by_case, n=5, cutoff=0.5)]
    close += [short[name] for name in difflib.get_close_matches(wanted.rpartition("/")[2], short, n=5, cutoff=0.6)]
    names = ", ".join(dict.fromkeys([other, *close]))
    raise EmbedderError(f"embedder: got model {model!r}, expected a name fastembed supports, such as {names}")


def _load(
    model: str, description: dict[str, Any], threads: int | None, cache_dir: str | Path | None, other: str
) -> TextEmbedding:
    where = str(cache_dir) if cache_dir is not None else None
    try:
        with _quiet_fastembed():
            return TextEmbedding(model, cache_dir=where, threads=threads, local_files_only=True)
    except (OSError, ValueError):
        pass  # not cached: download it
    reason = _unreachable(description["sources"])
    if reason is None:
        try:
            return TextEmbedding(model, cache_dir=where, threads=threads)
        except (OSError, ValueError) as error:
            reason = str(error)
    raise EmbedderError(
        f"embedder: model {model!r} is not in the cache ({where or 'fastembed default'}) and cannot be downloaded "
        f"({reason}); set `embedder: {{model: {other}}}`, which needs no network, or download the model on a "
        "connected machine, copy its cache folder here and set `embedder: {cache_dir: …}`"
    )


def _unreachable(sources: dict[str, Any]) -> str | None:
    """Say why a model cannot be downloaded, within seconds: fastembed itself tries for most of a minute."""
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    if os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in {"1", "TRUE", "YES", "ON"}:
        return "HF_HUB_OFFLINE is set"
    url = f"{hub}/api/models/{sources['hf']}" if sources.get("hf") else str(sources["url"])
    try:
        with urllib.request.urlopen(url, timeout=PROBE_TIMEOUT_S):
            return None
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{url}: {error}"


@contextmanager
def _quiet_fastembed() -> Iterator[None]:
    """Silence fastembed's log while it looks into its cache: a model that is not there yet is no error."""
    fastembed_logger.disable("fastembed")
    try:
        yield
    finally:
        fastembed_logger.enable("fastembed")
