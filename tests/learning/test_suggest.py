"""`semroute suggest`: what it finds in a log, and what it prints."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result

from semroute import Router
from semroute.cli.commands import group as cli
from semroute.config.load import read
from semroute.learning.logged_decisions import LoggedDecision
from semroute.learning.logged_prompts import MOST_ROWS, LoggedPrompts, PromptTally, read_all
from semroute.learning.new_routes import name_for, telling_words
from semroute.learning.suggestions import Suggestions, suggest
from tests.learning.logs import line, write

ROUTES = """
providers: {local: {dialect: echo}}
models: {echo: {provider: local, name: echo}}
default: {models: [echo]}
routes:
  - name: billing
    models: [echo]
    utterances: [why was I charged twice, I want a refund for my last invoice, where can I download my invoice,
      the payment with my credit card failed, how do I cancel my subscription]
  - name: shipping
    models: [echo]
    utterances: [where is my parcel, my package has not arrived yet, how long does delivery take,
      can I change the delivery address, the tracking number does not work]
"""
GARDEN = """how often should I water my tomato plants
when should I water the tomato plants in the garden
why do the leaves of my tomato plants turn yellow
what fertiliser is best for tomato plants
how do I prune tomato plants
my tomato plants have spots on the leaves
how much sun do tomato plants need
when can I plant tomatoes in the garden
how far apart should I plant tomato plants
which soil is good for tomato plants
how do I keep slugs away from my tomato plants
can tomato plants grow in the shade""".splitlines()
HOME = """please refund the second charge on my card
my invoice shows the wrong amount
cancel my plan at the end of the month
the parcel is late again
when will my package be delivered
I need a copy of the invoice for May
tracking says delivered but I have no parcel
can the courier leave the package with a neighbour""".splitlines()
WRONG = ["compensation for a damaged parcel", "the courier asked me for customs money"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("suggest") / "routes"
    path.mkdir()
    (path / "all.yaml").write_text(ROUTES)
    return path


@pytest.fixture(scope="module")
def router(folder: Path) -> Router:
    return Router.load(folder)


def rows() -> Iterator[dict[str, Any]]:
    prompts = [*HOME, *GARDEN, GARDEN[0].upper()]
    for number, prompt in enumerate(prompts, 1):
        yield line(number, prompt)
    for number, prompt in enumerate(WRONG, 100):
        yield line(number, prompt, route="shipping", feedback={"label": "billing", "score": 0.0})
    yield line(110, "is it raining", feedback={"label": "weather"})
    yield line(111, "where is my parcel now", route="shipping", feedback={"label": ""})


def collect(some: Sequence[LoggedDecision], router: Router, most: int = MOST_ROWS, seed: int = 0) -> LoggedPrompts:
    tally = PromptTally.begin(frozenset(router.config.routes), seed, most)
    tally.add(some)
    tally.rows += len(some)
    return tally.prompts()


def suggested(router: Router, some: Any) -> Suggestions:
    found = collect([msgspec.convert(row, LoggedDecision) for row in some], router)
    return suggest(router, found.prompts, read_all(router, found.prompts))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["suggest", *map(str, arguments)], catch_exceptions=True)


def test_a_topic_without_a_route_comes_back_as_one(router: Router) -> None:
    found = suggested(router, rows())
    assert len(found.routes) == 1
    [garden] = found.routes
    assert garden.name == "tomato-plants"
    assert set(garden.texts) <= set(GARDEN)
    assert len(garden.utterances) == min(10, -(-3 * garden.prompts // 4))
    assert garden.prompts >= 9
    assert garden.requests == garden.prompts + (GARDEN[0] in garden.texts)
    assert "tomato" in garden.description


def test_feedback_adds_utterances_where_another_route_was_taken(router: Router) -> None:
    found = suggested(router, rows())
    corrected = {one.text: (one.route, one.reason) for one in found.utterances if one.kind == "corrected"}
    reason = "feedback names this route; `shipping` takes it"
    assert corrected == {text: ("billing", reason) for text in WRONG}
    assert [one.text for one in found.negatives] == ["where is my parcel now"]


def test_an_utterance_that_pulls_wrongly_is_named_with_its_place(router: Router) -> None:
    pulled = ["where is my parcel please", "where is my parcel, I wait", "so where is my parcel today"]
    more = [line(200 + n, text, route="shipping", feedback={"label": "billing"}) for n, text in enumerate(pulled)]
    [found] = [one for one in suggested(router, [*rows(), *more]).pulling if one.text == "where is my parcel"]
    assert (found.route, found.right, found.wrong, found.belong_to) == ("shipping", 0, 6, {"billing": 5, "": 1})
    assert (Path(found.file).name, found.line) == ("all.yaml", 12)


def test_bad_feedback_without_a_label_counts_against_the_route_that_was_taken(router: Router) -> None:
    texts = ["where is my parcel please", "where is my parcel, I wait"]
    bad = [line(200 + n, text, route="shipping", feedback={"score": 0.0}) for n, text in enumerate(texts)]
    pulling = suggested(router, bad).pulling
    assert [(one.text, one.wrong, one.belong_to) for one in pulling] == [("where is my parcel", 2, {"": 2})]
    elsewhere = [line(n, text, route="billing", feedback={"score": 0.0}) for n, text in enumerate(texts)]
    assert suggested(router, elsewhere).pulling == ()


def test_routes_that_feedback_confuses_both_ways_may_be_one(router: Router) -> None:
    texts = [(text, "billing" if router.route(text).route == "shipping" else "shipping") for text in HOME]
    swapped = [line(n, text, feedback={"label": label}) for n, (text, label) in enumerate(texts)]
    swapped += [line(50 + n, text, feedback={"label": "billing"}) for n, text in enumerate(("refund me", "invoice"))]
    [merge] = suggested(router, swapped).merges
    assert merge.routes == ("billing", "shipping")
    assert merge.confused >= 6
    assert merge.same_models
    confirmed = [line(n, text, feedback={"label": router.route(text).route}) for n, (text, _) in enumerate(texts)]
    assert suggested(router, confirmed).merges == ()


def test_what_is_printed_can_be_put_into_the_folder(folder: Path, tmp_path: Path) -> None:
    odd = 'quote " back \\ ${HOME} {a: b} # no: - comment \u2028 \x7f \U0001f600'
    log = write(tmp_path / "log.jsonl", [*rows(), line(300, odd, feedback={"label": "billing"})])
    done = run(log, "--routes", folder)
    assert done.exit_code == 0, done.output
    together = tmp_path / "routes"
    shutil.copytree(folder, together)
    (together / "suggested.yaml").write_text(done.stdout, "utf-8")
    config, problems = read(together, environ={})
    assert [problem for problem in problems if problem.severity != "info"] == []
    assert config is not None
    assert set(WRONG) <= set(config.routes["billing"].utterances)
    assert " ".join(odd.split()) in config.routes["billing"].utterances
    assert config.routes["tomato-plants"].models == ("echo",)
    assert 'Feedback names routes that do not exist here, and does not count: "weather" (1)' in done.stdout
    after = Router.load(together)
    assert after.route("do my tomato plants get enough water").route == "tomato-plants"


def test_json_has_the_counts(folder: Path, tmp_path: Path) -> None:
    more = [
        line(400, None),
        line(401, "5" * 64),
        line(402, "mail [EMAIL_1] to me"),
        line(403, "hello", decision={"reason": "pinned"}),
    ]
    log = write(tmp_path / "log.jsonl", [*rows(), *more])
    with log.open("a") as file:
        file.write('{"id": "torn')
    done = run(log, "--routes", folder, "--json")
    shown = json.loads(done.stdout)
    counts = {name: shown["read"][name] for name in ("rows", "torn", "without_text", "redacted", "not_matched")}
    assert counts == {"rows": 29, "torn": 1, "without_text": 2, "redacted": 1, "not_matched": 1}
    assert shown["read"]["prompts"] == 24
    assert (shown["read"]["labelled"], shown["read"]["unknown_labels"]) == (3, {"weather": 1})
    assert [route["name"] for route in shown["suggestions"]["routes"]] == ["tomato-plants"]
    assert f"{log}:30" in done.stderr.replace("\n", "")


def test_a_log_without_text_is_refused_with_advice(folder: Path, tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", [line(n, None) for n in range(30)])
    done = run(log, "--routes", folder)
    assert (done.exit_code, done.stdout) == (1, "")
    told = str(done.exception)
    assert "got 0 different prompts in 30 rows, 30 rows without text; expected at least 20, 20 more" in told
    assert "so that the log keeps prompts" in told


def test_a_large_log_is_sampled_the_same_way_each_time(router: Router) -> None:
    some = [msgspec.convert(line(n, f"prompt number {n}"), LoggedDecision) for n in range(300)]
    labelled = [msgspec.convert(line(n, f"hm {n}", feedback={"label": "billing"}), LoggedDecision) for n in range(9)]
    first, again = (collect([*some, *labelled], router, most=50, seed=3) for _ in range(2))
    other = collect([*some, *labelled], router, most=50, seed=4)
    assert first == again
    assert first.prompts != other.prompts
    assert (first.counts.used, first.counts.sampled_from, first.counts.labelled) == (59, 309, 9)
    assert collect(some[:50], router, most=50).counts.sampled_from is None


def test_names_are_valid_and_free() -> None:
    assert telling_words(["water my roses", "the roses need water"], ["the bill", "my bill"]) == [
        "water",
        "roses",
        "need",
    ]
    assert name_for(["naïve", "Straße"], ()) == "nave-strae"
    assert name_for(["水", "花"], {"suggested"}) == "suggested-2"
    assert name_for(["a", "b"], {"a-b", "a-b-2"}) == "a-b-3"
    assert name_for([], ()) == "suggested"


def test_without_routes_there_are_still_groups(tmp_path: Path) -> None:
    empty = yaml.safe_load(ROUTES)
    del empty["routes"]
    empty["rules"] = [{"name": "all", "when": {"metadata": {"x": "y"}}, "models": ["echo"]}]
    (tmp_path / "all.yaml").write_text(json.dumps(empty))
    router = Router.load(tmp_path)
    names = [route.name for route in suggested(router, rows()).routes]
    assert names[0] == "tomato-plants"
    assert all("parcel" in name for name in names[1:])  # of the prompts that the shop's routes would take
