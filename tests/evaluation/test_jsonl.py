from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from semroute.config.schema.models import Model
from semroute.errors import RequestError
from semroute.evaluation.baseline_savings import Logged, read_log
from semroute.evaluation.gain_training import read_labels
from semroute.evaluation.measure import Row, read_rows

MODELS = {name: Model(id=name, provider="p", name=name) for name in ("small", "large")}
LABEL = b'{"prompt": "x", "winner": "large", "loser": "small"}'
READERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: read_rows(path, ["a"]),
    "prompt": read_log,
    "winner": lambda path: read_labels(path, MODELS),
}


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"text": "x", "route": "a"}\r\n\n')
    assert read_rows(file, ["a"]) == [Row(text="x", route="a")]
    file.write_bytes(b'\xef\xbb\xbf{"prompt": "x", "output_tokens": 1}')
    assert read_log(file) == [Logged(prompt="x", output_tokens=1)]
    file.write_bytes(b"\xef\xbb\xbf" + b"\n".join([LABEL] * 50))
    assert len(read_labels(file, MODELS)) == 50


@pytest.mark.parametrize("key", READERS)
def test_what_is_no_utf_8_is_told_with_its_line(tmp_path: Path, key: str) -> None:
    file = tmp_path / "some.jsonl"
    file.write_bytes(b'\n{"%s": "\xff"}\n' % key.encode())
    with pytest.raises(RequestError, match=r"some\.jsonl:2: got text that is not UTF-8 at byte \d+; expected \{"):
        READERS[key](file)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}", "2: $: `text` is missing, expected a string; expected {"),
        ('{"text": 3, "route": null}', "2: $.text: got 3, expected a string (quote it); expected {"),
        ("[]", "2: $: got an empty list, expected a mapping with keys such as `text` and `route`; expected {"),
        ("{no", "2: got text that is not JSON at byte 1; expected {"),
        ('{"text": "', "2: got no complete JSON; expected {"),
        ("[" * 100_000, "2: got JSON that is nested too deeply; expected {"),
    ],
    ids=lambda text: text[:20],
)
def test_a_line_that_is_no_row_is_told_in_our_words(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "some.jsonl"
    file.write_text(f"\n{line}\n")
    with pytest.raises(RequestError) as caught:
        read_rows(file, ["a"])
    assert message in str(caught.value)
