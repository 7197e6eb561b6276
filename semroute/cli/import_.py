"""`semroute import FILE`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from semroute.cli.init import MODELS
from semroute.cli.output import console
from semroute.config.jsonschema import json_schema
from semroute.config.load import read
from semroute.config.semantic_router import read_semantic_router, render
from semroute.errors import RequestError


@click.command("import", short_help="Take over semantic-router's route files.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Write into this routes folder.")
@click.option("--model", "models", multiple=True, help="The routes' models, in order.  [default: the folder's default]")
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
def command(file: Path, output: Path | None, models: tuple[str, ...], force: bool) -> None:
    """Turn FILE, a JSON or YAML file of semantic-router 0.x or 1.x, into a route file, and print it.

    With --output it is written instead, with a starter models.yaml where the folder has no models. What cannot be
    carried over stands in it as comments. Nothing that FILE names is imported.
    """
    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(f"{file}: cannot be read: {error}") from None
    imported = read_semantic_router(str(file), text)
    if output is None:
        click.echo(render(imported, file.name, models or ("small", "large")), nl=False)
        return
    target = output / f"{file.stem}.yaml"
    if target.exists() and not force:
        raise click.UsageError(f"{target} exists already; --force overwrites it")
    output.mkdir(parents=True, exist_ok=True)
    if not any(output.glob("*.y*ml")):
        (output / "models.yaml").write_text(MODELS, "utf-8")
        (output / "schema.json").write_text(json.dumps(json_schema(), indent=2) + "\n", "utf-8")
    target.write_text(render(imported, file.name, models or _default_models(output)), "utf-8")
    console.print(
        f"{target}: {len(imported.routes)} routes. Next: semroute check {output}", markup=False, highlight=False
    )


def _default_models(folder: Path) -> tuple[str, ...]:
    config, _ = read(folder)
    return config.default.models if config is not None else ("large",)
