"""The bundled model, models by name, and what happens where a model cannot be had."""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from hypothesis import given, settings
from hypothesis import strategies as st

from semroute.config.schema.matching import EmbedderSettings
from semroute.errors import EmbedderError
from semroute.semantic.bundled_models import BUNDLED_DIR, EARLIER, SUMS
from semroute.semantic.embedder import OnnxEmbedder, open_embedder
from semroute.semantic.embedder_prefixes import prefixes_of
from semroute.semantic.truncation import bound_text

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXTS = [
    "why was I charged twice this month",
    "I want my money back",
    "hi",
    "Explain the difference between a process and a thread, and when each is the better choice.",
    "def f(x): return x ** 2",
    "我想退款",
]
LONG = " ".join(f"paragraph {number} talks of harbours, ships and lighthouses." for number in range(2000))
WEIRD = {
    "empty": "",
    "blank": " \n\t " * 5000,
    "no spaces": "x" * 100_000,
    "emoji": "🎉" * 100_000,
    "null bytes": "\x00" * 100_000,
    "surrogates": "\ud83d" * 100_000,
    "one surrogate": "refund \udc00 please",
    "chinese": "我想退款请帮帮我" * 12_500,
    "combining": "e\u0301\u0323" * 33_000,
    "blank middle": "start" + " " * 100_000 + "end",
}
CACHED = "semroute-tests/cached"


@pytest.fixture(scope="module")
def embedder() -> OnnxEmbedder:
    return OnnxEmbedder(threads=1)


@pytest.fixture
def bundled_copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BUNDLED_DIR, tmp_path / "bundled"))


@pytest.fixture
def refused_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A hub address at which nothing listens."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield url


def test_vectors_are_float32_rows_of_unit_length(embedder: OnnxEmbedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dim) == (6, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_no_texts_give_no_rows(embedder: OnnxEmbedder) -> None:
    assert embedder.embed([]).shape == (0, 384)
    assert embedder.tokens([]) == []


def test_a_paraphrase_is_nearer_than_an_unrelated_text(embedder: OnnxEmbedder) -> None:
    prompt, paraphrase, unrelated = embedder.embed(
        ["how do I get a refund", "I want my money back", "what is the tallest mountain on Mars"]
    )
    assert prompt @ paraphrase > 0.5 > 0.2 > prompt @ unrelated


def test_a_vector_does_not_depend_on_the_texts_embedded_with_it(embedder: OnnxEmbedder) -> None:
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    np.testing.assert_array_equal(embedder.embed(TEXTS), alone)
    np.testing.assert_array_equal(embedder.embed(TEXTS[::-1]), alone[::-1])


def test_texts_of_many_lengths_share_calls_and_stay_in_order(embedder: OnnxEmbedder) -> None:
    words = "why was the card that I ordered for my daughter in spring never sent to our new house".split()
    texts = [" ".join(words[start : start + size]) for start in range(4) for size in range(1, 15)]
    alone = np.concatenate([embedder.embed([text]) for text in texts])
    np.testing.assert_array_equal(embedder.embed(texts), alone)


def test_threads_may_share_an_embedder(embedder: OnnxEmbedder) -> None:
    expected = embedder.embed(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(embedder.embed, [TEXTS] * 12):
            np.testing.assert_array_equal(vectors, expected)


def test_the_settings_of_the_route_files_are_obeyed(embedder: OnnxEmbedder) -> None:
    opened = open_embedder(EmbedderSettings(max_tokens=64))
    assert opened.fingerprint == OnnxEmbedder(max_tokens=64).fingerprint != embedder.fingerprint
    assert (opened.name, opened.dim) == ("bundled", 384)


def test_texts_begin_with_their_prefix(embedder: OnnxEmbedder) -> None:
    prefixed = OnnxEmbedder(query_prefix="query: ", passage_prefix="passage: ")
    text = "where is my parcel"
    for passages, prefix in ((False, "query: "), (True, "passage: ")):
        features = prefixed.featurize([text], passages=passages)
        np.testing.assert_allclose(features.vectors, embedder.embed([prefix + text]), atol=1e-5)
        assert features.tokens == embedder.tokens([text])  # what a prompt says, not what stands before it
    assert prefixed.fingerprint != embedder.fingerprint == OnnxEmbedder(query_prefix="").fingerprint
    opened = open_embedder(EmbedderSettings(query_prefix="query: "))
    np.testing.assert_array_equal(
        opened.featurize([text], passages=True).vectors, opened.featurize([text], passages=False).vectors
    )


def test_a_long_text_leaves_room_for_its_prefix() -> None:
    prefixed, plain = OnnxEmbedder(max_tokens=16, query_prefix="query: "), OnnxEmbedder(max_tokens=16)
    text = " ".join(f"word{number}" for number in range(40))
    assert [len(each.tokens([text])[0]) for each in (plain, prefixed)] == [14, 12]
    with pytest.raises(EmbedderError, match="max_tokens: got 8, expected 9 to"):
        OnnxEmbedder(max_tokens=8, query_prefix="a long prefix of words")


@pytest.mark.parametrize(
    ("model", "given", "expected"),
    [
        ("intfloat/multilingual-e5-large", (None, None), ("query: ", "query: ")),
        ("intfloat/e5-small-v2", (None, "passage: "), ("query: ", "passage: ")),
        ("intfloat/multilingual-e5-large", ("", None), ("", "")),
        ("nomic-ai/nomic-embed-text-v1.5-Q", (None, None), ("classification: ", "classification: ")),
        ("google/embeddinggemma-300m", (None, None), ("task: classification | query: ",) * 2),
        ("Qwen/Qwen3-Embedding-0.6B", (None, None), ("Instruct: Classify the intent of the request\nQuery:",) * 2),
        ("BAAI/bge-small-en-v1.5", (None, None), ("", "")),
        ("bundled", (None, None), ("", "")),
    ],
)
def test_model_families_have_their_prefixes(
    model: str, given: tuple[str | None, str | None], expected: tuple[str, str]
) -> None:
    assert prefixes_of(model, *given) == expected


def test_every_model_of_fastembed_that_wants_a_prefix_for_texts_of_one_kind_has_one() -> None:
    """The others want one where questions are compared with documents, says each one's card."""
    wanting = [
        entry["model"]
        for entry in TextEmbedding.list_supported_models()
        if re.search(r"documents: necessary|` for (queries|documents)", entry["description"])
        and not prefixes_of(entry["model"], None, None).query
    ]
    families = ("BAAI/bge-", "mixedbread-ai/", "snowflake/", "Qdrant/stella-")
    assert [model for model in wanting if not model.startswith(families)] == []


# --- bounding ---------------------------------------------------------------------------------------------------------


def test_a_short_text_is_not_cut() -> None:
    assert bound_text(" " * 50 + "short" + " " * 50, 10) == "short"


def test_a_long_text_keeps_its_head_and_tail_cut_at_white_space() -> None:
    text = "first words here and " + "filler " * 100 + "some last words"
    assert bound_text(text, 24) == "first words here and \n filler some last words"


def test_a_text_without_white_space_is_cut_where_it_must_be() -> None:
    text = "".join(chr(0x4E00 + number) for number in range(1000))
    assert bound_text(text, 50) == f"{text[:50]}\n{text[-50:]}"


@pytest.mark.parametrize("side_chars", [1, 2, 3, 10, 200])
@pytest.mark.parametrize("text", [LONG, *WEIRD.values()])
def test_a_bounded_text_is_never_longer_than_both_sides(text: str, side_chars: int) -> None:
    bounded = bound_text(text, side_chars)
    assert len(bounded) <= 2 * side_chars + 1


def test_a_cut_beside_white_space_drops_no_word() -> None:
    assert bound_text("one two " + "x" * 100 + " six ten", 7) == "one two\nsix ten"


def test_tokens_of_a_long_text_are_its_first_and_its_last(embedder: OnnxEmbedder) -> None:
    everything = embedder._tokenizer.encode(LONG, add_special_tokens=False).ids
    assert embedder.tokens([LONG]) == [everything[:63] + everything[-63:]]


@pytest.mark.parametrize("max_tokens", [4, 7, 32, 512])
def test_at_most_max_tokens_are_embedded(max_tokens: int) -> None:
    small = OnnxEmbedder(max_tokens=max_tokens, threads=1)
    (ids,) = small.tokens([LONG])
    assert len(ids) + 2 == max_tokens


def test_a_long_text_is_embedded_as_its_own_head_and_tail(embedder: OnnxEmbedder) -> None:
    middle_changed = LONG[:5000] + "an invoice was charged twice, " * 500 + LONG[-5000:]
    np.testing.assert_array_equal(embedder.embed([LONG]), embedder.embed([middle_changed]))
    assert embedder.embed([LONG])[0] @ embedder.embed([embedder._bound(embedder._window(LONG)).text])[0] > 0.999


@pytest.mark.parametrize("text", WEIRD.values(), ids=WEIRD.keys())
def test_any_text_has_a_vector(embedder: OnnxEmbedder, text: str) -> None:
    (vector,) = embedder.embed([text])
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert len(embedder.tokens([text])[0]) <= 126
    assert embedder.count_tokens(text) >= 0


@pytest.mark.parametrize(
    "text",
    [
        "Don't e-mail me@example.com, re: [SEP] (50% off!)\r\n\tTODAY_ONLY",
        "a\x0bb\x0cc\x1fd\x7fe",
        "naïve [CLS] straße",
        "antidisestablishmentarianism" * 8,
        "".join(map(chr, range(128))),
        *TEXTS,
    ],
)
def test_word_pieces_are_those_of_the_tokenizer(embedder: OnnxEmbedder, text: str) -> None:
    expected = embedder._tokenizer.encode(text, add_special_tokens=False).ids
    assert embedder.tokens([text, text]) == [expected, expected]


@settings(max_examples=500)
@given(text=st.text(st.characters(max_codepoint=127), max_size=60))
def test_word_pieces_of_plain_text_are_those_of_the_tokenizer(embedder: OnnxEmbedder, text: str) -> None:
    assert embedder.tokens([text]) == [embedder._tokenizer.encode(text, add_special_tokens=False).ids]


def test_a_lone_surrogate_is_ignored(embedder: OnnxEmbedder) -> None:
    assert embedder.tokens(["refund \udc00 please"]) == embedder.tokens(["refund please"])


def test_tokens_are_counted_exactly_while_few_and_closely_when_many(embedder: OnnxEmbedder) -> None:
    assert embedder.count_tokens("") == 0
    assert embedder.count_tokens("why was I charged twice?") == 6
    exact = len(embedder._tokenizer.encode(LONG, add_special_tokens=False).ids)
    assert embedder.count_tokens(LONG) == pytest.approx(exact, rel=0.05)


# --- identity and integrity -------------------------------------------------------------------------------------------


def test_the_fingerprint_is_stable_and_changes_with_max_tokens(embedder: OnnxEmbedder) -> None:
    assert OnnxEmbedder(threads=2).fingerprint == embedder.fingerprint
    assert OnnxEmbedder(max_tokens=64).fingerprint != embedder.fingerprint
    assert len(embedder.fingerprint) == 16


def test_the_fingerprint_changes_with_the_files(embedder: OnnxEmbedder, bundled_copy: Path) -> None:
    tokenizer = bundled_copy / "tokenizer_config.json"
    before = hashlib.sha256(tokenizer.read_bytes()).hexdigest()
    tokenizer.write_text(tokenizer.read_text() + "\n")
    sums = bundled_copy / SUMS
    sums.write_text(sums.read_text().replace(before, hashlib.sha256(tokenizer.read_bytes()).hexdigest()))
    assert OnnxEmbedder(bundled_dir=bundled_copy).fingerprint != embedder.fingerprint


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_an_altered_file_is_refused(bundled_copy: Path, name: str) -> None:
    data = bytearray((bundled_copy / name).read_bytes())
    expected = hashlib.sha256(data).hexdigest()
    data[len(data) // 2] ^= 1
    (bundled_copy / name).write_bytes(data)
    got = hashlib.sha256(data).hexdigest()
    with pytest.raises(EmbedderError, match=rf"{name}: got SHA-256 {got}, expected {expected}; reinstall semroute"):
        OnnxEmbedder(bundled_dir=bundled_copy)


@pytest.mark.parametrize("name", ["model.onnx", SUMS])
def test_a_missing_file_is_named(bundled_copy: Path, name: str) -> None:
    (bundled_copy / name).unlink()
    with pytest.raises(EmbedderError, match=f"{name}.*reinstall semroute"):
        OnnxEmbedder(bundled_dir=bundled_copy)


def test_an_unreadable_sums_file_is_refused(bundled_copy: Path) -> None:
    (bundled_copy / SUMS).write_text("nonsense\n")
    with pytest.raises(EmbedderError, match="reinstall semroute"):
        OnnxEmbedder(bundled_dir=bundled_copy)


def test_the_source_page_states_the_sums_of_the_shipped_files() -> None:
    page = (BUNDLED_DIR / "SOURCE.md").read_text()
    for line in (BUNDLED_DIR / SUMS).read_text().splitlines():
        digest, name = line.split()
        assert f"| `{name}` | `{digest}` |" in page
    digest = hashlib.sha256((BUNDLED_DIR / "LICENSE").read_bytes()).hexdigest()
    assert f"| `LICENSE` | `{digest}` |" in page


@pytest.mark.parametrize("max_tokens", [0, 3, 513])
def test_max_tokens_out_of_range_is_refused(max_tokens: int) -> None:
    with pytest.raises(EmbedderError, match=f"max_tokens: got {max_tokens}, expected 4 to 512"):
        OnnxEmbedder(max_tokens=max_tokens)


def test_the_bundled_model_loads_and_runs_without_fastembed_and_without_touching_the_network() -> None:
    script = (
        "import socket, sys\n"
        "def refuse(*args, **kwargs): raise SystemExit('the network was tried')\n"
        "socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse\n"
        "from semroute.semantic.embedder import OnnxEmbedder\n"
        "first, second = OnnxEmbedder(), OnnxEmbedder()\n"
        "print(first.embed(['hello']).shape, first.fingerprint == second.fingerprint, 'fastembed' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "(1, 384) True False"), done.stderr


# --- the model that was in the package before ------------------------------------------------------------------------


def test_the_earlier_model_is_read_from_its_folder(embedder: OnnxEmbedder, tmp_path: Path) -> None:
    """The files stand in for the earlier ones. What was made with a model fits the same files under any name."""
    shutil.copytree(BUNDLED_DIR, tmp_path / EARLIER)
    opened = open_embedder(EmbedderSettings(model=EARLIER, cache_dir=str(tmp_path)))
    assert (opened.name, opened.dim, opened.fingerprint) == (EARLIER, 384, embedder.fingerprint)
    np.testing.assert_array_equal(opened.embed(TEXTS), embedder.embed(TEXTS))
    (tmp_path / EARLIER / "config.json").write_text("{}")
    with pytest.raises(EmbedderError, match=r"config\.json: got SHA-256 .*; copy the folder again"):
        open_embedder(EmbedderSettings(model=EARLIER, cache_dir=str(tmp_path)))


def test_an_earlier_model_that_is_not_there_says_where_it_belongs(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match=r"no longer in the package, and `embedder: \{cache_dir: …\}` is not set"):
        open_embedder(EmbedderSettings(model=EARLIER))
    with pytest.raises(EmbedderError, match=f"{tmp_path / EARLIER / SUMS}: no such file") as caught:
        open_embedder(EmbedderSettings(model=EARLIER, cache_dir=str(tmp_path)))
    assert "docs/pages/routes.md#keep-the-earlier-model" in str(caught.value)


# --- models by name ---------------------------------------------------------------------------------------------------


def test_an_unknown_name_lists_close_ones() -> None:
    with pytest.raises(EmbedderError, match=r"got model 'bge-small-en-v1\.6', expected .*BAAI/bge-small-en-v1\.5"):
        OnnxEmbedder("bge-small-en-v1.6")


def test_a_model_that_cannot_be_downloaded_says_what_to_do(
    refused_hub: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(EmbedderError) as caught:
        OnnxEmbedder("BAAI/bge-small-en-v1.5", cache_dir=tmp_path)
    message = str(caught.value)
    assert "`embedder: {model: bundled}`" in message
    assert "`embedder: {cache_dir: …}`" in message
    assert refused_hub in message
    assert str(tmp_path) in message
    assert capfd.readouterr().err == ""


def test_offline_mode_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EmbedderError, match="HF_HUB_OFFLINE is set"):
        OnnxEmbedder("BAAI/bge-small-en-v1.5", cache_dir=tmp_path)


def test_a_model_in_the_cache_folder_needs_no_network(refused_hub: str, tmp_path: Path, embedder: OnnxEmbedder) -> None:
    """The cache holds the bundled model's files under another name, laid out as the hub's client lays them out."""
    if not any(known["model"] == CACHED for known in TextEmbedding.list_supported_models()):
        TextEmbedding.add_custom_model(
            CACHED, PoolingType.MEAN, True, ModelSource(hf=CACHED), dim=384, model_file="model.onnx"
        )
    repo = tmp_path / f"models--{CACHED.replace('/', '--')}"
    snapshot = repo / "snapshots" / ("0" * 40)
    shutil.copytree(BUNDLED_DIR, snapshot)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("0" * 40)
    cached = OnnxEmbedder(CACHED, cache_dir=tmp_path, threads=1)
    assert cached.name == CACHED
    assert cached.fingerprint != embedder.fingerprint
    np.testing.assert_allclose(cached.embed(TEXTS), embedder.embed(TEXTS), atol=1e-5)
    assert cached.embed([LONG])[0] @ embedder.embed([LONG])[0] > 0.97
    assert cached.tokens([LONG]) == embedder.tokens([LONG])
    assert list(tmp_path.iterdir()) == [repo]
