"""`semroute eval FILE`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from semroute.cli.output import Bar, console, folder_of, json_option, print_json, progress_bar, routes_option
from semroute.evaluation.evaluate import Evaluation, evaluate, read_rows
from semroute.router import Router

WORST = 10


@click.command("eval", short_help="Measure the decisions on labelled prompts.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@routes_option
@json_option
def command(file: Path, routes: Path | None, as_json: bool) -> None:
    """Measure the decisions on FILE: a JSON object a line, {"text": …, "route": name or null}.

    null means that no route should match.
    """
    with progress_bar("embedding utterances") as progress:
        router = Router.load(folder_of(routes), progress=Bar(progress))
    rows = read_rows(file, router.config.routes)
    with progress_bar("deciding") as progress:
        evaluation = evaluate(router, rows, Bar(progress))
    if as_json:
        print_json(evaluation)
    else:
        _show(evaluation)


def _show(evaluation: Evaluation) -> None:
    console.print(f"{evaluation.n} prompts", style="bold")
    figures = Table(box=None, pad_edge=False, show_header=False)
    figures.add_row("accuracy", _share(evaluation.accuracy), "right decisions, abstentions included")
    figures.add_row(
        "in-scope accuracy", _share(evaluation.in_scope_accuracy), "best route right, whatever the threshold"
    )
    figures.add_row("OOS recall", _share(evaluation.oos_recall), "out-of-scope prompts on which it abstained")
    figures.add_row("OOS AUROC", _share(evaluation.oos_auroc), "confidence: in scope against out of scope")
    figures.add_row("ECE", _share(evaluation.ece), "distance of confidence from truth, 0 is best")
    figures.add_row("latency", f"{evaluation.latency_ms['p50']:.1f} ms", f"p99 {evaluation.latency_ms['p99']:.1f} ms")
    console.print(figures)
    routes = Table("route", "n", "precision", "recall", "F1", box=None, pad_edge=False)
    for name, metrics in sorted(evaluation.per_route.items(), key=lambda item: item[1].f1 or 0):
        routes.add_row(name, str(metrics.n), _share(metrics.precision), _share(metrics.recall), _share(metrics.f1))
    console.print(routes)
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


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
