"""Threads are started for the cores that a container may use, not for those of its machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from semroute.cpus import usable_cores


@pytest.fixture(autouse=True)
def _sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


def system(folder: Path, own: str, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        (folder / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "groups" / name).write_text(text, "utf-8")
    (folder / "own").write_text(own, "utf-8")
    return folder / "groups", folder / "own"


V1 = "9:name=systemd:/a\n4:memory:/a/b\n1:cpu,cpuacct:/a/b\n"


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "10000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 16),
        ("0::/\n", {"cpu.max": "9900000 100000\n"}, 16),
        ("0::/pods/one\n", {"pods/cpu.max": "300000 100000\n", "pods/one/cpu.max": "max 100000\n"}, 3),
        ("0::/machine/sees/this\n", {"cpu.max": "400000 100000\n"}, 4),
        (V1, {"cpu/a/b/cpu.cfs_quota_us": "250000\n", "cpu/a/b/cpu.cfs_period_us": "100000\n"}, 3),
        (V1, {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "50000\n"}, 1),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
        (V1, {"memory/a/b/cpu.cfs_quota_us": "100000\n"}, 16),
        ("0::/\n", {"cpu.max": "what is this\n"}, 16),
        ("", {}, 16),
    ],
)
def test_the_smallest_quota_of_the_groups_counts(tmp_path: Path, own: str, files: dict[str, str], cores: int) -> None:
    assert usable_cores(*system(tmp_path, own, files)) == cores


def test_without_control_groups_all_that_the_process_is_bound_to(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "none", tmp_path / "nothing") == 16


def test_this_machine_has_at_least_one() -> None:
    assert usable_cores() >= 1
