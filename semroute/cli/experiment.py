"""`semroute experiment status` and `semroute experiment stop`."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import yaml
from rich.table import Table

from semroute import settings as settings_module
from semroute.cli.output import console, folder_of, print_json, write_whole
from semroute.config.config import Config
from semroute.config.error_wording import did_you_mean, listed
from semroute.config.load import load
from semroute.config.overlays import DEFAULT, arm_key, written_fields
from semroute.config.schema.experiments import Overlay
from semroute.config.yaml_documents import parse
from semroute.errors import RequestError
from semroute.learning.experiment_figures import NAMES, ExperimentReport
from semroute.learning.experiment_report import reports
from semroute.learning.experiment_words import TITLES, has_interval, shown, told_gap
from semroute.stores.connect import is_missing, open_database, open_to_read
from semroute.stores.connect import shown as shown_url
from semroute.stores.experiment_store import ExperimentStore

FILE = "adopted.yaml"
HEADER = "# Written by `semroute experiment stop`"
STOPPED = "somebody stopped it"


def status(name: str | None, routes: Path | None, as_json: bool) -> None:
    """Show what is known of experiments."""
    config = load(folder_of(routes))
    with closing(open_to_read(settings_module.read().database_url)) as database:
        found = reports(ExperimentStore(database), config, name)
    if as_json:
        print_json({"experiments": found})
    else:
        for report in found:
            _show(report)
        if not found:
            console.print("there is no experiment in the route files", highlight=False)
    sys.exit(0 if all(report.sample_ratio.ok for report in found) else 1)


def stop(name: str, adopt: str | None, routes: Path | None, as_json: bool) -> None:
    """End an experiment, and write the overlay of the adopted arm."""
    folder, url = folder_of(routes), settings_module.read().database_url
    config = load(folder)
    if is_missing(url):
        raise RequestError(f"{shown_url(url)}: there is no such database, expected that of the service")
    with closing(open_database(url)) as database:
        store = ExperimentStore(database)
        if name not in config.experiments and name not in store.follow({}).runs:
            known = (
                f"expected one of {listed(config.experiments)}" if config.experiments else "the route files have none"
            )
            raise RequestError(f"got the experiment {name!r}, {known}{did_you_mean(name, config.experiments)}")
        target = None
        if adopt is not None:
            target = folder / FILE
            text = overlay(config, name, adopt)
            check_free(target, config)
            write_whole(target, text)
        ended = store.end(name, STOPPED, adopt or "")
    if as_json:
        print_json({"experiment": name, "ended": ended, "adopted": adopt, "written": str(target) if target else None})
        return
    source = config.sources.get(f"experiments.{name}")
    console.print(f"{name} {'has ended' if ended else 'had ended before'}", markup=False, highlight=False)
    if target is not None:
        console.print(f"written: {target}", markup=False, highlight=False)
    if source is not None:
        told = f"you can delete the experiment from {source.file}:{source.line} now"
        console.print(told, markup=False, highlight=False, soft_wrap=True)


def check_free(target: Path, config: Config) -> None:
    """Check that `adopted.yaml` may be written. Raises `RequestError` if people wrote in it or beside it."""
    source = config.sources.get("adopted")
    if source is not None and Path(source.file) != target:
        raise RequestError(f"{source.file}:{source.line}: got `adopted`, expected it in {target} only: move it there")
    if not target.exists():
        return
    data = target.read_bytes()
    if not data.startswith(HEADER.encode()) or parse(str(target), data, {}).value.keys() != {"adopted"}:
        raise RequestError(
            f"{target}: has content that `semroute experiment stop` did not write: move it to another file"
        )


def overlay(config: Config, name: str, arm: str) -> str:
    """Return the text of the overlay file: what the arm changes, and what was adopted before. Raises `RequestError`."""
    experiment = config.experiments.get(name)
    arms = experiment.arms if experiment is not None else {}
    if experiment is None or arm not in arms:
        expected = (
            f"expected one of {listed(arms)}" if arms else "the route files do not define the experiment any more"
        )
        raise RequestError(f"--adopt: got the arm {arm!r}, {expected}{did_you_mean(arm, arms)}")
    written = experiment.arms[arm]
    if written.folder is not None:
        raise RequestError(
            f"--adopt: the arm {arm} is the folder {written.folder}, which is no overlay: put its files in the place "
            f"of those in {config.folder}, and stop the experiment without --adopt"
        )
    changed = _merged(config, _plain(config, written, arm_key(name, arm)))
    lines = [
        f"{HEADER}, which adopted the arm {arm} of the experiment {name}. Delete it to undo.",
        yaml.safe_dump({"adopted": {"experiment": name, "arm": arm, **changed}}, sort_keys=False, allow_unicode=True),
    ]
    return "\n".join(lines)


def _plain(config: Config, written: Overlay, key: str) -> dict[str, Any]:
    """Return an overlay as plain values for YAML. Only what is written counts."""
    found = {
        "policy": written_fields(config, written, key),
        "models": written.models,
        "thresholds": written.thresholds,
    }
    encoded = msgspec.json.Encoder(decimal_format="number").encode({k: v for k, v in found.items() if v})
    plain: dict[str, Any] = msgspec.json.decode(encoded)
    return plain


def _merged(config: Config, new: dict[str, Any]) -> dict[str, Any]:
    """Lay an overlay over the one that was adopted before, if there is one."""
    if config.adopted is None:
        return new
    old = _plain(config, config.adopted, "adopted")
    merged = {part: {**old.get(part, {}), **new.get(part, {})} for part in ("policy", "thresholds")}
    plans = [_by_route(config, overlay["models"]) for overlay in (old, new) if "models" in overlay]
    merged["models"] = {route: plan for by_route in plans for route, plan in by_route.items()}
    return {part: value for part, value in merged.items() if value}


def _by_route(config: Config, models: dict[str, Any] | list[str]) -> dict[str, Any]:
    return models if isinstance(models, dict) else dict.fromkeys([*config.routes, DEFAULT], models)


# --- the status -----------------------------------------------------------------------------------------------------


def _show(report: ExperimentReport) -> None:
    console.print(f"experiment {report.name}", style="bold", markup=False, highlight=False)
    for sentence in report.summary:
        alarm = sentence.startswith("DO NOT TRUST")
        console.print(f"{sentence}.", style="bold red" if alarm else "", markup=False, highlight=False, soft_wrap=True)
    table = Table("", box=None, pad_edge=False)
    for arm in report.arms:
        table.add_column(f"{arm.name} (control)" if arm.is_control else arm.name)
        if not arm.is_control:
            table.add_column("difference, with its interval")
    table.add_row("users", *_cells(report, lambda arm: f"{arm.units:,}"))
    table.add_row("requests", *_cells(report, lambda arm: f"{arm.requests:,}"))
    for name in NAMES:
        cells = []
        for arm in report.arms:
            compared = arm.metrics[name]
            cells.append(shown(name, compared.estimate.value))
            if not arm.is_control:
                mark = "" if not compared.differs else " better" if compared.better else " worse"
                cells.append(f"{told_gap(name, compared)}{mark}" if has_interval(compared) else "")
        table.add_row(TITLES[name], *cells)
    console.print(table)


def _cells(report: ExperimentReport, cell: Any) -> list[str]:
    """Return the cells of a row that has no differences."""
    return [text for arm in report.arms for text in ((cell(arm),) if arm.is_control else (cell(arm), ""))]
