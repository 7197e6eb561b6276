"""The features of recent prompts, so that a repeated prompt is not embedded again."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from semroute.semantic.embedder import Embedder, Features


class RecentFeatures:
    """What an embedder said of the texts asked for last. Safe to call from several threads.

    - `size`: how many texts are kept, the least recently asked for dropped first; 0 keeps none. One takes about 2 KB
      with the embedded model: its vector and its tokens, under a digest of the text, which itself is not kept.
    """

    def __init__(self, embedder: Embedder, size: int) -> None:
        self.embedder = embedder
        self.size = size
        self._kept: OrderedDict[bytes, Features] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def featurize(self, text: str) -> Features:
        """The features of one text: vectors (1, dim), not to be written to."""
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        with self._lock:
            features = self._kept.get(key)
            if features is not None:
                self._kept.move_to_end(key)
                return features
        features = self.embedder.featurize([text])
        features.vectors.flags.writeable = False
        with self._lock:
            self._kept[key] = features
            while len(self._kept) > self.size:
                self._kept.popitem(last=False)
        return features
