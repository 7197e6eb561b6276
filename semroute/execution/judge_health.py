"""Log when a judge of answers fails, and when it works again. Each is logged once."""

from __future__ import annotations

import logging

log = logging.getLogger("semroute.checks")

STEADY = 20
"""A judge works again after this many grades in a row. So a judge that fails now and then is logged only once."""


class UngradedError(Exception):
    """A judge gave no grade. `judge`: the id of a model, or another name. `unreadable`: it answered, but no grade."""

    def __init__(self, judge: str, why: str, *, unreadable: bool = False) -> None:
        super().__init__(why)
        self.judge = judge
        self.unreadable = unreadable


class JudgeHealth:
    """Knows the judges that failed, and how many grades each must still give. Each process has its own."""

    def __init__(self, meanwhile: str = "`on_judge_error` decides what happens to answers") -> None:
        """`meanwhile`: what happens until a judge that failed works again, for the log."""
        self._meanwhile = meanwhile
        self._failed: dict[str, int] = {}

    def failed(self, error: UngradedError) -> None:
        """Note that a judge gave no grade."""
        if error.judge not in self._failed:
            log.error("%s; until it grades again, %s", error, self._meanwhile)
        self._failed[error.judge] = STEADY

    def graded(self, judge: str) -> None:
        """Note that a judge gave a grade."""
        if judge not in self._failed:
            return
        self._failed[judge] -= 1
        if not self._failed[judge]:
            del self._failed[judge]
            log.warning("%s grades again", judge)
