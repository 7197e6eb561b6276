"""The map and what the log teaches, as a browser shows them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from semroute import Router
from semroute.config.schema.service import LogSettings
from semroute.record import Trial
from semroute.stores.connect import open_database
from semroute.stores.trials import TrialLog
from tests.learning.logs import FOLDER, PROMPTS, many_utterances, write_folder, write_log
from tests.learning.test_suggest import GARDEN
from tests.service import Service

DAY_S = 86_400
EXPERIMENT = "experiments: {dear: {arms: {today: {}, thrifty: {models: [small]}}}}\n"


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a log of 30 days. In the last two, a third of the requests asks about the garden."""
    root = tmp_path_factory.mktemp("learner")
    folder, now = write_folder(root / "routes"), time.time()
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    prompts = [GARDEN[n // 3 % 12] if n >= 280 and n % 3 == 0 else f"{PROMPTS[n % 5]} {n % 25}" for n in range(560)]
    times = [now - (30 - n / 10 if n < 280 else 2 - (n - 280) / 150) * DAY_S for n in range(560)]
    service = Service(folder, root / "log")
    write_log(f"sqlite:///{service.database}", Router.load(folder), prompts, LogSettings(content="full"), times=times)
    try_and_share(f"sqlite:///{service.database}")
    with service:
        yield service


def try_and_share(url: str) -> None:
    """Let each answer be compared with one of the other model, and give each second user the arm `thrifty`."""
    with closing(open_database(url)) as database:
        with database.transaction() as session:
            rows = session.run("SELECT id, at, model FROM decisions ORDER BY id")
            for number, (id_, _, _) in enumerate(rows):
                arm = ("today", "thrifty")[number % 2]
                values = [f"u{number * 0x9E3779B97F4A7C15 % 2**64:016x}", arm, id_]
                session.run("UPDATE decisions SET experiment = 'dear', unit = ?, arm = ? WHERE id = ?", values)
        tried = [
            Trial(
                id=f"{id_}:shadow",
                decision=id_,
                at=at,
                purpose="shadow",
                served=served,
                model="small" if served == "large" else "large",
                method="pairwise",
                verdict="tie",
                served_score=0.5,
                score=0.5,
            )
            for id_, at, served in rows
        ]
        TrialLog(database).append(tried)


def test_a_typed_prompt_appears_on_the_map(learner: Service, page: Page) -> None:
    page.goto(f"{learner.url}/ui#map")
    picture = page.get_by_role("group", name="Map of 6 utterances of 2 routes")
    expect(picture.locator("g[data-route] path")).to_have_count(6)
    expect(picture.locator(".prompt")).to_be_hidden()
    page.get_by_label("prompt on the map").fill("will it rain <b>tomorrow</b>")
    expect(picture.get_by_label("your prompt: weather")).to_be_visible()
    expect(page.get_by_text("Nearest: “will it rain tomorrow”")).to_be_visible()
    first = picture.locator(".prompt").get_attribute("transform")
    page.get_by_label("prompt on the map").fill("who won the match")
    expect(picture.get_by_label("your prompt: sport")).to_be_visible()
    assert picture.locator(".prompt").get_attribute("transform") != first
    page.get_by_label("prompt on the map").fill("")
    expect(picture.locator(".prompt")).to_be_hidden()


def test_the_map_tells_an_utterance_to_the_mouse_and_to_the_keyboard(learner: Service, page: Page) -> None:
    page.goto(f"{learner.url}/ui#map")
    picture = page.get_by_role("group", name="Map of")
    picture.locator("g[data-route=weather] path").first.hover(force=True)
    expect(page.get_by_text("weather: will it rain tomorrow")).to_be_visible()
    page.mouse.move(0, 0)
    picture.focus()
    for key in ("ArrowUp", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    told = page.locator("p[aria-live]")
    expect(told).to_contain_text("sport: ")
    page.get_by_role("button", name="weather 3").click()
    expect(page.get_by_role("button", name="weather 3")).to_have_attribute("aria-pressed", "true")
    expect(picture.locator("g[data-route=sport]")).to_have_class("dim")
    picture.focus()
    page.keyboard.press("ArrowUp")
    expect(told).to_contain_text("weather: ")


def test_a_candidate_folder_is_replayed(learner: Service, page: Page, tmp_path: Path) -> None:
    candidate = write_folder(tmp_path / "candidate", sport="small")
    (candidate / "notes.txt").write_text("no route file")
    page.goto(f"{learner.url}/ui#learn/replay")
    page.get_by_label("span").select_option("365")
    page.get_by_label("candidate folder").set_input_files(candidate)
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_text("exact: 560 (560 from text)")).to_be_visible()
    expect(page.get_by_role("img", name="small: 560 after")).to_be_hidden()
    move = page.get_by_text("sport, large → small")
    move.click()
    expect(page.get_by_role("columnheader", name="nearest after")).to_be_visible()
    page.get_by_role("link", name="Drift").click()
    page.get_by_role("link", name="Replay").click()
    expect(move).to_be_visible()  # the last result is still there
    (candidate / "all.yaml").write_text(FOLDER.replace("SPORT", "none"))
    page.get_by_label("candidate folder").set_input_files(candidate)
    page.get_by_role("button", name="Replay").click()
    expect(page.locator("p[role=status] .error")).to_contain_text("all.yaml:9 ")


def test_drift_is_shown_over_time(learner: Service, page: Page) -> None:
    page.goto(f"{learner.url}/ui#learn/drift")
    page.get_by_label("Windows").select_option("4")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_text("2 windows of 2 moved")).to_be_visible()
    expect(page.get_by_text("2 windows with too few requests left out.")).to_be_visible()
    expect(page.get_by_role("img", name="in-scope score").locator("circle")).to_have_count(2)
    expect(page.locator("svg.chart circle.moved").first).to_be_visible()
    expect(page.get_by_text("tomato plants").first).to_be_visible()


def test_suggestions_can_be_copied(learner: Service, page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{learner.url}/ui#learn/suggest")
    page.get_by_role("button", name="Suggest", exact=True).click()
    page.get_by_text("new route ").first.click()
    part = page.locator("details[open]")
    part.get_by_role("button", name="Copy").click()
    expect(part.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == part.locator("pre").text_content()
    assert (part.locator("pre").text_content() or "").startswith("routes:\n")


def test_work_can_be_stopped(learner: Service, page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    (folder / "a.yaml").write_text(many_utterances(20_000))
    page.goto(f"{learner.url}/ui#learn/replay")
    page.get_by_label("candidate folder").set_input_files(folder)
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_text("embedding utterances of the files: ")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("p[role=status]")).to_have_text("stopped")
    expect(page.get_by_role("button", name="Replay")).to_be_enabled()


def test_a_slider_shows_what_each_setting_of_a_dial_costs_and_keeps(learner: Service, page: Page) -> None:
    page.goto(f"{learner.url}/ui#learn/sweep")
    page.get_by_label("Requests of").select_option("365")
    page.get_by_role("button", name="Sweep", exact=True).click()
    slider = page.get_by_role("slider", name="abstain_threshold")
    expect(slider).to_be_visible()
    section = page.locator("section").filter(has=slider)
    expect(
        section.get_by_role("img", name="abstain_threshold: cost against quality").locator("circle").first
    ).to_be_visible()
    expect(section.locator("svg.chart .here")).to_have_count(1)
    slider.press("Home")
    told = section.locator("[aria-live]")
    expect(told.locator(".headline")).to_contain_text("keeps ")
    first, place = told.text_content(), section.locator("svg.chart .here").get_attribute("d")
    slider.press("End")
    expect(told).to_contain_text("of the requests get another model")
    assert told.text_content() != first
    assert section.locator("svg.chart .here").get_attribute("d") != place


def test_experiments_are_shown_with_their_intervals_over_time(learner: Service, page: Page) -> None:
    page.goto(f"{learner.url}/ui#learn/experiments")
    expect(page.get_by_role("heading", name="dear")).to_be_visible()
    row = page.get_by_role("row").filter(has_text="thrifty")
    expect(row).to_contain_text("280")
    page.get_by_label("figure", exact=True).select_option("cost_usd")
    estimates = page.get_by_role("img", name="cost a request by arm")
    expect(estimates.locator("g path.line")).to_have_count(2)
    expect(estimates.locator("g path.band")).to_have_count(2)
    expect(page.get_by_role("img", name="difference from today").locator("g path.line")).to_have_count(1)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_an_experiment_that_ended_on_its_first_day(learner: Service, page: Page) -> None:
    def first_day(route: Route) -> None:
        response = route.fetch()
        found = response.json()
        for experiment in found["experiments"]:
            experiment |= {"reason": "somebody stopped it", "summary": ["It ended: somebody stopped it"]}
            for metric in (metric for arm in experiment["arms"] for metric in arm["metrics"].values()):
                metric["by_day"] = metric["by_day"][-1:]
        route.fulfill(response=response, json=found)

    page.route("**/experiments", first_day)
    page.goto(f"{learner.url}/ui#learn/experiments")
    expect(page.get_by_text("somebody stopped it")).to_have_count(1)
    page.get_by_label("figure", exact=True).select_option("cost_usd")
    estimates = page.get_by_role("img", name="cost a request by arm")
    expect(estimates.locator("text").filter(has_text=re.compile(r"^\d\d-\d\d$"))).to_have_count(1)
    expect(estimates.locator("g path.line[d*=L]")).to_have_count(2)


def test_the_axis_of_a_share_ends_at_one(learner: Service, page: Page) -> None:
    def high(route: Route) -> None:
        response = route.fetch()
        found = response.json()
        known, open_ = {"value": 0.98, "low": 0.9, "high": 1.0}, {"value": None, "low": None, "high": None}
        for number, arm in enumerate(found["experiments"][0]["arms"]):
            estimate, difference = (open_, {"value": 0.9, "low": 0.5, "high": 1.0}) if number else (known, None)
            arm["metrics"]["quality"]["by_day"] = [
                {"day": day, "estimate": estimate, "difference": difference} for day in ("2026-11-01", "2026-11-02")
            ]
        route.fulfill(response=response, json=found)

    page.route("**/experiments", high)
    page.goto(f"{learner.url}/ui#learn/experiments")
    estimates = page.get_by_role("img", name="quality by arm")
    expect(estimates.locator("text").filter(has_text="1.000")).to_have_count(1)
    difference = page.get_by_role("img", name="difference from today")
    expect(difference.locator("text").filter(has_text="+1.000")).to_have_count(1)
    for picture in (estimates, difference):
        figures = [text for text in picture.locator("text").all_text_contents() if re.fullmatch(r"[+-]?\d\.\d+", text)]
        assert len(figures) == 3
        assert max(map(float, figures)) == 1.0
    expect(estimates.locator("g path.line")).to_have_count(1)  # nothing is known of the other arm
