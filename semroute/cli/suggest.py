"""`semroute suggest [LOG]`."""

from __future__ import annotations

import datetime
from functools import partial
from pathlib import Path

import click

from semroute import settings as settings_module
from semroute.bases import Frozen
from semroute.cli.engine import EngineName, open_engine
from semroute.cli.export import timestamp
from semroute.cli.output import Bar, counted, errors, folder_of, print_json, progress_bar
from semroute.learning.engines import TallyRows, read_log
from semroute.learning.logged_decisions import LoggedDecisions, open_log
from semroute.learning.logged_prompts import Counts, PromptTally, read_all
from semroute.learning.suggested_file import render, require_enough
from semroute.learning.suggestions import Suggestions, suggest
from semroute.router import Router
from semroute.stores.interfaces import Query


class Suggested(Frozen, frozen=True, kw_only=True):
    """What `semroute suggest --json` prints."""

    log: str
    read: Counts
    suggestions: Suggestions


def command(
    log: str | None,
    routes: Path | None,
    since: datetime.datetime | None,
    until: datetime.datetime | None,
    seed: int,
    engine: EngineName,
    as_json: bool,
) -> None:
    """Print suggestions from the log, as YAML to review or as JSON."""
    source = open_log(log, settings_module.read().database_url)
    with progress_bar("embedding utterances") as progress:
        router = Router.load(folder_of(routes), progress=Bar(progress))
    begin = partial(PromptTally.begin, frozenset(router.config.routes), seed)
    work = TallyRows(begin, PromptTally.add, Query(since=timestamp(since), until=timestamp(until)))
    with open_engine(engine, source) as running:
        with progress_bar("reading the log") as progress:
            bar, total = Bar(progress), source.count() if errors.is_terminal else 0
            found = read_log(running, source, work, lambda done: bar(done, max(done, total))).prompts()
        tell_torn(source)
        require_enough(found.counts, source.name)
        with progress_bar("matching") as progress:
            readings = read_all(router, found.prompts, Bar(progress), running)
    with progress_bar("grouping"):
        suggestions = suggest(router, found.prompts, readings, seed)
    if as_json:
        print_json(Suggested(log=source.name, read=found.counts, suggestions=suggestions))
    else:
        click.echo(render(suggestions, found.counts, source.name, router.config.default.models))


def tell_torn(source: LoggedDecisions) -> None:
    """Tell on standard error which rows of a log could not be read."""
    for told in source.torn.told:
        errors.print(told, style="yellow", markup=False, highlight=False, soft_wrap=True)
    if (more := source.torn.count - len(source.torn.told)) > 0:
        errors.print(f"{counted(more, 'more row')} could not be read", style="yellow", highlight=False)
