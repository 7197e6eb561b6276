"""Files that add utterances to the routes of other files."""

from __future__ import annotations

from pathlib import Path

from semroute.config.load import load, read
from semroute.errors import Problem

ROUTES = """
providers: {local: {dialect: echo}}
models: {echo: {provider: local, name: echo}}
default: {models: [echo]}
routes:
  - {name: billing, models: [echo], utterances: [a, b, c, d, e]}
  - {name: shipping, models: [echo], utterances: [f, g, h, i, j]}
"""


def problems(folder: Path, *texts: str) -> list[Problem]:
    for number, text in enumerate(texts):
        (folder / f"more{number}.yaml").write_text(text)
    (folder / "routes.yaml").write_text(ROUTES)
    return read(folder, environ={})[1]


def test_they_come_after_the_routes_own_and_keep_their_places(tmp_path: Path) -> None:
    added = "more_utterances:\n- route: billing\n  utterances:\n  - k\n  - l\n- {route: shipping, utterances: [m]}\n"
    assert problems(tmp_path, added, "more_utterances: [{route: billing, utterances: [n]}]") == []
    config = load(tmp_path, environ={})
    assert config.routes["billing"].utterances == ("a", "b", "c", "d", "e", "k", "l", "n")
    assert config.routes["shipping"].utterances[5:] == ("m",)
    where = config.sources["routes.billing.utterances[6]"]
    assert (Path(where.file).name, where.line, where.path) == ("more0.yaml", 5, "$.more_utterances[0].utterances[1]")
    assert Path(config.sources["routes.billing.utterances[7]"].file).name == "more1.yaml"


def test_an_unknown_route_is_an_error_at_its_line(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, "more_utterances:\n- utterances: [k]\n  route: biling\n")
    assert (Path(problem.file).name, problem.line, problem.severity) == ("more0.yaml", 3, "error")
    assert problem.path == "$.more_utterances[0].route"
    told = 'got "biling", expected one of `routes` (`billing`, `shipping`), did you mean `billing`?'
    assert problem.message == told


def test_an_utterance_of_two_routes_is_an_error(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, "more_utterances:\n- {route: billing, utterances: [k, F]}\n")
    assert (problem.code, Path(problem.file).name, problem.line) == ("ambiguous", "routes.yaml", 7)
    [problem] = problems(tmp_path, "more_utterances:\n- {route: billing, utterances: [k, A]}\n")
    assert (problem.code, Path(problem.file).name, problem.line) == ("duplicate", "more0.yaml", 2)


def test_a_wrong_entry_is_told_alone(tmp_path: Path) -> None:
    wrong = (
        "more_utterances:\n- {route: billing, utterances: [k, 7]}\n- {route: billing}\n- {route: x, utterances: [m]}\n"
    )
    found = problems(tmp_path, wrong)
    assert [(one.line, one.path) for one in found] == [
        (2, "$.more_utterances[0].utterances[1]"),
        (3, "$.more_utterances[1]"),
    ]
