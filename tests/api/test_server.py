"""What a worker finds where it starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from semroute.api import server
from semroute.settings import MULTIPROCESS, Settings


def counts_with_the_others(monkeypatch: pytest.MonkeyPatch, folder: Path) -> bool:
    monkeypatch.setenv(MULTIPROCESS, str(folder))
    server._find_room_for_metrics(Settings())
    return MULTIPROCESS in os.environ


def test_the_folder_of_the_counts_is_made_again_where_somebody_cleaned_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert counts_with_the_others(monkeypatch, tmp_path / "gone")
    assert (tmp_path / "gone").is_dir()


def test_on_a_full_disk_a_worker_counts_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "METRICS_BYTES", 2**60)
    assert not counts_with_the_others(monkeypatch, tmp_path)
    assert "does not add up this worker" in caplog.text


def test_a_folder_that_cannot_be_made_does_not_keep_it_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    assert not counts_with_the_others(monkeypatch, tmp_path / "file" / "folder")
    assert "Not a directory" in caplog.text
