"""The report: complete in itself, and true to the figures."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from semroute.evaluation.charts import Matrix, matrix_chart, risk_chart
from semroute.evaluation.decision_metrics import RiskPoint
from semroute.evaluation.evaluation_page import MOST_ROUTES, NONE, confusion_matrix, page
from semroute.evaluation.measure import Outcome, measure


def outcome(expected: str | None, decided: str | None, text: str = "a prompt", confidence: float = 0.8) -> Outcome:
    return Outcome(
        text=text, expected=expected, decided=decided, best=decided or "a", confidence=confidence, latency_ms=2.0
    )


OUTCOMES = [
    *[outcome("a", "a", confidence=c) for c in (0.95, 0.9, 0.7)],
    outcome("a", "b", "<script>alert('x')</script> & more", 0.99),
    outcome("b", "b"),
    outcome("b", None, "too unsure", 0.2),
    outcome(None, None, confidence=0.1),
    outcome(None, "a", "taken by mistake", 0.6),
]
ROUTES = ("a", "b")


@pytest.fixture
def html() -> str:
    return page("A <title>", measure(OUTCOMES), OUTCOMES, ROUTES)


def test_without_a_row_in_scope_no_route_is_called_weak(html: str) -> None:
    nothing = [outcome(None, None)]
    assert "Which routes are weak?" in html
    assert "Which routes are weak?" not in page("x", measure(nothing), nothing, ROUTES)


def test_nothing_comes_from_elsewhere(html: str) -> None:
    assert not re.search(r"(?:src|href)=|url\(|@import|<script|<link|https?:", html)
    assert "prefers-color-scheme:dark" in html
    assert 'name="viewport"' in html


def test_what_users_wrote_is_escaped(html: str) -> None:
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; more" in html
    assert "<h1>A &lt;title&gt;</h1>" in html


def test_every_chart_is_well_formed(html: str) -> None:
    charts = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(charts) == 4
    for chart in charts:
        assert ET.fromstring(chart).attrib["aria-label"]


def test_the_figures_stand_on_the_page(html: str) -> None:
    evaluation = measure(OUTCOMES)
    assert f"<b>{evaluation.accuracy:.1%}</b>" in html
    assert f"<b>{evaluation.ece:.1%}</b>" in html
    assert "8 prompts, 2 of them out of scope" in html
    assert html.rindex("taken by mistake") > html.index("Surest mistakes")


def test_a_cross_validation_says_so() -> None:
    rows = [outcome("a", "a")]
    html = page("x", measure(rows, folds=5), rows, ROUTES)
    assert "1 utterances of the route files, each decided by a router made without it, in 5 folds" in html
    assert "None: every decision was right." in html
    assert "Surest mistakes" not in html


def test_the_matrix_counts_every_row() -> None:
    matrix, left_out = confusion_matrix(OUTCOMES, ROUTES)
    assert left_out == 0
    assert matrix == Matrix(labels=("a", "b", NONE), counts=((3, 1, 0), (0, 1, 1), (1, 0, 1)))
    chart = matrix_chart(matrix)
    assert 'class="abstained"' in chart
    assert "a decided as b: 1 of 4" in chart


def test_a_matrix_of_many_routes_shows_the_confused_ones() -> None:
    names = [f"r{i}" for i in range(MOST_ROUTES + 20)]
    rows = [outcome(name, name) for name in names] + [outcome("r3", "r9")] * 2
    matrix, left_out = confusion_matrix(rows, names)
    assert {"r3", "r9"} <= set(matrix.labels)
    assert len(matrix.labels) + left_out == len(names) + 1


@pytest.mark.parametrize("now", [None, (0.5, 0.9), (0.5, 0.04)])
def test_todays_point_is_shown_where_the_chart_reaches(now: tuple[float, float] | None) -> None:
    chart = risk_chart([RiskPoint(threshold=0.5, coverage=1.0, risk=0.05)], now)
    assert ('class="now"' in chart) == (now == (0.5, 0.04))


def test_no_rows_make_an_empty_page() -> None:
    assert "<h1>x</h1>" in page("x", measure([]), [], ROUTES)
    assert np.isfinite(len(risk_chart([], None)))
