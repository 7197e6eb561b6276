"""The files of a folder are read as they stood at one moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from semroute.config import folder as folder_module
from semroute.config.folder import LEARNED, TRIES, look, read_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("0")
    return tmp_path


def edit_amid_reading(monkeypatch: pytest.MonkeyPatch, folder: Path, times: int) -> None:
    """Somebody writes both files, whenever the first has been read."""
    read, edits = folder_module._read_file, iter(range(1, times + 1))

    def reading(path: Path) -> bytes:
        data = read(path)
        if path.name == "a.yaml" and (number := next(edits, None)) is not None:
            for name in ("a.yaml", "b.yaml"):
                (folder / name).write_text("1" * (number + 1))
        return data

    monkeypatch.setattr(folder_module, "_read_file", reading)


def test_files_that_are_written_meanwhile_are_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit_amid_reading(monkeypatch, folder, 2)
    pauses: list[float] = []
    found = read_files(folder, pauses.append)
    assert found.texts == {"a.yaml": b"111", "b.yaml": b"111"}
    assert found.seen == look(folder)
    assert len(pauses) == 2


def test_what_never_settles_is_known_to_be_old(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit_amid_reading(monkeypatch, folder, TRIES)
    found = read_files(folder, lambda _: None)
    assert found.seen != look(folder)  # so whoever watches the folder reads it once more


def test_the_content_is_that_of_every_file_and_the_version_that_of_the_route_files(folder: Path) -> None:
    before = read_files(folder)
    (folder / LEARNED).write_bytes(b"learned")
    learned = read_files(folder)
    assert (learned.version, learned.learned) == (before.version, b"learned")
    (folder / "a.yaml").write_text("1")
    edited = read_files(folder)
    (folder / "b.yaml").unlink()
    (folder / "b.yaml").mkdir()
    unreadable = read_files(folder)
    assert len({each.content for each in (before, learned, edited, unreadable)}) == 4
    assert len({each.version for each in (before, edited, unreadable)}) == 3
