"""Files that commands write are whole, or they stay as they were."""

from __future__ import annotations

import errno
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from semroute.cli.output import write_whole
from tests.learning.logs import write_folder

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_file_is_written_and_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "swept.yaml"
    write_whole(file, "a: 1\n")
    file.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    write_whole(link, "a: 2\n")
    assert file.read_text() == "a: 2\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.yaml", "swept.yaml"]
    assert link.is_symlink()


def test_on_a_full_disk_the_old_content_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_half(path: Path, text: str, encoding: str) -> int:
        path.write_bytes(text.encode(encoding)[: len(text) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "swept.yaml"
    file.write_text("swept: {moderate_from: 0.3}\n")
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left") as raised:
        patched.setattr(Path, "write_text", write_half)
        write_whole(file, "swept: {moderate_from: 0.4}\n")
    assert raised.value.filename == str(file)
    assert file.read_text() == "swept: {moderate_from: 0.3}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["swept.yaml"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_page_that_cannot_be_written_loses_no_figures(semroute: Run, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.touch()
    done = semroute("replay", log, "--routes", write_folder(tmp_path / "routes"), "--html", "/dev/full", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["rows"] == 0
    assert done.stderr == "/dev/full: No space left on device\n"
