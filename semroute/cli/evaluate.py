"""`semroute eval [FILE]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from semroute.cli.output import (
    Bar,
    console,
    errors,
    folder_of,
    print_json,
    progress_bar,
)
from semroute.config.error_wording import quote, words
from semroute.evaluation.crossvalidate import cross_validate
from semroute.evaluation.evaluation_page import page
from semroute.evaluation.measure import Evaluation, Outcome, decide_rows, measure, read_rows
from semroute.router import Router

WORST = 10


def command(
    file: Path | None, routes: Path | None, folds: int, html: Path | None, as_json: bool, **gates: float | None
) -> None:
    """Measure the decisions on a file of labelled prompts, or by cross-validation."""
    with progress_bar("embedding utterances") as progress:
        router = Router.load(folder_of(routes), progress=Bar(progress))
    with progress_bar("deciding") as progress:
        if file is None:
            outcomes = cross_validate(router, folds, Bar(progress))
        else:
            outcomes = decide_rows(router, read_rows(file, router.config.routes), Bar(progress))
    _warn_of_contradictions(outcomes)
    evaluation = measure(outcomes, folds if file is None else None, router.threshold_claim)
    if html is not None:
        title = f"semroute: {file.name if file else 'cross-validation of the routes'}"
        html.write_text(page(title, evaluation, outcomes, router.config.routes), "utf-8")
    if as_json:
        print_json(evaluation)
    else:
        _show(evaluation)
        if html is not None:
            console.print(f"report: {html}", highlight=False, markup=False)
    failures = missed(evaluation, gates)
    for failure in failures:
        errors.print(failure, style="red", markup=False, highlight=False)
    sys.exit(1 if failures else 0)


def _warn_of_contradictions(outcomes: Sequence[Outcome]) -> None:
    """Warn of prompts with two labels. Each decision about them is wrong by one label."""
    copies: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        copies.setdefault(words(outcome.text), []).append(outcome)
    for same in copies.values():
        labels = sorted({outcome.expected or "none" for outcome in same})
        if len(labels) > 1:
            told = f"{quote(same[0].text)} has labels that contradict: {', '.join(labels)}"
            errors.print(told, style="yellow", markup=False, highlight=False)


def missed(evaluation: Evaluation, gates: dict[str, float | None]) -> list[str]:
    """Return the gates that the figures do not pass, named as the options: `min_accuracy`, `max_ece`.

    A missing figure does not pass.
    """
    failures = []
    for gate, bound in gates.items():
        kind, _, figure = gate.partition("_")
        if bound is None:
            continue
        value: float | None = getattr(evaluation, figure)
        name = figure.replace("_", "-")
        if value is None:
            failures.append(f"{name}: no rows to measure it on, expected {kind} {bound:g}")
        elif (value < bound) if kind == "min" else (value > bound):
            failures.append(f"{name}: got {value:.4f}, expected {'at least' if kind == 'min' else 'at most'} {bound:g}")
    return failures


def _show(evaluation: Evaluation) -> None:
    what = f"utterances, cross-validated in {evaluation.folds} folds" if evaluation.folds else "prompts"
    console.print(f"{evaluation.n} {what}", style="bold", highlight=False)
    console.print(_figures(evaluation))
    if evaluation.threshold_claim:
        console.print(f"calibrated thresholds: {evaluation.threshold_claim}", markup=False, highlight=False)
    routes = Table("route", "n", "precision", "recall", "F1", box=None, pad_edge=False)
    for name, metrics in sorted(evaluation.per_route.items(), key=lambda item: item[1].f1 or 0):
        routes.add_row(name, str(metrics.n), _share(metrics.precision), _share(metrics.recall), _share(metrics.f1))
    console.print(routes)
    reliability = Table("confidence", "n", "mean", "right", box=None, pad_edge=False)
    for row in evaluation.reliability:
        reliability.add_row(f"{row.low:.1f} - {row.high:.1f}", str(row.n), _share(row.confidence), _share(row.accuracy))
    console.print(reliability)
    if evaluation.confusions:
        worst = Table("expected", "decided", "n", "for example", box=None, pad_edge=False)
        for confusion in evaluation.confusions[:WORST]:
            worst.add_row(
                confusion.expected or "(none)",
                confusion.decided or "(abstained)",
                str(confusion.n),
                escape(confusion.example),
            )
        console.print(worst)


def _figures(evaluation: Evaluation) -> Table:
    figures = Table(box=None, pad_edge=False, show_header=False)
    for name, value, note in (
        ("accuracy", evaluation.accuracy, "right decisions, abstentions included"),
        ("in-scope accuracy", evaluation.in_scope_accuracy, "best route right, whatever the threshold"),
        ("false abstention", evaluation.false_abstain, "in-scope prompts that no route took"),
        ("OOS recall", evaluation.oos_recall, "out-of-scope prompts on which it abstained"),
        ("OOS AUROC", evaluation.oos_auroc, "in scope against out of scope"),
        ("FPR at 95% TPR", evaluation.fpr_at_95_tpr, "out-of-scope prompts taken where 95% in scope are"),
        ("ECE", evaluation.ece, "distance of confidence from truth, 0 is best"),
    ):
        figures.add_row(name, _share(value), note)
    times = evaluation.latency_ms
    figures.add_row("latency", f"{times['p50']:.1f} ms", f"p95 {times['p95']:.1f} ms, p99 {times['p99']:.1f} ms")
    return figures


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
