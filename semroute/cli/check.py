"""`semroute check [DIR]`."""

from __future__ import annotations

import asyncio
import datetime
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from semroute.cli.output import Bar, console, counted, folder_of, print_json, progress_bar, workflow_command
from semroute.config.check_shutdowns import check_lists
from semroute.config.config import Config, WrittenAt
from semroute.config.load import read_to_check
from semroute.config.problems import problem_at
from semroute.errors import EmbedderError, Problem

if TYPE_CHECKING:
    from semroute.evaluation.route_borders import Border

SHOWN_SHARE = 0.1
"""A route that takes a smaller share of the prompts at its border is left out of the table."""
COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}
GITHUB = {"error": "error", "warning": "warning", "info": "notice"}


def command(folder: Path | None, strict: bool, no_embed: bool, ask: bool, format_: str, as_json: bool) -> None:
    """Show everything that is wrong in a folder."""
    folder = folder_of(folder)
    problems, config, sound = read_to_check(folder)
    borders: list[Border] = []
    if sound is not None:
        found, borders = _check_further(folder, sound, embed=not no_embed)
        problems += found
        problems += _asked(sound) if ask else []
    if as_json or format_ == "json":
        print_json(_summary(folder, config, problems, borders))
    elif format_ == "github":
        for problem in problems:
            click.echo(annotation(problem))
    else:
        _show_borders(borders)
        _show(folder, config, problems, "" if config is not None or no_embed else _left_out(sound))
    fatal = {"error", "warning"} if strict else {"error"}
    failed = any(problem.severity in fatal for problem in problems)
    sys.exit(1 if failed else 0)


def annotation(problem: Problem) -> str:
    """Return a workflow command, which GitHub shows at the line of the file."""
    advice = f"; {problem.suggestion}" if problem.suggestion else ""
    told = f"{problem.path}: {problem.message}{advice}"
    place = {"file": problem.file, "line": str(problem.line or 1)}
    return workflow_command(GITHUB[problem.severity], told, **place, title=f"semroute {problem.code}")


def _check_further(folder: Path, config: Config, *, embed: bool) -> tuple[list[Problem], list[Border]]:
    # These imports load the embedding model, which the check of the files does not need.
    from semroute.evaluation.folder_checks import check_meaning, leakage, unlearned
    from semroute.semantic.array_cache import Cache, default_folder

    found = [*leakage(folder, config), *unlearned(folder, config)]
    borders: list[Border] = []
    if embed:
        try:
            with progress_bar("embedding utterances") as progress:
                seen, borders = check_meaning(config, Bar(progress), Cache(default_folder(os.environ)))
            found += seen
        except EmbedderError as error:
            source = config.sources.get("embedder.model") or WrittenAt(file=str(folder), line=0)
            advice = "name a model that can be loaded here, or `bundled`"
            found.append(problem_at(source, str(error), "error", "embedder", advice))
    return found, borders


def _asked(config: Config) -> list[Problem]:
    """Compare the models with the providers' lists, and report providers whose list cannot be read."""
    from semroute.providers.model_listing import model_lists  # brings the HTTP client with it

    lists, failed = asyncio.run(model_lists(config))
    found = list(check_lists(config, lists, datetime.datetime.now(datetime.UTC).date()))
    for id_, why in failed.items():
        source = config.sources.get(f"providers.{id_}") or WrittenAt(file=config.folder, line=0)
        found.append(
            problem_at(source, f"its list of models could not be read: {why}", "warning", "no-list", "try again")
        )
    return found


def _summary(folder: Path, config: Config | None, problems: list[Problem], borders: list[Border]) -> dict[str, Any]:
    return {
        "ok": all(problem.severity != "error" for problem in problems),
        "folder": str(folder),
        "routes": len(config.routes) if config else None,
        "utterances": _utterances(config) if config else None,
        "models": len(config.models) if config else None,
        "problems": problems,
        "borders": borders,
    }


def _show_borders(borders: list[Border]) -> None:
    """Show a table of the routes that take many of the nearest everyday prompts."""
    wide = sorted((one for one in borders if one.taken >= SHOWN_SHARE * one.tried > 0), key=lambda one: -one.taken)
    if not wide:
        return
    table = Table("route", "takes", "such as", "add utterances like", title="Everyday prompts that a route takes")
    for one in wide:
        examples = "\n".join(f"{outsider.text} (near line {outsider.line})" for outsider in one.outsiders)
        lonely = f"{one.loneliest} (line {one.loneliest_line})"
        told = (f"{one.route}\n{one.file}:{one.line}", f"{one.taken} of {one.tried}", examples, lonely)
        table.add_row(*map(Text, told))
        table.add_section()
    console.print(table)


def _left_out(sound: Config | None) -> str:
    """Say what the errors kept from the check of meaning."""
    compared = "not compared, because of the errors" if sound is None else "compared without the parts that have errors"
    return f" (the utterances were {compared})"


def _show(folder: Path, config: Config | None, problems: list[Problem], note: str) -> None:
    for problem in problems:
        console.print(f"[{COLOURS[problem.severity]}]{problem.severity}[/]", end=" ", highlight=False)
        console.print(str(problem), markup=False, highlight=False, soft_wrap=True)
    counts = {severity: sum(p.severity == severity for p in problems) for severity in COLOURS}
    found = ", ".join(
        f"{n} {severity}{'s' * (n != 1 and severity != 'info')}"
        for severity, n in counts.items()
        if n or severity != "info"
    )
    if config is not None:
        held = {"route": len(config.routes), "utterance": _utterances(config), "model": len(config.models)}
        found = f"{', '.join(counted(n, what) for what, n in held.items())}; {found}"
    console.print(f"{folder}: {found}{note}", markup=False, highlight=False, soft_wrap=True)


def _utterances(config: Config) -> int:
    return sum(len(route.utterances) for route in config.routes.values())
