"""The file of the learned gain, beside the route files. It holds plain arrays, so reading it cannot run code.

The file is a NumPy archive (`.npz`, read with `allow_pickle=False`). It holds its own SHA-256 and the fingerprint of
its embedder. A file that was changed, or that belongs to another embedder, is not used.
"""

from __future__ import annotations

import hashlib
import io
import logging
import tempfile
import zipfile
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from semroute.config.config import Config
from semroute.config.folder import LEARNED
from semroute.errors import EmbedderError
from semroute.routing.learned_gain import SHAPE, Calibration, Gain
from semroute.semantic.embedder import Embedder

log = logging.getLogger("semroute.learned")

FILE = LEARNED
"""Its name in the routes folder."""
VERSION = 1
VIEWS = ("embedding", "words", "length")
_CHECKSUM = "sha256"


class GainHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The values of the file that are not arrays."""

    version: int
    encoder: str
    models: tuple[str, ...]
    base_quality: float
    vocabulary: tuple[str, ...]
    trustworthy: bool
    share_errors: dict[str, float] = {}


def save_gain(path: Path, gain: Gain) -> None:
    """Write what was learned, whole or not at all."""
    arrays = _arrays(gain)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays, **{_CHECKSUM: _digest(arrays)})
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(buffer.getvalue())
    Path(file.name).replace(path)


def load_gain(config: Config, embedder: Embedder, data: bytes | None = None) -> Gain | None:
    """Load what was learned for these routes. None: nothing, or nothing usable, and then the log says why.

    `data`: the file, where it has been read already.
    """
    path = Path(config.folder) / FILE
    if not config.folder or (data is None and not path.is_file()):
        return None
    try:
        gain = read_gain(path, data)
        if gain.encoder != embedder.fingerprint:
            raise EmbedderError(
                f"{path}: made with another embedded model ({gain.encoder}) than {embedder.name} "
                f"({embedder.fingerprint}), whose vectors mean something else"
            )
    except EmbedderError as error:
        log.warning("%s: the file is not used, and the stronger model comes first; run `semroute train` again", error)
        return None
    return gain


def read_gain(path: Path, data: bytes | None = None) -> Gain:
    """Read a file that `save_gain` wrote; `data`: its content, where it has been read already.

    Raises `EmbedderError` if it is another file, or was changed.
    """
    try:
        archive = np.load(io.BytesIO(path.read_bytes() if data is None else data), allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise EmbedderError(f"{path}: is not a NumPy archive (.npz)")
        arrays = {name: archive[name] for name in archive.files}
        checksum = arrays.pop(_CHECKSUM)
        if checksum.tobytes() != _digest(arrays).tobytes():
            raise EmbedderError(f"{path}: its checksum is wrong, so the file is damaged or was changed")
        head = msgspec.json.decode(arrays.pop("head").tobytes(), type=GainHeader)
        if head.version != VERSION or arrays["shape_mean"].shape != (len(SHAPE),):
            raise EmbedderError(f"{path}: was made by another version of semroute")
        return Gain(
            models=head.models,
            base_quality=head.base_quality,
            vocabulary=head.vocabulary,
            idf=arrays["idf"],
            shape_mean=arrays["shape_mean"],
            shape_scale=arrays["shape_scale"],
            weights={view: arrays[f"weights_{view}"] for view in VIEWS},
            bias=arrays["bias"],
            prototypes=arrays["prototypes"],
            priors=arrays["priors"],
            prior_weight=arrays["prior_weight"],
            calibration=Calibration(predicted=arrays["predicted"], quality=arrays["quality"]),
            encoder=head.encoder,
            trustworthy=head.trustworthy,
            share_errors=head.share_errors,
        )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, msgspec.DecodeError) as error:
        raise EmbedderError(f"{path}: is not a file that `semroute train` wrote: {error}") from None


def _arrays(gain: Gain) -> dict[str, NDArray[np.generic]]:
    head = GainHeader(
        version=VERSION,
        encoder=gain.encoder,
        models=gain.models,
        base_quality=gain.base_quality,
        vocabulary=gain.vocabulary,
        trustworthy=gain.trustworthy,
        share_errors=gain.share_errors,
    )
    return {
        "head": np.frombuffer(msgspec.json.encode(head), dtype=np.uint8),
        "idf": gain.idf,
        "shape_mean": gain.shape_mean,
        "shape_scale": gain.shape_scale,
        **{f"weights_{view}": gain.weights[view] for view in VIEWS},
        "bias": gain.bias,
        "prototypes": gain.prototypes,
        "priors": gain.priors,
        "prior_weight": gain.prior_weight,
        "predicted": gain.calibration.predicted,
        "quality": gain.calibration.quality,
    }


def _digest(arrays: dict[str, NDArray[np.generic]]) -> NDArray[np.uint8]:
    """Compute SHA-256 over names, types, shapes and contents."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
        digest.update(array.tobytes())
    return np.frombuffer(digest.digest(), dtype=np.uint8)
