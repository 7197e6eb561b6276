"""`semroute tune [FILE]`."""

from __future__ import annotations

import json
from pathlib import Path

from rich.table import Table

from semroute.cli.output import Bar, console, counted, folder_of, print_json, progress_bar, warn, write_whole
from semroute.config.config import Config
from semroute.config.yaml_documents import parse
from semroute.errors import RequestError
from semroute.evaluation.thresholds import Tuning, tune
from semroute.learning.labels import LabelCounts, read_labelled
from semroute.router import Router

OVERLAY = "tuned.yaml"
HEADER = "# Written by `semroute tune` from "


def command(
    file: Path | None, routes: Path | None, max_false_abstain: float | None, dry_run: bool, as_json: bool
) -> None:
    """Find thresholds, and write them as an overlay beside the routes."""
    folder = folder_of(routes)
    file = file or folder / "eval.jsonl"
    if not file.is_file():
        raise RequestError(f"{file}: no such file: name one with labelled prompts")
    with progress_bar("embedding utterances") as progress:
        router = Router.load(folder, progress=Bar(progress))
    if not dry_run:
        check_free(folder / OVERLAY, router.config, "tuned", HEADER)
    with progress_bar("deciding") as progress:
        labelled = read_labelled(file, router, Bar(progress))
    warn(labelled.torn)
    tuning = tune(labelled.outcomes, tuple(router.config.routes), max_false_abstain)
    better = max_false_abstain is not None or tuning.accuracy_held_out > tuning.accuracy_before
    target = None if dry_run or not better else folder / OVERLAY
    if target is not None:
        write_whole(target, overlay(tuning, router.embedder.fingerprint, file.name))
    if as_json:
        print_json({"written": str(target) if target else None, "labels": labelled.counts, "tuning": tuning})
    else:
        console.print(told_labels(labelled.counts), markup=False, highlight=False)
        _show(tuning, target, better=better)


def check_free(target: Path, config: Config, section: str, header: str) -> None:
    """Check that an overlay may be written. `section`: the only one in it. `header`: how a written overlay begins.

    Raises `RequestError` if people wrote in the file, or if the section is defined elsewhere.
    """
    source = config.sources.get(section)
    if source is not None and Path(source.file) != target:
        raise RequestError(
            f"{source.file}:{source.line}: got `{section}`, expected it in {target} only: remove it here"
        )
    if not target.exists():
        return
    data = target.read_bytes()
    if not data.startswith(header.encode()) or parse(str(target), data, {}).value.keys() != {section}:
        command = header.split("`")[1]
        advice = "move your own entries to another file and delete this one, or write nothing"
        raise RequestError(f"{target}: has content that `{command}` did not write: {advice}")


def overlay(tuning: Tuning, encoder: str, source: str) -> str:
    """Return the text of the overlay file."""
    lines = [
        f"{HEADER}{tuning.n} prompts of {json.dumps(source)}; delete it to undo.",
        f"# Accuracy {tuning.accuracy_before:.3f} before, {tuning.accuracy_held_out:.3f} on prompts held out.",
        "# These thresholds override all others. They count only with the encoder that they were found with.",
        "tuned:",
        f"  encoder: {json.dumps(encoder)}",
        "  thresholds:",
        *(f"    {json.dumps(route)}: {value:.4f}" for route, value in tuning.thresholds.items()),
    ]
    return "\n".join(lines) + "\n"


def told_labels(counts: LabelCounts) -> str:
    """Say how many labels were used, where they come from, and what was left out."""
    sources = (
        (counts.written, "written in the file"),
        (counts.corrected, "from feedback that names the right route"),
        (counts.good, "from good scores"),
        (counts.bad, "from bad scores"),
    )
    left_out = (
        (counts.unlabelled, "without a label"),
        (counts.other_version, "of other route files and without text"),
        (counts.unknown_route, "with a label that is no route now"),
        (counts.torn, "that cannot be read"),
    )
    used = ", ".join(f"{count} {what}" for count, what in sources if count)
    rest = "".join(f"; left out: {count} {what}" for count, what in left_out if count)
    return f"{counted(counts.used, 'label')}: {used}{rest}"


def _show(tuning: Tuning, target: Path | None, *, better: bool) -> None:
    table = Table(
        "threshold", "accuracy", "taken", "of these wrong", "false abstention", "OOS recall", box=None, pad_edge=False
    )
    for row in tuning.table:
        figures = (row.accuracy, row.coverage, row.wrong, row.false_abstain, row.oos_recall)
        table.add_row(f"{row.threshold:.2f}", *(f"{figure:.3f}" for figure in figures))
    console.print(f"{tuning.n} prompts; the effect of one threshold for all routes:", highlight=False)
    console.print(table)
    thresholds = Table("route", "threshold", "", box=None, pad_edge=False)
    for route, value in tuning.thresholds.items():
        thresholds.add_row(
            route,
            f"{value:.3f}",
            "its own" if route in tuning.own else "the common one, because it has too few prompts",
        )
    console.print(thresholds)
    console.print(
        f"accuracy {tuning.accuracy_before:.3f} now, {tuning.accuracy:.3f} with these thresholds, "
        f"{tuning.accuracy_held_out:.3f} on prompts that were held out",
        highlight=False,
    )
    if target is not None:
        console.print(f"written: {target}", markup=False, highlight=False)
    elif not better:
        console.print(
            "nothing is written: on held-out prompts these thresholds are no better than the present ones",
            highlight=False,
        )
