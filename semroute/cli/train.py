"""`semroute train LABELS.jsonl`."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from semroute.cli.output import Bar, console, folder_of, print_json, progress_bar
from semroute.evaluation.gain_training import TrainingReport, read_labels, train
from semroute.router import Router


def command(labels: Path, min_labels: int, routes: Path | None, as_json: bool) -> None:
    """Learn from labels, and write what was learned beside the routes."""
    folder = folder_of(routes)
    with progress_bar("embedding utterances") as progress:
        router = Router.load(folder, progress=Bar(progress))
    rows = read_labels(labels, router.config.models, min_labels)
    with progress_bar("embedding prompts") as progress:
        trained = train(router, rows, folder, Bar(progress))
    if as_json:
        print_json(trained)
    else:
        _show(trained)
    sys.exit(0 if trained.learnable else 1)


def _show(trained: TrainingReport) -> None:
    written = f"; wrote {trained.file}" if trained.file else ""
    console.print(f"{trained.n} labels{written}", markup=False, highlight=False)
    table = Table("model", "mean quality", "correlation", "chance", box=None, pad_edge=False)
    for model in trained.models:
        found = trained.correlation.get(model)
        table.add_row(
            escape(model),
            f"{trained.mean_quality[model]:.3f}",
            "" if found is None else f"{found:.3f}",
            "" if found is None else f"under {trained.needed[model]:.3f}",
        )
    console.print(table)
    if not trained.learnable:
        console.print(
            "These labels hold no signal that can be learned: on prompts that the fit had not seen, it does no better "
            "than chance. Nothing is written.",
            style="yellow",
        )
        return
    kept = ", ".join(f"{float(share):.0%}: {value:.1%}" for share, value in trained.shares.items())
    told = f"share of the best quality that is kept, by the share of prompts not sent to {trained.models[0]}: {kept}"
    console.print(told, markup=False, highlight=False)
    off = ", ".join(f"{float(share):.0%} ± {error:.0%}" for share, error in trained.share_errors.items())
    told = f"how far the real share may be from `strong_share` with {trained.n} labels: {off}"
    console.print(told, markup=False, highlight=False)
