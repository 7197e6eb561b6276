"""The features of recent prompts, so that a repeated prompt is not embedded again."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from semroute.semantic.embedder import Embedder, Features


class RecentFeatures:
    """Keeps the features of recent texts. Safe to call from several threads.

    `size`: how many texts are kept. The least recently used ones are dropped first. 0 keeps none. With the embedded
    model one text takes about 2 KB: its vector and its tokens, under a digest of the text. The text itself is not kept.
    """

    def __init__(self, embedder: Embedder, size: int) -> None:
        self.embedder = embedder
        self.size = size
        self._kept: OrderedDict[bytes, Features] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def featurize(self, texts: Sequence[str]) -> list[Features]:
        """Return the features of each text: vectors (1, dim). Do not write to them."""
        keys = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts]
        with self._lock:
            known = {key: self._kept[key] for key in keys if key in self._kept}
            for key in known:
                self._kept.move_to_end(key)
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            vectors, tokens = self.embedder.featurize([*new.values()])
            vectors.flags.writeable = False
            made = {key: Features(vectors[row : row + 1], tokens[row : row + 1]) for row, key in enumerate(new)}
            with self._lock:
                self._kept.update(made)
                while len(self._kept) > self.size:
                    self._kept.popitem(last=False)
            known |= made
        return [known[key] for key in keys]


def join(each: Sequence[Features]) -> Features:
    """Return the features of several texts as one."""
    return Features(np.concatenate([one.vectors for one in each]), [ids for one in each for ids in one.tokens])
