"""`semroute suggest [LOG]`."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

import click
import yaml

from semroute import settings as settings_module
from semroute.bases import Frozen
from semroute.cli.engine import EngineName, open_engine
from semroute.cli.export import timestamp
from semroute.cli.output import Bar, counted, errors, folder_of, print_json, progress_bar
from semroute.errors import RequestError
from semroute.learning.engines import TallyRows, read_log
from semroute.learning.logged_decisions import LoggedDecisions, open_log
from semroute.learning.logged_prompts import MOST_ROWS, Counts, PromptTally, read_all
from semroute.learning.suggestions import LEAST_WRONG, Suggestions, suggest
from semroute.router import Router
from semroute.stores.interfaces import Query

LEAST_PROMPTS = 20
"""With fewer different prompts nothing is suggested: what they have in common is chance."""
WIDTH = 110
"""Comments are broken into lines of at most this many characters."""


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


def require_enough(counts: Counts, log: str) -> None:
    """Check that a log has enough prompts. Raises `RequestError`, which says what is missing."""
    if counts.prompts >= LEAST_PROMPTS:
        return
    why = "".join(f", {counted(number, 'row')} {told}" for number, told in _left_out(counts))
    advice = (
        ": set `log: {content: redacted}` or `full` in a route file, so that the log keeps prompts"
        if counts.without_text > counts.rows / 2
        else ""
    )
    raise RequestError(
        f"{log}: got {counted(counts.prompts, 'different prompt')} in {counted(counts.rows, 'row')}{why}; "
        f"expected at least {LEAST_PROMPTS}, {LEAST_PROMPTS - counts.prompts} more{advice}"
    )


def _left_out(counts: Counts) -> list[tuple[int, str]]:
    told = (
        (counts.torn, "that could not be read"),
        (counts.without_text, "without text"),
        (counts.redacted, "with something private taken out"),
        (counts.not_matched, "decided by a rule, a pin or an earlier turn"),
        (counts.several_asks, "asking for several things"),
    )
    return [(number, what) for number, what in told if number]


def render(suggestions: Suggestions, counts: Counts, log: str, models: Sequence[str]) -> str:
    """Return the suggestions as a route file. A comment stands beside each, with its reason."""
    parts = [
        "\n".join(_header(suggestions, counts, log)),
        "\n".join(_utterances(suggestions)),
        "\n".join(_routes(suggestions, models)),
        "\n".join(_negatives(suggestions)),
        "\n".join(_to_look_at(suggestions)),
    ]
    return "\n\n".join(part for part in parts if part)


def _header(suggestions: Suggestions, counts: Counts, log: str) -> Iterator[str]:
    yield from _comment(
        f"Suggestions of `semroute suggest` from {log}. Nothing is applied. Read them, delete what is wrong, and put "
        "the file into the routes folder. To undo it, delete the file."
    )
    left_out = "".join(f"; {counted(number, 'row')} {told} left out" for number, told in _left_out(counts))
    yield from _comment(
        f"{counted(counts.rows, 'row')} read, {counted(counts.prompts, 'different prompt')}, {counts.labelled} with "
        f"feedback that names or confirms a route, {counts.disliked} with bad feedback only{left_out}."
    )
    if counts.sampled_from is not None:
        yield from _comment(
            f"Only a random sample was used: {counts.used} of {counts.sampled_from} rows, because more than "
            f"{MOST_ROWS} of a kind take too long. All counts are those of the sample."
        )
    if suggestions.grouped < suggestions.unsure:
        yield from _comment(
            f"Of {suggestions.unsure} prompts that no route is sure of, a random {suggestions.grouped} were compared."
        )
    if counts.unknown_labels:
        names = ", ".join(f"{_scalar(name)} ({number})" for name, number in list(counts.unknown_labels.items())[:10])
        yield from _comment(f"Feedback names routes that do not exist here, and does not count: {names}.")
    if not (suggestions.utterances or suggestions.routes or suggestions.negatives):
        yield from _comment("There is nothing to add.")


def _utterances(suggestions: Suggestions) -> Iterator[str]:
    if suggestions.utterances:
        yield "more_utterances:"
    for route, added in groupby(suggestions.utterances, key=lambda one: one.route):
        yield f"  - route: {json.dumps(route)}"
        yield "    utterances:"
        for one in added:
            unsure = "NOBODY SAID, read first: " if one.kind == "border" else ""
            yield from _comment(f"{unsure}{_asked(one.requests)}: {one.reason}", "      ")
            yield f"      - {_scalar(one.text)}"


def _routes(suggestions: Suggestions, models: Sequence[str]) -> Iterator[str]:
    if suggestions.routes:
        yield "routes:"
    for one in suggestions.routes:
        now = ", ".join(f"{number} go to {_plain(name) or 'the default'}" for name, number in list(one.now.items())[:3])
        told = f"{counted(one.prompts, 'prompt')}, {counted(one.requests, 'request')}. Today {now}."
        more = "They are more like each other than like any utterance, by a similarity of"
        yield from _comment(f"{told} {more} {one.apart:.2f}. Choose a name and models: these are the default's.", "  ")
        yield f"  - name: {json.dumps(one.name)}"
        yield f"    description: {_scalar(one.description)}"
        yield f"    models: {json.dumps(list(models))}"
        yield "    utterances:"
        for text in one.utterances:
            yield f"      - {_scalar(text)}"


def _negatives(suggestions: Suggestions) -> Iterator[str]:
    if suggestions.negatives:
        yield "negatives:"
    for one in suggestions.negatives:
        yield from _comment(
            f"{_asked(one.requests)}: `{one.route}` takes it, but feedback says that no route is right", "  "
        )
        yield f"  - {_scalar(one.text)}"


def _to_look_at(suggestions: Suggestions) -> Iterator[str]:
    if suggestions.pulling:
        yield f"# These utterances draw {LEAST_WRONG} prompts or more to the wrong route. Reword or delete them:"
    for one in suggestions.pulling:
        homes = ", ".join(f"{_plain(name) or 'no known route'} {number}" for name, number in one.belong_to.items())
        yield from _comment(
            f"- {one.file}:{one.line} {_scalar(one.text)} of `{one.route}`: {one.wrong} wrongly ({homes}), {one.right} "
            f"rightly, such as {_scalar(one.example)}"
        )
    if suggestions.merges:
        yield "# These routes are hard to tell apart. Merge them, or make their utterances differ more:"
    for pair in suggestions.merges:
        first, second = pair.routes
        same = "both have the same models" if pair.same_models else "their models differ"
        yield from _comment(
            f"- `{first}` and `{second}`: of {pair.prompts} prompts, {pair.confused} went to the wrong one and "
            f"{pair.contested} nearly did, such as {_scalar(pair.example)}; {same}"
        )


def _asked(requests: int) -> str:
    return "asked once" if requests == 1 else f"asked {requests} times"


def _scalar(text: str) -> str:
    """Return a text as a YAML scalar on one line."""
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=math.inf).strip()


def _plain(name: str) -> str:
    """Return a name from the log for a comment, on one line."""
    return " ".join(name.split())


def _comment(text: str, indent: str = "") -> Iterator[str]:
    line = f"{indent}#"
    for word in " ".join(text.split()).split(" "):
        if len(line) + 1 + len(word) > WIDTH and line.strip() != "#":
            yield line
            line = f"{indent}#"
        line += f" {word}"
    yield line
