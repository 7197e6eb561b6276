"""`semroute check [DIR]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from semroute.cli.output import console, folder_of, json_option, print_json
from semroute.config.load import read
from semroute.config.schema import Config
from semroute.errors import Problem

COLOURS = {"error": "red", "warning": "yellow"}


@click.command("check", short_help="Find what is wrong in the route files.")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@json_option
def command(folder: Path | None, strict: bool, as_json: bool) -> None:
    """Find everything that is wrong in the route files of FOLDER (default: routes/, else the shipped ones)."""
    folder = folder_of(folder)
    config, problems = read(folder)
    if as_json:
        print_json(_summary(folder, config, problems))
    else:
        _show(folder, config, problems)
    sys.exit(0 if config is not None and not (strict and problems) else 1)


def _summary(folder: Path, config: Config | None, problems: list[Problem]) -> dict[str, Any]:
    return {
        "ok": config is not None,
        "folder": str(folder),
        "routes": len(config.routes) if config else None,
        "utterances": _utterances(config) if config else None,
        "models": len(config.models) if config else None,
        "problems": problems,
    }


def _show(folder: Path, config: Config | None, problems: list[Problem]) -> None:
    for problem in problems:
        console.print(f"[{COLOURS[problem.severity]}]{problem.severity}[/]", end=" ", highlight=False)
        console.print(str(problem), markup=False, highlight=False, soft_wrap=True)
    counts = {severity: sum(p.severity == severity for p in problems) for severity in COLOURS}
    found = ", ".join(f"{n} {severity}{'s' * (n != 1)}" for severity, n in counts.items())
    holds = (
        f": {len(config.routes)} routes, {_utterances(config)} utterances, {len(config.models)} models"
        if config
        else ""
    )
    console.print(f"{folder}{holds}; {found}", markup=False, highlight=False)


def _utterances(config: Config) -> int:
    return sum(len(route.utterances) for route in config.routes.values())
