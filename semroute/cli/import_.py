"""`semroute import FILE`."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import click
from msgspec.structs import replace

from semroute.cli.init import MODELS
from semroute.cli.output import console, counted
from semroute.config.import_semantic_router import read_semantic_router, render
from semroute.config.jsonschema import json_schema
from semroute.config.load import read
from semroute.errors import ConfigError, Problem, RequestError

STARTER = "models"


def command(file: Path, output: Path | None, models: tuple[str, ...], force: bool) -> None:
    """Print a route file, or write it if the folder stays free of errors."""
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"{file}: cannot be read: byte {error.start} is not UTF-8") from None
    imported = read_semantic_router(str(file), text)
    if output is None:
        click.echo(render(imported, file.name, models or ("small", "large")).encode(), nl=False)
        return
    target = output / (f"{file.stem}.yaml" if file.stem != STARTER else "routes.yaml")
    if target.exists() and not force:
        raise click.UsageError(f"{target} exists already; --force overwrites it")
    files = {target.name: render(imported, file.name, models or _default_models(output))}
    if not any(output.glob("*.y*ml")):
        files |= {f"{STARTER}.yaml": MODELS, "schema.json": json.dumps(json_schema(), indent=2) + "\n"}
    _check(output, files)
    output.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (output / name).write_text(text, "utf-8")
    console.print(
        f"wrote {counted(len(imported.routes), 'route')} to {target}. Next: semroute check {output}",
        markup=False,
        highlight=False,
    )


def _check(output: Path, files: dict[str, str]) -> None:
    """Check the folder with these files. Raises `ConfigError` if they bring new errors."""
    before = {str(problem) for problem in read(output)[1]}
    with tempfile.TemporaryDirectory() as name:
        trial = Path(name)
        for path in output.glob("*.y*ml"):
            shutil.copy(path, trial)
        for file, text in files.items():
            (trial / file).write_text(text, "utf-8")
        problems = [_moved(problem, trial, output) for problem in read(trial)[1] if problem.severity == "error"]
    if new := [problem for problem in problems if str(problem) not in before]:
        raise ConfigError(new)


def _moved(problem: Problem, trial: Path, output: Path) -> Problem:
    file, message = (text.replace(str(trial), str(output)) for text in (problem.file, problem.message))
    return replace(problem, file=file, message=message)


def _default_models(folder: Path) -> tuple[str, ...]:
    config, _ = read(folder)
    return config.default.models if config is not None else ("large",)
