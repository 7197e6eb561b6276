from __future__ import annotations

import random
from pathlib import Path

from bench.crash import CALLERS, crash


def test_a_killed_service_loses_no_record_older_than_a_second_and_charges_none_twice(tmp_path: Path) -> None:
    chance = random.Random(1)
    for _ in range(3):
        seen = crash(tmp_path, chance)
        assert seen.sound
        assert seen.lost_older == 0
        assert seen.answered - CALLERS <= seen.charged <= seen.sent
