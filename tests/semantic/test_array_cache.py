from __future__ import annotations

import logging
import os
import stat
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from semroute.semantic.array_cache import KEPT, Cache, default_folder

KEY = "0123456789abcdef"
ARRAYS = {"vectors": np.arange(12, dtype=np.float32).reshape(3, 4), "counts": np.array([1, 2])}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "made" / "when" / "needed")


def entry(cache: Cache) -> Path:
    (path,) = cache._folder.iterdir()
    return path


def test_what_is_written_is_read(cache: Cache) -> None:
    assert cache.read(KEY) is None
    cache.write(KEY, ARRAYS)
    read = cache.read(KEY)
    assert read is not None
    assert read.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype


def test_reading_takes_little_memory_beside_the_arrays(cache: Cache) -> None:
    large = {"vectors": np.ones((4096, 256), np.float32)}
    cache.write(KEY, large)
    tracemalloc.start()
    try:
        read = cache.read(KEY)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read is not None
    assert peak < large["vectors"].nbytes * 3 / 2


def test_writing_leaves_only_the_entry(cache: Cache) -> None:
    cache.write(KEY, ARRAYS)
    cache.write(KEY, ARRAYS)
    assert entry(cache).name.startswith(KEY)


@pytest.mark.parametrize("kept", [0, 1, 20, 90, -1])
def test_a_file_that_was_cut_off_is_not_used(cache: Cache, kept: int) -> None:
    cache.write(KEY, ARRAYS)
    path = entry(cache)
    path.write_bytes(path.read_bytes()[:kept])
    assert cache.read(KEY) is None
    cache.write(KEY, ARRAYS)
    assert cache.read(KEY) is not None


def test_a_flipped_bit_anywhere_is_noticed(cache: Cache) -> None:
    cache.write(KEY, ARRAYS)
    path = entry(cache)
    whole = path.read_bytes()
    for place in range(0, len(whole), 37):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert cache.read(KEY) is None


def test_an_entry_under_another_name_is_not_used(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    cache.write(KEY, ARRAYS)
    path = entry(cache)
    path.rename(path.with_name(path.name.replace(KEY, "f" * 16)))
    assert cache.read("f" * 16) is None
    assert "another entry" in caplog.text


def test_pickles_are_neither_written_nor_read(cache: Cache, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        cache.write(KEY, {"objects": np.array([{}], dtype=object)})
    assert cache.read(KEY) is None


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_folder_that_cannot_be_written_costs_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("not a folder")
    cache = Cache(tmp_path / "file" / "cache")
    with caplog.at_level(logging.WARNING):
        cache.write(KEY, ARRAYS)
    assert cache.read(KEY) is None
    assert len(caplog.records) == 1


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read everything")
def test_an_entry_that_may_not_be_read_is_passed_over(cache: Cache) -> None:
    cache.write(KEY, ARRAYS)
    entry(cache).chmod(stat.S_IWUSR)
    assert cache.read(KEY) is None


def test_the_longest_unused_entries_go(cache: Cache) -> None:
    for number in range(KEPT):
        cache.write(f"{number:016x}", ARRAYS)
        os.utime(cache._path(f"{number:016x}"), (number, number))
    assert cache.read(f"{0:016x}") is not None  # used now
    cache.write(KEY, ARRAYS)
    assert len(list(cache._folder.iterdir())) == KEPT
    assert cache.read(f"{0:016x}") is not None
    assert cache.read(f"{1:016x}") is None


def test_the_folder_is_that_of_the_environment() -> None:
    assert default_folder({"SEMROUTE_CACHE_DIR": "/somewhere"}) == Path("/somewhere")
    assert default_folder({}).name in ("semroute", "Cache")


@pytest.mark.skipif(sys.platform != "linux", reason="XDG")
def test_the_folder_follows_xdg() -> None:
    assert default_folder({"XDG_CACHE_HOME": "/x"}) == Path("/x/semroute")
