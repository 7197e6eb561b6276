"""The models that semroute made itself: the one in the package, and the earlier one that can be kept in a folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from onnxruntime import InferenceSession, SessionOptions
from tokenizers import Tokenizer

from semroute.errors import EmbedderError

BUNDLED = "bundled"
BUNDLED_DIR = Path(__file__).parent / "bundled"
EARLIER = "bundled-2026-11"
"""The model that was in the package until November 2026. It is no longer shipped, and can be used until December 2027.
"""
OWN = (BUNDLED, EARLIER)
SUMS = "sha256sums.txt"
DIM = 384
KIND = "CustomTextEmbedding"
"""A part of the fingerprint under which vectors are shipped."""


def folder_of(model: str, cache_dir: str | Path | None) -> Path:
    """Return the folder of one of our models. Raises `EmbedderError` if the earlier one is not where it should be."""
    if model == BUNDLED:
        return BUNDLED_DIR
    folder = Path(cache_dir or ".") / model
    if cache_dir is None or not (folder / SUMS).is_file():
        where = "`embedder: {cache_dir: …}` is not set" if cache_dir is None else f"{folder / SUMS}: no such file"
        raise EmbedderError(
            f"embedder {model}: this model is no longer in the package, and {where}; put its files into a folder "
            f"{model}, and let `cache_dir` name the folder around it, or use `model: {BUNDLED}` "
            "(docs/pages/routes.md#keep-the-earlier-model)"
        )
    return folder


def verify(folder: Path) -> dict[str, str]:
    """Check a model's files against their SHA-256 sums, and give the sums by file name.

    Raises `EmbedderError` that names a file which is missing, or is not the one that was shipped.
    """
    advice = "copy the folder again" if folder.name == EARLIER else "reinstall semroute"
    try:
        stated = [line.split() for line in (folder / SUMS).read_text(encoding="utf-8").splitlines() if line.strip()]
        sums = {name: digest for digest, name in stated}
        for name, expected in sums.items():
            got = sha256(folder / name)
            if got != expected:
                raise EmbedderError(f"{folder / name}: got SHA-256 {got}, expected {expected}; {advice}")
    except (OSError, ValueError) as error:
        raise EmbedderError(f"embedding model in {folder}: {error}; {advice}") from error
    return sums


def open_model(folder: Path, threads: int | None) -> tuple[InferenceSession, Tokenizer, int]:
    """Load one of our models: its session, its tokenizer and the most tokens of a text that it takes.

    `threads`: how many a call may use. None: as onnxruntime likes. Nothing is downloaded or written.
    """
    options = SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = threads
    session = InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    limit = int(json.loads((folder / "tokenizer_config.json").read_text("utf-8"))["model_max_length"])
    return session, tokenizer, limit


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
