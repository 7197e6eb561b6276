"""Count the cores that this process may use. In a container these are often fewer than the machine has.

loky 3.7 looks at the top control group alone, so it misses the quota that systemd sets for a service; its import takes
200 ms (2026-11-30, `bench/libraries.py cores`). Python's `os.process_cpu_count` reads no control group.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
"""The file that names the control groups of this process. Each line is `number:controllers:path`. In version 2 the
controllers are empty."""


def usable_cores(groups: Path = GROUPS, own: Path = OWN) -> int:
    """Count the usable cores, at least 1. A CPU affinity or a quota of the control group lowers the machine's number.

    A quota of one and a half counts as two. `groups`: the folder in which Linux shows its control groups.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *(math.ceil(quota) for quota in _quotas(groups, own))]))


def _quotas(groups: Path, own: Path) -> Iterator[float]:
    """Yield the quota, in cores, of every group of the process. A file that cannot be read sets no quota."""
    try:
        lines = own.read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        files = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",)
        # In a container, the process's own group is the top folder, although the path may still be the machine's.
        group = groups / "cpu" if controllers else groups
        for part in path.rstrip("/").split("/"):
            group /= part
            if (quota := _quota([group / file for file in files])) is not None:
                yield quota


def _quota(files: Sequence[Path]) -> float | None:
    """Read the quota of one group. Together its files hold two numbers: microseconds of use, and the period."""
    try:
        quota, period = map(int, " ".join(file.read_text("utf-8") for file in files).split())
    except (OSError, ValueError):  # "max 100000": no quota
        return None
    return quota / period if quota > 0 and period > 0 else None
