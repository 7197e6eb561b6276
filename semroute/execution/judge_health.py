"""Whether the judges of answers can be asked: told once when one fails, and once when it is back."""

from __future__ import annotations

import logging

log = logging.getLogger("semroute.checks")

STEADY = 20
"""A judge is back when it has given so many grades in a row: one that fails now and then is told once."""


class UngradedError(Exception):
    """A judge gave no grade. `judge`: a model's id, or what else it is called."""

    def __init__(self, judge: str, why: str) -> None:
        super().__init__(why)
        self.judge = judge


class Judges:
    """The judges that failed, with how many grades they still have to give. One for each process."""

    def __init__(self) -> None:
        self._failed: dict[str, int] = {}

    def failed(self, error: UngradedError) -> None:
        """A judge gave no grade."""
        if error.judge not in self._failed:
            log.error("%s; until it grades again, `on_judge_error` says what becomes of answers", error)
        self._failed[error.judge] = STEADY

    def graded(self, judge: str) -> None:
        """A judge gave a grade."""
        if judge not in self._failed:
            return
        self._failed[judge] -= 1
        if not self._failed[judge]:
            del self._failed[judge]
            log.warning("%s grades again", judge)
