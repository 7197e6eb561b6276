"""`semroute prices`."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

import click
from msgspec.structs import asdict
from rich.table import Table

from semroute.cli.output import console, counted, folder_of, print_json, warn
from semroute.config.config import Config
from semroute.config.folder import read_files
from semroute.config.load import load_files
from semroute.config.price_changes import PriceUpdate, compare, new_texts, plain
from semroute.config.price_list import read_price_list
from semroute.errors import RequestError

BOM = "\ufeff"


def command(update: Path | None, routes: Path | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Show prices, or compare them with a list and write what differs."""
    folder, today = folder_of(routes), datetime.datetime.now(datetime.UTC).date()
    files = read_files(folder)
    config = load_files(files, today=today)
    if update is None:
        _show(config, as_json=as_json)
        return
    texts = {str(Path(files.folder, name)): data.decode().removeprefix(BOM) for name, data in files.texts.items()}
    found = compare(config, read_price_list(update.read_bytes(), str(update)), texts, today)
    possible = sum(change.problem is None for change in found.changes)
    if not as_json:
        _show_changes(found)
    wanted = bool(possible) and not dry_run
    if wanted and not yes:
        # A pipe answers no question, and JSON is for machines.
        asks = not as_json and sys.stdin.isatty()
        wanted = asks and click.confirm(f"Write {counted(possible, 'price')} into the route files?", err=True)
    written = _write(new_texts(found, config, texts, today), files.texts, folder) if wanted else []
    if as_json:
        print_json({"written": written, **asdict(found)})
    elif written:
        console.print(f"Written: {', '.join(written)}.", markup=False, highlight=False)
    elif possible and not dry_run:
        console.print("Nothing is written. `--yes` writes without a question.", markup=False, highlight=False)


def _write(texts: dict[str, str], before: dict[str, bytes], folder: Path) -> list[str]:
    """Write files, if none has changed since it was read. Returns their paths."""
    for file, text in texts.items():
        path = Path(file)
        old = before[path.name]
        if path.read_bytes() != old:
            raise RequestError(f"{file}: somebody changed it just now: run the command again")
        marked = BOM + text if old.decode().startswith(BOM) else text
        target = path.resolve()  # a link stays a link
        beside = target.with_name(f".{target.name}.new")
        beside.write_bytes(marked.encode())
        beside.chmod(target.stat().st_mode)
        beside.replace(target)
    return list(texts)


def _show(config: Config, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                model.id: {
                    "provider": model.provider,
                    "name": model.name,
                    "input_price": model.input_price,
                    "cached_input_price": model.cached_input_price,
                    "cache_write_price": model.cache_write_price,
                    "cache_write_1h_price": model.cache_write_1h_price,
                    "output_price": model.output_price,
                    "reasoning_price": model.reasoning_price,
                    "prices_as_of": model.prices_as_of or config.prices_as_of,
                }
                for model in config.models.values()
            }
        )
        return
    table = Table("model", "provider", "input", "cached", "written", "output", "as of", box=None)
    for model in config.models.values():
        prices = (model.input_price, model.cached_input_price, model.cache_write_price, model.output_price)
        as_of = model.prices_as_of or config.prices_as_of
        table.add_row(
            model.id, model.provider, *("-" if p is None else plain(p) for p in prices), str(as_of) if as_of else "-"
        )
    console.print(table)
    console.print("USD per 1M tokens. `-`: the price of input.", markup=False, highlight=False)


def _show_changes(found: PriceUpdate) -> None:
    if found.changes:
        table = Table("model", "price", "now", "listed", "change", "listed as", "in", box=None)
        for change in found.changes:
            moved = f"{change.new / change.old - 1:+.0%}" if change.old else "-"
            where = f"{change.file}:{change.line}"
            now, listed = plain(change.old), plain(change.new)
            table.add_row(change.model, change.field, now, listed, moved, change.listed_as, where)
        console.print(table)
    same, unlisted = counted(len(found.same), "model"), counted(len(found.unlisted), "model")
    named = f": {', '.join(found.unlisted)}" if found.unlisted else ""
    differ = "1 price differs" if len(found.changes) == 1 else f"{len(found.changes)} prices differ"
    told = f"{differ} from the list. {same} as listed, {unlisted} not in it{named}."
    console.print(told, markup=False, highlight=False)
    warn(f"{each.file}:{each.line}: {each.field} is left: {each.problem}" for each in found.changes if each.problem)
    warn(
        f"{model}: costs more above {tokens:,} input tokens: write `special_prices`, or `context_tokens: {tokens}`"
        for model, tokens in found.dearer.items()
    )
