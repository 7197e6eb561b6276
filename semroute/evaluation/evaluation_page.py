"""The evaluation as one HTML page. It loads no script, font or picture. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

from semroute.evaluation.charts import Matrix, matrix_chart, reliability_chart, risk_chart, route_bars
from semroute.evaluation.measure import Evaluation, Outcome

NONE = "(none)"
"""Stands for "no route"."""
MOST_ROUTES = 40
"""The most routes in a readable matrix. If there are more, the most confused ones are shown."""
WORST = 12

STYLE = """
:root{--bg:#f6f7f9;--panel:#fff;--ink:#1b2430;--muted:#667284;--line:#e3e7ed;--track:#edf0f4;--accent:#2f6feb;
--bad:#d6455d;--good:#1a8f5a;--mark:#e08a00;--strong:#fff}
@media(prefers-color-scheme:dark){:root{--bg:#10141a;--panel:#181e27;--ink:#e7ecf3;--muted:#93a0b2;--line:#2a3340;
--track:#232c38;--accent:#6ea2ff;--bad:#ff7287;--good:#4cc38a;--mark:#ffb54a;--strong:#0d1117}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 18px 60px}
h1{font-size:26px;margin:0}h2{font-size:17px;margin:0 0 4px}p{margin:0 0 14px;color:var(--muted);font-size:14px}
.sub{margin:4px 0 22px;color:var(--muted)}
.cards{display:grid;grid-template-columns:repeat(4,1fr);gap:12px;margin-bottom:16px}
.card,section{background:var(--panel);border:1px solid var(--line);border-radius:12px}
.card{padding:14px 16px}.card span{display:block;color:var(--muted);font-size:13px;line-height:1.35}
.card b{display:block;font-size:27px;line-height:1.2;font-variant-numeric:tabular-nums}
.card i,.card u{display:block;height:4px;border-radius:2px}.card i{background:var(--track);margin:7px 0 8px}
.card u{background:var(--accent)}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));gap:16px;margin-bottom:16px}
section{padding:18px 20px;min-width:0;margin-bottom:16px}.grid section{margin:0}
.scroll{overflow-x:auto}.scroll svg{min-width:520px}
svg{display:block;width:100%;height:auto;margin:0 auto}
svg text{fill:var(--ink);font-size:12px;font-family:inherit}svg .tick,svg .axis,svg .label{fill:var(--muted)}
svg .axis{font-size:13px}svg .grid{stroke:var(--line)}svg .ideal{fill:none;stroke:var(--muted);stroke-dasharray:4 5}
svg .curve{fill:none;stroke:var(--accent);stroke-width:2.5;stroke-linejoin:round}
svg .area{fill:var(--accent);fill-opacity:.13}svg .touch{fill:transparent}
svg .volume{fill:var(--muted);fill-opacity:.22}svg .gap{stroke:var(--bad);stroke-width:2;stroke-opacity:.65}
svg .dot{fill:var(--accent);stroke:var(--panel);stroke-width:2}
svg .now{fill:var(--mark);stroke:var(--panel);stroke-width:2}
svg .cell{fill:var(--track);fill-opacity:.5}
svg .right{fill:var(--accent)}svg .wrong{fill:var(--bad)}svg .abstained{fill:var(--mark)}
svg .count{text-anchor:middle}svg .count.strong{fill:var(--strong);font-weight:600}
svg .track{fill:var(--track)}svg .bar{fill:var(--accent);fill-opacity:.8}
svg .precision{stroke:var(--mark);stroke-width:3}svg .recall{stroke:var(--good);stroke-width:3}
.key{display:inline-block;width:11px;height:11px;border-radius:3px;margin:0 5px 0 12px;vertical-align:-1px}
table{border-collapse:collapse;width:100%;font-size:14px}th{text-align:left;color:var(--muted);font-weight:500}
th,td{padding:7px 10px 7px 0;border-top:1px solid var(--line);vertical-align:top}td.n{font-variant-numeric:tabular-nums}
td q{display:block;quotes:none;overflow-wrap:anywhere}.to{color:var(--bad);white-space:nowrap}.from{white-space:nowrap}
@media(max-width:900px){.cards{grid-template-columns:repeat(2,1fr)}}
@media(max-width:560px){main{padding:18px 12px}section{padding:14px}.from,.to{white-space:normal}}
"""


def page(title: str, evaluation: Evaluation, outcomes: Sequence[Outcome], routes: Iterable[str]) -> str:
    """Return the whole document. `routes`: the names in the order in which the matrix shows them."""
    matrix, left_out = confusion_matrix(outcomes, routes)
    less = f" {left_out} routes without a confusion worth showing are left out." if left_out else ""
    sections = [
        '<div class="grid">',
        _section(
            "Can the confidence be believed?",
            "On the dashed line the confidence is the share of right decisions. Grey bars: how many decisions.",
            reliability_chart(evaluation.reliability),
        ),
        _section(
            "What would another threshold cost?",
            "The threshold rises towards the left: fewer prompts are taken, fewer of them wrongly. The dot: now.",
            risk_chart(evaluation.risk_coverage, _operating_point(outcomes)),
        ),
        "</div>",
        _section(
            "Where do prompts go?",
            f"Expected down, decided across, {NONE} is no route. Blue is right, red wrong, amber abstained.{less}",
            f'<div class="scroll">{matrix_chart(matrix)}</div>',
        ),
        _weak_routes(evaluation),
        _confusions(evaluation),
        _surest_mistakes(outcomes),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f'<h1>{escape(title)}</h1><div class="sub">{escape(_basis(evaluation))}</div>{_claim(evaluation)}'
        f"{_cards(evaluation)}{''.join(sections)}</main></body></html>\n"
    )


def confusion_matrix(outcomes: Iterable[Outcome], routes: Iterable[str]) -> tuple[Matrix, int]:
    """Return the matrix, and how many routes it leaves out because there are too many."""
    pairs = Counter((outcome.expected, outcome.decided) for outcome in outcomes)
    names = [name for name in routes if any(name in pair for pair in pairs)]
    labels: list[str | None] = [*names]
    if len(names) > MOST_ROUTES:
        confused: Counter[str | None] = Counter()
        for pair, count in pairs.items():
            if pair[0] != pair[1]:
                confused.update({pair[0]: count, pair[1]: count})
        worst = {name for name, _ in confused.most_common(MOST_ROUTES)}
        labels = [name for name in names if name in worst]
    labels.append(None)
    counts = tuple(tuple(pairs[want, got] for got in labels) for want in labels)
    shown = tuple(label or NONE for label in labels)
    return Matrix(labels=shown, counts=counts), len(names) - len(labels) + 1


def _operating_point(outcomes: Sequence[Outcome]) -> tuple[float, float] | None:
    """Return the share of prompts that a route took, and the share of these that was wrong."""
    taken = [outcome for outcome in outcomes if outcome.decided is not None]
    if not taken:
        return None
    wrong = sum(outcome.decided != outcome.expected for outcome in taken)
    return len(taken) / len(outcomes), wrong / len(taken)


def _basis(evaluation: Evaluation) -> str:
    if evaluation.folds:
        how = f"each decided by a router made without it, in {evaluation.folds} folds"
        return f"{evaluation.n} utterances of the route files, {how}"
    return f"{evaluation.n} prompts, {evaluation.n_out_of_scope} of them out of scope"


def _claim(evaluation: Evaluation) -> str:
    told = evaluation.threshold_claim
    return f"<p>Calibrated thresholds: {escape(told)}.</p>" if told else ""


def _cards(evaluation: Evaluation) -> str:
    shares = [
        ("accuracy", evaluation.accuracy, "right decisions, abstentions included"),
        ("in-scope accuracy", evaluation.in_scope_accuracy, "best route right, whatever the threshold"),
        ("false abstention", evaluation.false_abstain, "in-scope prompts that no route took"),
        ("out-of-scope recall", evaluation.oos_recall, "abstained where it should"),
        ("out-of-scope AUROC", evaluation.oos_auroc, "50% is chance"),
        ("FPR at 95% TPR", evaluation.fpr_at_95_tpr, "out of scope, yet taken"),
        ("calibration error", evaluation.ece, "0 is best"),
    ]
    cards = [
        f'<div class="card"><span>{name}</span><b>{value:.1%}</b><i><u style="width:{value:.1%}"></u></i>'
        f"<span>{note}</span></div>"
        for name, value, note in shares
        if value is not None
    ]
    times = evaluation.latency_ms
    if times:
        cards.append(
            f'<div class="card"><span>a decision</span><b>{times["p50"]:.1f} ms</b><i></i>'
            f"<span>median; p95 {times['p95']:.1f}, p99 {times['p99']:.1f} ms</span></div>"
        )
    return f'<div class="cards">{"".join(cards)}</div>'


def _section(title: str, note: str, body: str) -> str:
    return f"<section><h2>{title}</h2><p>{note}</p>{body}</section>"


def _weak_routes(evaluation: Evaluation) -> str:
    if not evaluation.per_route:
        return ""
    return _section(
        "Which routes are weak?",
        'F1, the worst first<span class="key" style="background:var(--mark)"></span>precision'
        '<span class="key" style="background:var(--good)"></span>recall',
        f'<div class="scroll">{route_bars(evaluation.per_route)}</div>',
    )


def _confusions(evaluation: Evaluation) -> str:
    if not evaluation.confusions:
        return _section("Confusions", "None: every decision was right.", "")
    rows = [
        f'<tr><td class="from">{escape(c.expected or NONE)}</td><td class="to">{escape(c.decided or NONE)}</td>'
        f'<td class="n">{c.n}</td><td>{"".join(f"<q>{escape(_short(text))}</q>" for text in c.examples)}</td></tr>'
        for c in evaluation.confusions[:WORST]
    ]
    head = "<tr><th>expected</th><th>decided</th><th>n</th><th>prompts</th></tr>"
    return _section("Worst confusions", "The most frequent first.", f"<table>{head}{''.join(rows)}</table>")


def _surest_mistakes(outcomes: Sequence[Outcome]) -> str:
    wrong = [o for o in outcomes if o.decided is not None and o.decided != o.expected]
    if not wrong:
        return ""
    rows = [
        f'<tr><td class="n">{o.confidence:.2f}</td><td class="from">{escape(o.expected or NONE)}</td>'
        f'<td class="to">{escape(o.decided or NONE)}</td><td><q>{escape(_short(o.text))}</q></td></tr>'
        for o in sorted(wrong, key=lambda o: -o.confidence)[:WORST]
    ]
    head = "<tr><th>confidence</th><th>expected</th><th>decided</th><th>prompt</th></tr>"
    note = "Prompts that a wrong route took, the most confident first."
    return _section("Surest mistakes", note, f"<table>{head}{''.join(rows)}</table>")


def _short(text: str) -> str:
    return text if len(text) <= 240 else text[:239] + "…"
