"""Drift over time: window after window of a log, each compared with the same reference before them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

from semroute.bases import Frozen
from semroute.errors import RequestError
from semroute.learning.compare_windows import LEAST_ROWS, Drift, compare
from semroute.learning.drift_windows import Sample, Window
from semroute.learning.logged_decisions import LoggedDecision

MOST_WINDOWS = 30

Progress = Callable[[str, int, int], None]
"""Gets what is being done, how much of it is done, and how much there is."""


class WindowDrift(Frozen, frozen=True, kw_only=True):
    """One window."""

    window: Window
    drift: Drift | None
    """How it differs from the reference. None: it has too few requests."""


class DriftOverTime(Frozen, frozen=True, kw_only=True):
    """All windows, the oldest first."""

    reference: Window
    windows: tuple[WindowDrift, ...]


class SampledWindows:
    """Random parts of the rows of a reference and of the windows that follow it."""

    def __init__(self, end: float, *, window_s: float, windows: int, reference_s: float, seed: int = 0) -> None:
        """`end`: of the last window, in seconds since 1970. `windows`: how many, at most `MOST_WINDOWS`."""
        begin = end - windows * window_s
        edges = [begin - reference_s, *(begin + number * window_s for number in range(windows)), end]
        self.since, self.until = edges[0], end
        self._samples = [Sample.of(first, last, seed + place) for place, (first, last) in enumerate(pairwise(edges))]

    def add(self, rows: Iterable[LoggedDecision], progress: Callable[[int], None] = lambda done: None) -> None:
        """Put the rows of a log into the windows."""
        for done, row in enumerate(rows, 1):
            sample = next((one for one in self._samples if one.since <= row.at < one.until), None)
            if sample is not None:
                sample.add(row)
            if done % 1000 == 0:
                progress(done)

    def compare(self, alpha: float, progress: Callable[[int, int], None] = lambda done, total: None) -> DriftOverTime:
        """Compare each window with the reference. `alpha`: the chance that any window moved, if nothing did.

        Raises `RequestError` if the reference or all windows have too few rows.
        """
        reference, *windows = self._samples
        enough = [window.rows >= LEAST_ROWS for window in windows]
        if reference.rows < LEAST_ROWS or not any(enough):
            most = max(window.rows for window in windows)
            raise RequestError(
                f"the reference has {reference.rows} requests and the fullest window has {most}, expected at least "
                f"{LEAST_ROWS} in both: choose fewer or longer windows, or a longer reference"
            )
        found = []
        for number, (window, known) in enumerate(zip(windows, enough, strict=True)):
            progress(number, len(windows))
            drift = compare(reference, window, alpha / sum(enough)) if known else None
            found.append(WindowDrift(window=window.window, drift=drift))
        return DriftOverTime(reference=reference.window, windows=tuple(found))
