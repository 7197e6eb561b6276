"""Read the vectors that the decision log keeps."""

from __future__ import annotations

import math

import numpy as np

from semroute.routing.scoring import Floats


def unit_vector(embedding: bytes) -> Floats | None:
    """Float16, little-endian -> float32 (dim,), L2-normalised. None: there is no vector, or it is damaged."""
    if not embedding or len(embedding) % 2:
        return None
    vector = np.frombuffer(embedding, "<f2").astype(np.float32)
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if math.isfinite(length) and length > 0 else None
