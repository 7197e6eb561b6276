"""The page of `/ui`, as it is served and as a browser shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from playwright.sync_api import Page, expect

from semroute.record import Outcome
from tests.conftest import ROOT
from tests.service import Service, until

PARTS = sorted(path.name for path in (ROOT / "semroute/api/ui").iterdir())
KEY = "sk-ui-0123456789abcdef"


@pytest.mark.parametrize("path", ["/ui", *(f"/ui/{name}" for name in PARTS)])
def test_the_page_loads_nothing_from_elsewhere(service: Service, path: str) -> None:
    answer = service.client.get(path)
    kinds = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    kind = kinds[Path(path).suffix or ".html"]
    assert answer.status_code == 200
    assert answer.headers["content-type"].removesuffix("; charset=utf-8") == kind
    assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]
    assert not re.search(
        r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(|<script>|<style| on\w+=|innerHTML", answer.text
    )


@pytest.mark.parametrize("path", ["/ui/none.js", "/ui/..%2fdashboard.py", "/ui/../dashboard.py", "/ui/__init__.py"])
def test_nothing_else_is_served(service: Service, path: str) -> None:
    assert service.client.get(path).status_code == 404


def test_a_slash_at_the_end_leads_to_the_page(service: Service) -> None:
    answer = service.client.get("/ui/", follow_redirects=True)
    assert (answer.status_code, answer.url.path) == (200, "/ui")


def test_the_scripts_ask_for_what_there_is(service: Service) -> None:
    described = service.client.get("/schema/openapi.json").json()["paths"]
    known = {(method.upper(), path) for path, item in described.items() for method in item}
    scripts = "\n".join(path.read_text("utf-8") for path in (ROOT / "semroute/api/ui").glob("*.js"))
    asked = set(re.findall(r'ask\("(\w+)", (?:query\()?["`]([\w/]+)', scripts))
    assert len(asked) >= 7
    named = {(method, f"/{path}{'{id_}' if path.endswith('/') else ''}") for method, path in asked}
    assert named <= known


def test_the_log_can_be_filtered_by_each_outcome() -> None:
    script = (ROOT / "semroute/api/ui/decisions.js").read_text("utf-8")
    (listed,) = re.findall(r"OUTCOMES = (\[.*?\])", script)
    assert {*json.loads(listed)} == {*get_args(Outcome)} - {"running"}


def test_a_prompt_is_decided_and_answered(service: Service, page: Page) -> None:
    page.goto(f"{service.url}/ui")
    page.get_by_label("prompt", exact=True).fill("why was I charged <b>twice</b> this month?")
    page.get_by_role("button", name="Decide", exact=True).click()
    expect(page.get_by_text("billing → ok")).to_be_visible()
    expect(page.get_by_text("nearest: “why was I charged twice this month”")).to_be_visible()
    expect(page.locator(".words > span")).to_have_text(["why", "was", "I", "charged", "<b>twice</b>", "this", "month?"])
    expect(page.get_by_text("What would have changed it: ")).to_be_visible()
    page.get_by_label("model", exact=True).fill("auto:coding")
    page.get_by_role("button", name="Decide and answer").click()
    expect(page.get_by_text("coding → status-500")).to_be_visible()
    expect(page.locator("p.error").first).to_contain_text("status-500: ")
    page.get_by_label("model", exact=True).fill("none")
    page.get_by_role("button", name="Decide", exact=True).click()
    expect(page.get_by_text("model 'none' does not exist")).to_be_visible()


def test_the_log_and_the_traffic_are_shown(service: Service, page: Page) -> None:
    decided = service.client.post("/complete", json={"prompt": "where is my invoice"}).json()["decision"]["id"]
    assert until(lambda: service.client.get(f"/decisions/{decided}").status_code == 200)
    page.goto(f"{service.url}/ui#decisions/{decided}")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("billing → ok")).to_be_visible()
    dialog.get_by_role("button", name="Good").click()
    expect(dialog.get_by_text("recorded")).to_be_visible()
    assert service.client.get(f"/decisions/{decided}").json()["feedback"]["score"] == 1
    page.goto(f"{service.url}/ui#traffic")
    expect(page.get_by_role("heading", name="USD a day")).to_be_visible()
    page.get_by_label("by", exact=True).select_option("route")
    expect(page.get_by_role("cell", name="billing")).to_be_visible()
    page.goto(f"{service.url}/ui#routes")
    expect(page.get_by_role("cell", name="Invoices, refunds and payment problems.")).to_be_visible()


def test_a_key_is_asked_for_and_used(write_routes: Callable[[Path], Path], tmp_path: Path, page: Page) -> None:
    folder = write_routes(tmp_path / "routes")
    with Service(folder, tmp_path / "log", FAULTS_KEY="sk-faults-0123456789", SEMROUTE_ADMIN_KEY=KEY) as guarded:
        page.goto(f"{guarded.url}/ui#decisions")
        page.get_by_label("access key").fill("sk-wrong")
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_role("dialog").locator("p.error")).to_be_visible()
        page.get_by_label("access key").fill(KEY)
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_text("No decisions.")).to_be_visible()
        page.goto("about:blank")
    assert KEY not in guarded.log
