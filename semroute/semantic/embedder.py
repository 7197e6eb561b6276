"""Texts to vectors: the `Embedder` seam, and behind it the model in the package, or one that fastembed runs.

The default model is inside the package (`bundled/`) and needs no network. Its int8 arithmetic scales activations by
ranges that were measured once, so a text has one vector, whatever else is embedded with it: an utterance sent as a
prompt is at cosine 1 from itself. Texts of like length share a call, which takes three quarters of the time.
"""

from __future__ import annotations

import hashlib
import math
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from tokenizers import Tokenizer

from semroute.errors import EmbedderError
from semroute.semantic.bundled_models import BUNDLED, DIM, KIND, OWN, folder_of, open_model, sha256, verify
from semroute.semantic.embedder_prefixes import prefixes_of
from semroute.semantic.truncation import bound_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

    from semroute.config.schema.matching import EmbedderSettings
    from semroute.semantic.named_models import NamedModel

    Vectors = NDArray[np.float32]

DEFAULT_MAX_TOKENS = 128

_CHARS_PER_TOKEN = 8  # of the head and of the tail; English averages 4 to 5 with its spaces
_COUNT_EXACT_CHARS = 4000  # longer texts are counted by sample
_COUNT_SAMPLES = 4
_TOGETHER = 8  # the most texts in a call; with 4 each takes as long, with 16 longer
_LONGER = 1.25  # how much longer than the shortest the longest text in a call may be: it sets the time of all
_PLAIN = re.compile(r"[\t\n\r -Z\\-~]*")  # ASCII without "[", which may begin a special token
_WORDS = re.compile(r"[a-z0-9]+|[^a-z0-9\s]")
_WORDS_KEPT = 2**14
_CLS, _SEP, _PAD = 101, 102, 0  # token ids with which the bundled model's texts begin, end and are padded
_FINGERPRINT_VERSION = 3  # raise it when bounding or pooling changes, so that trained heads are trained anew


class Features(NamedTuple):
    """The features by which texts are matched."""

    vectors: Vectors
    """float32 (n, dim), L2-normalised; (0, dim) for no texts."""
    tokens: list[list[int]]
    """The word-piece ids of that part of each text which is embedded, special tokens excluded."""


class Embedder(Protocol):
    """Turns texts into unit vectors. Safe to call from several threads."""

    @property
    def name(self) -> str:
        """The model, as `embedder: {model: …}` names it."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change when vectors may: model, tokenizer, pooling, `max_tokens` or prefixes."""

    def featurize(self, texts: Sequence[str], *, passages: bool = False) -> Features:
        """Embed texts, in order, and give their word pieces. `passages`: they are utterances, not prompts."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of `featurize` alone: float32 (n, dim), L2-normalised."""

    def count_tokens(self, text: str) -> int:
        """Count a text's tokens, special ones excluded; a close estimate when the text is long."""

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Give each text's word-piece ids, of that part which is embedded, special tokens excluded."""


def open_embedder(settings: EmbedderSettings) -> Embedder:
    """Load the embedder that the route files ask for. Raises `EmbedderError`."""
    return OnnxEmbedder(
        settings.model,
        max_tokens=settings.max_tokens,
        threads=settings.threads or 1,
        cache_dir=settings.cache_dir,
        query_prefix=settings.query_prefix,
        passage_prefix=settings.passage_prefix,
    )


class OnnxEmbedder:
    """An `Embedder` on onnxruntime: one of our own models, or any model that fastembed lists, downloads and runs.

    - `model`: `bundled`, `bundled-2026-11`, or a name that `fastembed.TextEmbedding.list_supported_models()` gives
    - `max_tokens`: most tokens of a text that are embedded, special ones included; a longer text is its head and tail
    - `threads`: threads one call may use; None leaves it to onnxruntime (every core)
    - `cache_dir`: where fastembed keeps downloaded models, and where the folder `bundled-2026-11` lies; None leaves it
      to fastembed; unused by the bundled model
    - `bundled_dir`: where the bundled model lies; None: where it should
    - `query_prefix`, `passage_prefix`: what prompts and utterances begin with. None: as the model's family needs it

    Raises `EmbedderError` if a bundled file is missing or is not the one shipped, if the model's name is unknown, if
    the model is neither cached nor downloadable, or if `max_tokens` is out of the model's range.
    """

    def __init__(
        self,
        model: str = BUNDLED,
        *,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        threads: int | None = None,
        cache_dir: str | Path | None = None,
        bundled_dir: Path | None = None,
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
    ) -> None:
        self.name = model
        self._max_tokens = max_tokens
        self._prefixes = prefixes_of(model, query_prefix, passage_prefix)
        self._session: InferenceSession | None = None
        self._named: NamedModel | None = None
        if model in OWN:
            folder = bundled_dir or folder_of(model, cache_dir)
            hashes, kind, self.dim = verify(folder), KIND, DIM
            self._session, tokenizer, limit = open_model(folder, threads)
        else:
            from semroute.semantic.named_models import load_named  # it imports fastembed

            named = self._named = load_named(model, max_tokens, threads, cache_dir, BUNDLED)
            hashes, kind, self.dim = {file.name: sha256(file) for file in named.files}, named.kind, named.dim
            tokenizer, limit = named.tokenizer, named.limit
        self._set_tokenizer(tokenizer, limit)
        prefixes = [tuple(self._prefixes)] if any(self._prefixes) else []
        traits = [_FINGERPRINT_VERSION, kind, max_tokens, *sorted(hashes.items()), *prefixes]
        self.fingerprint = hashlib.sha256(repr(traits).encode()).hexdigest()[:16]

    def _set_tokenizer(self, tokenizer: Tokenizer, limit: int) -> None:
        """Let a tokenizer neither truncate nor pad. `limit`: the most tokens that the model takes."""
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        encode = tokenizer.encode
        prefix = self._prefixes.tokens(lambda text: len(encode(text, add_special_tokens=False).ids))
        around = tokenizer.num_special_tokens_to_add(False) + prefix
        if not around + 2 <= self._max_tokens <= limit:
            told = f"got {self._max_tokens}, expected {around + 2} to {limit}"
            raise EmbedderError(f"embedder {self.name}: max_tokens: {told}")
        self._pieces_of = lru_cache(_WORDS_KEPT)(lambda word: encode(word, add_special_tokens=False).ids)
        self._body_tokens = self._max_tokens - around
        self._tail_tokens = self._body_tokens // 2
        self._head_tokens = self._body_tokens - self._tail_tokens

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts, in order: float32 (n, dim), L2-normalised; (0, dim) for no texts."""
        return self.featurize(texts).vectors

    def featurize(self, texts: Sequence[str], *, passages: bool = False) -> Features:
        """Embed texts, in order, and give the word pieces of what is embedded, without those of a prefix.

        Of a text longer than `max_tokens` tokens, the first half and the last half of that number are embedded. The
        cost of a text does not grow with its length beyond that.

        Texts of like length share a call of the bundled model.
        """
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        prefix = self._prefixes.passage if passages else self._prefixes.query
        if self._session is not None:
            ids = self.tokens(texts)
            whole = [self._prefixed(prefix, text) for text in texts] if prefix else ids
            for rows in [[0]] if len(ids) == 1 else _of_like_length(whole):
                vectors[rows] = _pooled(self._session, [whole[row] for row in rows])
            return Features(vectors, ids)
        assert self._named is not None
        bounded = [self._bound(self._window(text)) for text in texts]
        for row, part in enumerate(bounded):
            vectors[row] = next(iter(self._named.model.embed([prefix + part.text])))
        return Features(_normalise(vectors), [part.ids for part in bounded])

    def count_tokens(self, text: str) -> int:
        """Count a text's tokens, special ones excluded: exact up to 4,000 characters, else from 4 samples of 1,000."""
        if len(text) <= _COUNT_EXACT_CHARS:
            return len(self._tokenizer.encode(_encodable(text), add_special_tokens=False).ids)
        size = _COUNT_EXACT_CHARS // _COUNT_SAMPLES
        step = (len(text) - size) // (_COUNT_SAMPLES - 1)
        samples = [_encodable(text[start : start + size]) for start in range(0, step * _COUNT_SAMPLES, step)]
        counted = sum(len(encoding.ids) for encoding in self._tokenizer.encode_batch(samples, add_special_tokens=False))
        return round(counted * len(text) / _COUNT_EXACT_CHARS)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Give each text's word-piece ids, of the head and tail that are embedded, special tokens excluded."""
        return [self._pieces(self._window(text)) for text in texts]

    def _window(self, text: str) -> str:
        """Cut a long text by characters first, so that little of it is tokenised."""
        return bound_text(text, side) if len(text) > 2 * (side := _CHARS_PER_TOKEN * self._max_tokens // 2) else text

    def _pieces(self, window: str) -> list[int]:
        """The ids of `_bound`. The bundled tokenizer splits plain text into words first, and many were seen before."""
        if self._session is None or _PLAIN.fullmatch(window) is None:
            return self._bound(window).ids
        ids = [piece for word in _WORDS.findall(window.lower()) for piece in self._pieces_of(word)]
        return ids if len(ids) <= self._body_tokens else self._ends(ids)

    def _prefixed(self, prefix: str, text: str) -> list[int]:
        """The word pieces of a prefix and a text."""
        part = self._bound(self._window(text)).text
        return self._tokenizer.encode(prefix + part, add_special_tokens=False).ids[: self._max_tokens - 2]

    def _ends(self, ids: list[int]) -> list[int]:
        return ids[: self._head_tokens] + ids[-self._tail_tokens :]

    def _bound(self, window: str) -> Bounded:
        """Cut a text's window to what is embedded."""
        window = _encodable(window)
        encoding = self._tokenizer.encode(window, add_special_tokens=False)
        ids: list[int] = encoding.ids
        if len(ids) <= self._body_tokens:
            return Bounded(ids, window)
        head, tail = encoding.offsets[self._head_tokens - 1], encoding.offsets[-self._tail_tokens]
        ends = window[: head[1]], window[tail[0] :]
        return Bounded(self._ends(ids), " ".join(ends))


def _of_like_length(ids: Sequence[list[int]]) -> Iterator[list[int]]:
    """The rows of texts that share a call, shorter ones first."""
    together: list[int] = []
    for row in sorted(range(len(ids)), key=lambda row: len(ids[row])):
        if together and (len(together) == _TOGETHER or len(ids[row]) > _LONGER * len(ids[together[0]]) + 1):
            yield together
            together = []
        together.append(row)
    if together:
        yield together


def _pooled(session: InferenceSession, ids: Sequence[list[int]]) -> Vectors:
    """Embed texts with the bundled model: the directions of the means over their tokens, float32 (n, dim)."""
    longest = max(map(len, ids))
    padded = np.array([[_CLS, *own, _SEP, *[_PAD] * (longest - len(own))] for own in ids], np.int64)
    mask = np.ones_like(padded)
    for place, own in zip(mask, ids, strict=True):
        if len(own) < longest:
            place[len(own) + 2 :] = 0
    inputs = {"input_ids": padded, "attention_mask": mask, "token_type_ids": np.zeros_like(padded)}
    states = session.run(None, inputs)[0]
    totals = np.empty((len(ids), states.shape[2]), np.float32)
    for total, own, tokens in zip(totals, states, ids, strict=True):
        # The graph could do this faster, but there the order of a sum depends on the longest text of the call.
        np.add.reduce(own[: len(tokens) + 2], axis=0, out=total)
        total /= math.sqrt(total @ total)
    return totals


class Bounded(NamedTuple):
    """The part of a text that is embedded."""

    ids: list[int]
    """Its token ids, special ones excluded."""
    text: str
    """The same as text: the head's characters, a space, the tail's."""


def _encodable(text: str) -> str:
    """Drop lone surrogates, which have no UTF-8 and which the tokenizer refuses."""
    return text if text.isascii() else text.encode("utf-8", "ignore").decode("utf-8")


def _normalise(vectors: Vectors) -> Vectors:
    """Scale rows to unit length; a row of zeros stays one."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    unit: Vectors = vectors / np.maximum(lengths, 1e-12)[:, None]
    return unit
