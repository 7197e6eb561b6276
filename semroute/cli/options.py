"""What options may hold, and the options that most commands take.

Nothing here imports more than click: `semroute --help` and the shell's completion read this.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import click

from semroute.stores.interfaces import MAX_USD

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
LIMIT = click.IntRange(min=1, max=10**12)
Command = TypeVar("Command", bound=Callable[..., Any])
TIME = click.DateTime()
TIMES = "in UTC: 2026-11-30 or 2026-11-30T18:00:00"
"""How a time is written, for help."""


class Share(click.FloatRange):
    """A number from 0 to 1. NaN is not one."""

    name = "share"

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Refuse NaN, which passes the check of every range."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is not in the range 0<=x<=1.", param, ctx)
        return number


SHARE = Share()


class OutputFile(click.Path):
    """A file to write. Whether its folder exists is checked before the work begins."""

    def __init__(self, *, allow_dash: bool = False) -> None:
        super().__init__(dir_okay=False, writable=True, allow_dash=allow_dash, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Refuse a file in a folder that does not exist."""
        path = cast("Path", super().convert(value, param, ctx))
        if not path.parent.is_dir():
            self.fail(f"{path}: no such folder: {path.parent}", param, ctx)
        return path


def usd(value: str) -> Decimal:
    """Read an amount of US dollars that a counter can hold."""
    try:
        amount = Decimal(value)
        if 0 <= amount <= MAX_USD:
            return amount
    except ArithmeticError:  # comparing NaN raises one, too
        pass
    raise click.BadParameter(f"got {value!r}, expected a number from 0 to {MAX_USD:,}")


def _names(kind: Literal["routes", "models"]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Complete the names that the route files give to routes or to models."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        from semroute.cli.output import folder_of  # imported here, because reading route files needs slow imports
        from semroute.config.load import read

        folder = ctx.params.get("routes")
        config, _problems = read(folder_of(folder if isinstance(folder, Path) else None))
        return [name for name in getattr(config, kind, ()) if name.startswith(incomplete)]

    return complete


route_names, model_names = _names("routes"), _names("models")

routes_option = click.option(
    "--routes",
    type=click.Path(path_type=Path),
    default=None,
    help="The routes folder.  [default: SEMROUTE_ROUTES, else routes/, else the shipped one]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
engine_option = click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where Parquet is read. `ray`: on the Ray cluster at RAY_ADDRESS, else on all cores of this machine.",
)


def format_option(told: str) -> Callable[[Command], Command]:
    """Return the option for a report that people or GitHub read. `told`: its help."""
    kinds = click.Choice(["text", "json", "github"])
    return click.option("--format", "format_", type=kinds, default="text", show_default=True, help=told)


def time_option(name: str, told: str, default: str) -> Callable[[Command], Command]:
    """Return an option that takes a time."""
    return click.option(name, type=TIME, metavar="TIME", help=f"{told}, {TIMES}.  [default: {default}]")
