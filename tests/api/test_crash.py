from __future__ import annotations

import random
from pathlib import Path

import pytest

from bench.crash import MAX_LOSS_S, crash


@pytest.mark.parametrize("log_too", [True, False], ids=["all", "all but the log's process"])
def test_a_killed_service_loses_no_record_older_than_a_second_and_charges_none_twice(
    tmp_path: Path, log_too: bool
) -> None:
    chance = random.Random(1)
    for _ in range(2):
        seen = crash(tmp_path, chance, log_too=log_too)
        assert seen.sound
        assert seen.oldest_lost_s <= MAX_LOSS_S
        assert seen.charged_right
