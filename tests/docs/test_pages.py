"""What the README and the docs show is what happens."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
import yaml
from click.testing import CliRunner

from semroute.api.app import create_app
from semroute.cli.commands import group
from semroute.config.load import load
from semroute.config.presets import PRESETS
from semroute.config.schema.policies import Difficulty
from semroute.config.schema.route_file import RouteFile
from semroute.dialects.registry import DIALECTS
from semroute.execution import faults
from semroute.messages import ChatRequest, Message, Text
from semroute.router import Router
from semroute.routing.difficulty import WEIGHTS
from semroute.settings import PREFIX, Settings, variable
from tests.conftest import ROOT
from tests.docs.reference import COMMAND, GENERATED
from tests.docs.reference import PAGES as REFERENCE
from tests.docs.shown import (
    FOLDER,
    HOST,
    PAGES,
    README,
    Block,
    anchors,
    between,
    blocks,
    fits,
    marked,
    programs,
    run,
)
from tests.service import Service

pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")

OTHERS = {f"{PREFIX}{name}" for name in ("CACHE_DIR", "KEY", "COMPLETE")}
"""Variables that are no settings of the service: the cache, a client's key, and what a shell sets to complete."""
SOURCE = "\n".join(file.read_text("utf-8") for file in sorted((ROOT / "semroute").rglob("*.py")))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service of the pages: the shipped routes, and an echo for every model."""
    with Service(ROOT / "routes", tmp_path_factory.mktemp("shown") / "log", "--echo") as running:
        yield running


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder to run commands in that looks like a checkout."""
    for name in ("bench", "routes"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


# --- what is run ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", list(blocks("console")), ids=str)
def test_a_command_prints_what_is_shown(block: Block, checkout: Path, request: pytest.FixtureRequest) -> None:
    text = block.text
    if HOST in text:
        running: Service = request.getfixturevalue("service")
        text = text.replace(HOST, running.url.removeprefix("http://"))
    shown = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.M)
    assert shown, f"{block} shows no command"
    for command, output in shown:
        printed = run(["sh", "-c", command], checkout)
        assert fits(output, printed), f"{block}: `{command}` printed:\n{printed}"


@pytest.mark.parametrize(
    "shown",
    [list(found) for _, found in groupby((b for b in programs() if not b.mark), lambda block: block.page)],
    ids=lambda found: str(found[0].page.relative_to(ROOT)),
)
def test_a_program_prints_what_is_shown(shown: list[Block], service: Service) -> None:
    """The programs of a page, in one process: its libraries are imported once."""
    between_them = "\nprint(chr(0))\n"
    text = between_them.join(block.text.replace(f"http://{HOST}", service.url) for block in shown)
    for block, printed in zip(shown, run([sys.executable, "-"], ROOT, text).split("\0\n"), strict=True):
        assert block.output is None or printed == block.output, f"{block} printed:\n{printed}"


def commands() -> Iterator[tuple[str, list[str]]]:
    """Each `semroute …` that a page shows without its output, where it stands."""
    for block in blocks("sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line.replace("&&", ";").rstrip("& "), comments=True)
            for start, word in enumerate(words):
                named = start > 0 and words[start - 1].startswith("-")  # `podman build -t semroute`
                if word == "semroute" and start + 1 < len(words) and not named:
                    yield f"{block}: {line}", words[start + 1 :]


def test_commands_and_options_that_are_shown_exist() -> None:
    seen = 0
    for place, words in commands():
        context = click.Context(group)
        command: click.Command = group
        rest = words
        while isinstance(command, click.Group):
            found = command.get_command(context, rest[0])
            assert found is not None, f"{place}: there is no command {rest[0]}"
            command, rest = found, rest[1:]
        command.make_parser(click.Context(command)).parse_args(list(rest))  # raises where there is no such option
        seen += 1
    assert seen > 5


# --- route files ------------------------------------------------------------------------------------------------------


def completed(shown: dict[str, Any]) -> dict[str, Any]:
    """What a part of a route file needs beside it: the models, providers and routes that the pages speak of."""
    models = shown.get("models", {})
    places = [model["provider"] for model in models.values()]
    places += [place["provider"] for model in models.values() for place in model.get("deployments", ())]
    routes = [route["name"] for route in shown.get("routes", ())]
    rest: dict[str, Any] = {
        "providers": {place: {"dialect": "echo"} for place in {*places, "rest"} - shown.get("providers", {}).keys()},
        "models": {
            id_: {"provider": "rest", "name": id_, "tier": tier, "regions": ["eu"]}
            for id_, tier in (("small", "simple"), ("large", "complex"))
            if id_ not in models
        },
    }
    if "billing" not in routes:
        rest["routes"] = [{"name": "billing", "utterances": ["where is my invoice"], "models": ["small", "large"]}]
    if "default" not in shown:
        rest["default"] = {"models": ["large"]}
    return rest


@pytest.mark.parametrize("block", [each for each in blocks("yaml") if each.page.name != "llm.md"], ids=str)
def test_a_route_file_that_is_shown_can_be_loaded(block: Block, tmp_path: Path) -> None:
    shown = yaml.safe_load(block.text)
    assert shown.keys() <= set(RouteFile.__struct_fields__)
    (tmp_path / "shown.yaml").write_text(block.text)
    (tmp_path / "rest.yaml").write_text(json.dumps(completed(shown)))
    load(tmp_path, environ={})


def test_a_route_file_with_a_mistake_is_found(tmp_path: Path) -> None:
    """Else the test above would find nothing."""
    shown = {"policy": {"selekt": "cheapest"}}
    (tmp_path / "shown.yaml").write_text(json.dumps(shown))
    (tmp_path / "rest.yaml").write_text(json.dumps(completed(shown)))
    with pytest.raises(Exception, match="selekt"):
        load(tmp_path, environ={})


@pytest.mark.parametrize("block", [each for each in blocks("json") if each.page.parent.name != "clients"], ids=str)
def test_json_that_is_shown_is_json(block: Block) -> None:
    assert [json.loads(line) for line in block.text.splitlines()]


def test_the_strategies_that_are_shown_are_valid_and_apply(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(marked("strategies").text)
    router = Router.load(tmp_path, environ={"OPENAI_API_KEY": "sk-key"})
    assert router.route("please send ORDER-123456 back").rule == "refunds"
    metadata = {"retrieval_score": 0.9}
    grounded = ChatRequest(id="r", messages=(Message(role="user", parts=(Text(text="hello"),)),), metadata=metadata)
    assert (router.route(grounded).rule, router.route(grounded).plan) == ("grounded", ("small",))
    narrowed = router.route(msgspec.structs.replace(grounded, metadata={}, headers={"x-region": "eu"}))
    assert (narrowed.narrowed_by, "large" in narrowed.rejected) == (("eu",), True)


def test_the_provider_on_bedrock_that_is_shown_can_be_called(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(marked("bedrock").text)
    provider = load(tmp_path, environ={}).providers["aws"]
    assert (provider.unavailable, provider.api_key) == ("", None)
    assert provider.base_url == "https://bedrock-runtime.eu-central-1.amazonaws.com"


def test_the_route_that_is_shown_fits_the_starter_folder_and_the_shipped_one(tmp_path: Path) -> None:
    (shown,) = (block for block in blocks("yaml") if block.page == FOLDER / "routes.md" and "schema.json" in block.text)
    starter, shipped = tmp_path / "starter", tmp_path / "shipped"
    written = CliRunner().invoke(group, ["init", str(starter)])
    assert written.exit_code == 0, written.output
    shutil.copytree(ROOT / "routes", shipped)
    own_ids = {"small": "gpt-luna", "large": "gpt-sol"}
    for folder, ids in ((starter, {}), (shipped, own_ids)):
        text = shown.text
        for id_, other in ids.items():
            text = text.replace(id_, other)
        (folder / "shipping.yaml").write_text(text)
        checked = CliRunner().invoke(group, ["check", str(folder), "--no-embed"])
        assert checked.exit_code == 0, checked.output


def test_the_starter_folder_of_the_readme_is_not_in_a_checkout_already() -> None:
    (folder,) = re.findall(r"`semroute init (\S+)`", README.read_text("utf-8"))
    assert not (ROOT / folder).exists()


# --- names and tables -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GENERATED)
def test_a_page_that_is_made_from_the_code_is_up_to_date(name: str) -> None:
    assert (REFERENCE / name).read_text("utf-8") == GENERATED[name](), f"{name} is stale: {COMMAND}"


def test_every_line_of_a_generated_page_says_something() -> None:
    undocumented = [
        f"{page}: {line}"
        for page in ("route-files.md", "settings.md", "commands.md")
        for line in (REFERENCE / page).read_text("utf-8").splitlines()
        if line.startswith("| `") and line.endswith("|  |")
    ]
    assert undocumented == []


def test_variables_that_are_named_are_settings() -> None:
    known = {variable(name) for name in Settings.__struct_fields__} | OTHERS
    for page in PAGES:
        named = set(re.findall(rf"{PREFIX}[A-Z_]+", page.read_text("utf-8")))
        assert named <= known, f"{page}: {named - known}"


def test_headers_and_metrics_that_are_named_exist() -> None:
    written = re.compile(r"`(x-semroute-[a-z-]+|semroute_[a-z_]+)`")
    for page in PAGES:
        for name in set(written.findall(page.read_text("utf-8"))):
            known = name.removesuffix("_total").removeprefix("semroute_")
            assert f'"{known}"' in SOURCE or f"`{name}`" in SOURCE, f"{page} names {name}"


def test_every_header_that_goes_on_to_providers_is_named() -> None:
    text = (ROOT / "semroute/dialects/README.md").read_text("utf-8")
    section = text.partition("## Headers of callers\n")[2].partition("\n## ")[0]
    going_on = {header.name for dialect in DIALECTS.values() for header in dialect.headers}
    assert {name for name in going_on | {"traceparent", "tracestate"} if f"`{name}`" not in section} == set()


def test_paths_that_are_named_are_served() -> None:
    paths = ["/schema", *create_app(Settings(database_url="memory:")).openapi_schema.to_schema()["paths"]]
    patterns = [re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))) for path in paths]
    for page in PAGES:
        for _, path in re.findall(r"`(GET|POST|DELETE) (/[^`? ]*)", page.read_text("utf-8")):
            assert any(pattern.fullmatch(path) for pattern in patterns), f"{page} names {path}"


def test_files_that_are_named_exist() -> None:
    """Those of the repository; `routes/` and the like may be a reader's own."""
    named = re.compile(r"`((?:semroute|bench|tests|deploy|locks|docs)/[\w./]+)`")
    for page in PAGES:
        for path in named.findall(page.read_text("utf-8")):
            assert (ROOT / path).exists(), f"{page} names {path}"


def test_the_table_of_faults_is_the_one_in_use() -> None:
    assert between("failures.md", "faults") == faults.markdown()


def test_the_table_of_complexity_is_the_one_in_use() -> None:
    rows = re.findall(r"\| `(\w+)` \| ([\d.]+) \|", between("policies.md", "complexity"))
    assert {name: float(weight) for name, weight in rows} == WEIGHTS
    moderate, complex_ = Difficulty().moderate_from, Difficulty().complex_from
    shown = f"From {moderate:g} it wants the tier `moderate`, from {complex_:g} `complex`"
    assert shown in (FOLDER / "policies.md").read_text("utf-8")


def test_every_preset_is_named() -> None:
    page = (FOLDER / "providers.md").read_text("utf-8")
    assert all(f"`{name}`" in page for name in PRESETS)


def test_every_kind_of_condition_and_check_is_named() -> None:
    """What people write most is on the pages that explain it, and not in the reference alone."""
    structs = json.loads((ROOT / "routes" / "schema.json").read_text("utf-8"))["$defs"]
    for page, struct in (("models.md", "When"), ("policies.md", "Checks")):
        text = (FOLDER / page).read_text("utf-8")
        missing = [key for key in structs[struct]["properties"] if not re.search(rf"[`(]{key}\b", text)]
        assert missing == [], page


# --- the README -------------------------------------------------------------------------------------------------------


def test_the_readme_is_short() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 150


def test_ci_runs_the_commands_that_are_shown() -> None:
    text = README.read_text("utf-8")
    shown = re.findall(r"```sh\n(python3 -m venv .*|pip install .*)\n```", text)
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert len(shown) == 2
    assert all(command in script for command in shown)
    assert shown[0] in (FOLDER / "get-started.md").read_text("utf-8")
    assert "python -m mkdocs build --strict -f docs/mkdocs.yml" in script


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]*)#?([^)]*)\)", README.read_text("utf-8"))
    assert links
    for target, anchor in links:
        if not target.startswith("http"):
            found = ROOT / target if target else README
            assert found.exists(), target
            assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


def test_each_claim_of_the_comparison_links_to_the_page_that_shows_it() -> None:
    table = README.read_text("utf-8").partition("<!-- comparison -->\n")[2].partition("\n\n")[0]
    rows = table.splitlines()[2:]
    assert len(rows) >= 8
    for row in rows:
        about, ours, *peers = [cell.strip() for cell in row.strip("|").split("|")]
        assert re.search(r"\]\(docs/pages/[^)]+\)", ours), f"{about}: the claim has no link"
        assert len(peers) == 5
        bare = [peer for peer in peers if len(peer) > 1 and not re.search(r"\]\(https://[^)]+\)", peer)]
        assert bare == [], f"{about}: a claim about a peer has no link"


def test_pictures_are_small() -> None:
    for picture in (FOLDER / "images").iterdir():
        assert picture.stat().st_size < 300_000, picture.name
        assert any(f"images/{picture.name}" in page.read_text("utf-8") for page in PAGES), (
            f"{picture.name} is not shown"
        )
