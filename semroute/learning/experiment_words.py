"""Say in plain sentences what is known of an experiment."""

from __future__ import annotations

from collections.abc import Iterator

from semroute.learning.experiment_figures import (
    FIGURES,
    RELATIVE,
    ArmReport,
    Comparison,
    ExperimentReport,
    SampleRatio,
    Span,
)

TITLES = {figure.name: figure.title for figure in FIGURES} | {"p95_ms": "95th percentile of latency"}


def sentences(report: ExperimentReport) -> Iterator[str]:
    """Yield what is known, the most important first."""
    if not report.sample_ratio.ok:
        yield wrong_shares(report.sample_ratio)
    yield progress(report)
    for arm in report.arms:
        if not arm.is_control and report.started_at is not None:
            yield from _about(arm, report)


def wrong_shares(found: SampleRatio) -> str:
    """Say that the arms did not get their shares."""
    everyone = sum(found.units.values())
    told = ", ".join(
        f"{arm} has {n:,} users instead of about {found.expected.get(arm, 0) * everyone:,.0f}"
        for arm, n in found.units.items()
    )
    return (
        f"DO NOT TRUST THIS EXPERIMENT: the arms did not get their shares of the users ({told}). Something decides who "
        "is counted, such as requests that one arm loses. Find that before you read the figures"
    )


def progress(report: ExperimentReport) -> str:
    """Say how far the experiment is."""
    if report.started_at is None:
        return "It has not started: no service has seen it yet, or its first day has not come"
    fewest = min(arm.requests for arm in report.arms)
    run = f"{report.days:.1f} of at least {report.least_days} days"
    have = f"the smallest arm has {fewest:,} of at least {report.least_samples:,} requests"
    if report.state == "ended":
        why = f": {report.reason}" if report.reason else " with its last day"
        adopted = f". The arm {report.adopted} was adopted" if report.adopted else ""
        ended = f"It ended{why}{adopted}"
        return ended if report.conclusive else f"{ended}. It ran for {run}, and {have}, so nothing is concluded"
    if not report.conclusive:
        return f"Nothing is concluded yet: it has run for {run}, and {have}"
    return f"It has run for {report.days:.1f} days, which is enough to conclude something"


def _about(arm: ArmReport, report: ExperimentReport) -> Iterator[str]:
    if not report.conclusive:
        known_so_far = {name: compared for name, compared in arm.metrics.items() if has_interval(compared)}
        if known_so_far:
            told = ", ".join(f"{TITLES[name]} {told_gap(name, compared)}" for name, compared in known_so_far.items())
            yield f"So far {arm.name} has, compared with {report.control}: {told}"
        return
    known = {name: compared for name, compared in arm.metrics.items() if compared.differs}
    for name, compared in known.items():
        worth = "better" if compared.better else "worse"
        yield f"{arm.name} is {worth} than {report.control} in {TITLES[name]}: {told_gap(name, compared)}"
    open_ = [name for name, compared in arm.metrics.items() if name not in known and has_interval(compared)]
    if open_:
        told = ", ".join(f"{TITLES[name]} ({_between(name, arm.metrics[name])})" for name in open_)
        yield f"No difference between {arm.name} and {report.control} is known in: {told}"
    silent = [TITLES[name] for name, compared in arm.metrics.items() if name not in known and name not in open_]
    if silent:
        yield f"Too little is known of {arm.name} to compare: {', '.join(silent)}"


def has_interval(compared: Comparison) -> bool:
    """Return whether anything is known of the difference."""
    gap = compared.difference
    return gap is not None and (gap.low is not None or gap.high is not None)


def told_gap(name: str, compared: Comparison) -> str:
    """Render a difference with its interval."""
    gap = compared.difference or Span()
    return f"{signed(name, gap.value)} ({_between(name, compared)})"


def _between(name: str, compared: Comparison) -> str:
    gap = compared.difference or Span()
    if gap.low is None:
        return f"at most {signed(name, gap.high)}"
    return (
        f"at least {signed(name, gap.low)}"
        if gap.high is None
        else f"{signed(name, gap.low)} to {signed(name, gap.high)}"
    )


def signed(name: str, value: float | None) -> str:
    """Render a difference: as a part of control's, or in percentage points."""
    if value is None:
        return "?"
    return f"{value:+.1%}" if name in RELATIVE else f"{value * 100:+.2f} points"


def shown(name: str, value: float | None) -> str:
    """Render a figure."""
    if value is None:
        return "?"
    if name == "cost_usd":
        return f"${value:.6f}"
    return f"{value:,.0f} ms" if name.endswith("_ms") else f"{value:.1%}"
