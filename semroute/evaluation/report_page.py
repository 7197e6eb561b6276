"""Statistics as one HTML page that needs nothing else: tables, and charts as inline SVG."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

COLUMNS: dict[str, str] = {
    "value": "",
    "requests": "requests",
    "share": "share",
    "cost_usd": "USD",
    "saved_usd": "saved",
    "p50": "p50 ms",
    "p95": "p95 ms",
    "p99": "p99 ms",
    "first_token": "first token p50",
    "fallback_rate": "fallback",
    "escalation_rate": "escalated",
    "misroute_rate": "misrouted",
    "error_rate": "errors",
    "abstention_rate": "abstained",
    "quality": "quality",
}
WIDTH, HEIGHT = 720, 160

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}
h2{margin-top:2.5rem;font-size:1.1rem} table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.25rem .5rem;border-bottom:1px solid #e3e7ee;font-size:.85rem}
th:first-child,td:first-child{text-align:left} .tiles{display:flex;gap:1rem;flex-wrap:wrap}
.tiles div{border:1px solid #e3e7ee;border-radius:.5rem;padding:.6rem 1rem;min-width:8rem}
.tiles b{display:block;font-size:1.4rem} svg{width:100%;height:auto} svg text{font-size:11px;fill:#5a6577}
@media(prefers-color-scheme:dark){body{background:#12161d;color:#e6e9ef}th,td,.tiles div{border-color:#2c3440}}
"""


def page(title: str, groups: Mapping[str, Sequence[Row]], days: Sequence[Row], budgets: Sequence[Row] = ()) -> str:
    """Return the page. `groups` are the rows of statistics by the name of their dimension."""
    parts = [f"<h1>{html.escape(title)}</h1>", _tiles(days)]
    if days:
        names = [str(day["value"]) for day in days]
        parts += ["<h2>USD a day</h2>", bars(names, [float(day["cost_usd"]) for day in days])]
        parts += ["<h2>Requests a day</h2>", bars(names, [float(day["requests"]) for day in days])]
    if budgets:
        heads = ["budget", "limit USD", "spent USD", "share"]
        texts = [[b["name"], f"{b['limit_usd']:f}", f"{b['spent_usd']:f}", f"{b['share']:.1%}"] for b in budgets]
        parts += ["<h2>Budgets</h2>", table(heads, texts)]
    for name, rows in groups.items():
        heads = [name, *list(COLUMNS.values())[1:]]
        parts += [f"<h2>By {html.escape(name)}</h2>", table(heads, [list(cells(row).values()) for row in rows])]
    return document(title, parts)


def document(title: str, parts: Iterable[str]) -> str:
    """Return a whole page of parts that are HTML already."""
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def cells(row: Row) -> dict[str, str]:
    """Return a row of statistics as texts, by `COLUMNS`."""
    latency = row["latency_ms"]
    texts = {name: f"{row[name]:.1%}" for name in COLUMNS if name == "share" or name.endswith("_rate")}
    texts |= {name: _milliseconds(latency[name]) for name in ("p50", "p95", "p99")}
    texts |= {
        "value": row["value"] or "(none)",
        "requests": f"{row['requests']:,}",
        "cost_usd": f"{row['cost_usd']:.6f}",
        "saved_usd": f"{row['saved_usd']:.6f}",
        "first_token": _milliseconds(row["first_token_ms"]["p50"]),
        "quality": "-" if row["quality"] is None else f"{row['quality']:.2f}",
    }
    return {name: texts[name] for name in COLUMNS}


def bars(names: Sequence[str], values: Sequence[float]) -> str:
    """Draw a bar chart as SVG."""
    top = max([*values, 0.0]) or 1.0
    step = WIDTH / max(len(values), 1)
    drawn = []
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        height = value / top * (HEIGHT - 30)
        x, y = place * step + step * 0.1, HEIGHT - 15 - height
        title = f"<title>{html.escape(name)}: {value:g}</title>"
        drawn.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{step * 0.8:.1f}" height="{height:.1f}">{title}</rect>')
    labels = f'<text x="0" y="10">{top:g}</text><text x="0" y="{HEIGHT - 2}">{html.escape(names[0])}</text>'
    labels += f'<text x="{WIDTH}" y="{HEIGHT - 2}" text-anchor="end">{html.escape(names[-1])}</text>'
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><g fill="#3b74d6">{"".join(drawn)}</g>{labels}</svg>'


def grouped_bars(names: Sequence[str], values: Sequence[Sequence[float]], legend: Sequence[str]) -> str:
    """Draw several bars for each name as SVG. `values`: for each name, one value for each entry of the legend."""
    top = max([0.0, *(value for group in values for value in group)]) or 1.0
    step, colours = WIDTH / max(len(names), 1), ("#9db2d6", "#3b74d6")
    drawn = []
    for place, (name, group) in enumerate(zip(names, values, strict=True)):
        width = step * 0.8 / len(group)
        for nth, value in enumerate(group):
            height = value / top * (HEIGHT - 30)
            x, y = place * step + step * 0.1 + nth * width, HEIGHT - 15 - height
            title = f"<title>{html.escape(name)}, {html.escape(legend[nth])}: {value:g}</title>"
            size = f'width="{width:.1f}" height="{height:.1f}" fill="{colours[nth % 2]}"'
            drawn.append(f'<rect x="{x:.1f}" y="{y:.1f}" {size}>{title}</rect>')
    labels = f'<text x="0" y="10">{top:g} ({html.escape(", ".join(legend))})</text>'
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(drawn)}{labels}</svg>'


def _tiles(days: Sequence[Row]) -> str:
    totals = {
        "requests": f"{sum(day['requests'] for day in days):,}",
        "USD spent": f"{sum(day['cost_usd'] for day in days):.4f}",
        "USD saved": f"{sum(day['saved_usd'] for day in days):.4f}",
    }
    tiles = "".join(f"<div>{name}<b>{value}</b></div>" for name, value in totals.items())
    return f'<div class="tiles">{tiles}</div>'


def table(heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a table. The cells are texts, not HTML."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
