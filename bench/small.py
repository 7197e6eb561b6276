"""How well a few routes tell in from out: draws of 4, 8 and 16 routes from CLINC150 with 12 utterances each.

    python bench/small.py                # some minutes: 5 draws of each size
    python bench/small.py --draws 2
    python bench/small.py --json
    python bench/small.py --split val    # what settings may be chosen on; the test split is only to be reported

The routes of a draw come from one of the ten domains of CLINC150, 16 from two. Near out of scope are prompts of the
other intents of the same domains; far are CLINC150's own out-of-scope prompts and those of `routes/eval.jsonl`. A
prompt that the background holds word for word is left out. The shipped routes are measured on `routes/eval.jsonl`.

The data lie where `bench/intent.py` says. semantic-router is measured where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.intent import ROOT, Answers, Figures, Rows, ask_peer, by_route, configure, read
from semroute import Router
from semroute.evaluation.decision_metrics import auroc
from semroute.semantic.background import prompts
from semroute.semantic.embedder import Embedder, Features, OnnxEmbedder

SIZES = (4, 8, 16)
UTTERANCES = 12
TARGET = 0.05
GOALS = {"near_recall_at_5": 0.80, "far_recall_at_5": 0.97, "near_auroc": 0.965, "far_auroc": 0.994}
SHIPPED_GOALS = {"far_recall_at_5": 0.75}
DOMAINS = """
freeze_account routing pin_change bill_due pay_bill account_blocked interest_rate min_payment bill_balance transfer \
order_checks balance spending_history transactions report_fraud
replacement_card_duration expiration_date damaged_card improve_credit_score report_lost_card card_declined \
credit_limit_change apr redeem_rewards credit_limit rewards_balance application_status credit_score new_card \
international_fees
food_last confirm_reservation how_busy ingredients_list calories nutrition_info recipe restaurant_reviews \
restaurant_reservation meal_suggestion restaurant_suggestion cancel_reservation ingredient_substitution cook_time \
accept_reservations
what_song play_music todo_list_update reminder reminder_update calendar_update order_status update_playlist \
shopping_list calendar next_song order todo_list shopping_list_update smart_home
current_location oil_change_when oil_change_how uber traffic tire_pressure schedule_maintenance gas mpg distance \
directions last_maintenance gas_type tire_change jump_start
plug_type travel_notification translate flight_status international_visa timezone exchange_rate travel_suggestion \
travel_alert vaccines lost_luggage book_flight book_hotel carry_on car_rental
weather alarm date find_phone share_location timer make_call calculator definition measurement_conversion flip_coin \
spelling time roll_dice text
pto_request_status next_holiday insurance_change insurance meeting_schedule payday taxes income rollover_401k \
pto_balance pto_request w2 schedule_meeting direct_deposit pto_used
who_made_you meaning_of_life who_do_you_work_for do_you_have_pets what_are_your_hobbies fun_fact what_is_your_name \
where_are_you_from goodbye thank_you greeting tell_joke are_you_a_bot how_old_are_you what_can_i_ask_you
change_speed user_name whisper_mode yes change_volume no change_language repeat change_accent cancel sync_device \
change_user_name change_ai_name reset_settings maybe
"""
"""A domain a line, as `data/domains.json` of github.com/clinc/oos-eval has them."""

Tell = Callable[[str], None]


class Draw(NamedTuple):
    """Some routes, and the other intents of their domains."""

    routes: dict[str, tuple[str, ...]]
    others: frozenset[str]


class Split(NamedTuple):
    """Prompts, embedded once for all draws."""

    rows: Rows
    features: Features


def domains() -> list[list[str]]:
    """The intents of each domain."""
    return [line.split() for line in DOMAINS.strip().splitlines()]


def draw(train: dict[str, tuple[str, ...]], size: int, seed: int) -> Draw:
    """Draw routes, and utterances for each."""
    chance = np.random.default_rng(1000 * size + seed)
    each = domains()
    some = chance.choice(len(each), 1 if size <= len(each[0]) // 2 + 1 else 2, replace=False)
    pool = sorted(intent for number in some for intent in each[number])
    chosen = [pool[number] for number in chance.choice(len(pool), size, replace=False)]
    routes = {name: tuple(chance.choice(train[name], UTTERANCES, replace=False).tolist()) for name in chosen}
    return Draw(routes, frozenset(pool) - frozenset(chosen))


def ask(router: Router, features: Features) -> Answers:
    """What the router says of prompts that are embedded already."""
    matches = router.match_features(features)
    return Answers(
        [match.candidates[0].route for match in matches],
        np.array([match.candidates[0].confidence for match in matches]),
        np.array([match.in_scope for match in matches]),
        np.array([router.choose_semantic(match).route is not None for match in matches]),
    )


def measure(expected: Sequence[str | None], near: Sequence[bool], answers: Answers) -> Figures:
    """The figures of one draw. `near`: of the prompts that no route expects, those of the same domains."""
    inside = np.array([route is not None for route in expected])
    right = np.array([want == got for want, got in zip(expected, answers.best, strict=True)])
    score = answers.in_scope
    found: Figures = {
        "accuracy": float(right[inside].mean()),
        "false_abstain": None if answers.taken is None else float((~answers.taken[inside]).mean()),
    }
    accepted = np.quantile(score[inside], TARGET)
    for name, kind in (("near", ~inside & np.array(near)), ("far", ~inside & ~np.array(near))):
        if kind.any():
            found[f"{name}_recall"] = None if answers.taken is None else float((~answers.taken[kind]).mean())
            found[f"{name}_recall_at_5"] = float((score[kind] < accepted).mean())
            found[f"{name}_auroc"] = auroc(score[inside], score[kind])
    return found


def mean(each: Sequence[Figures]) -> Figures:
    """The mean of each figure, and how far false abstention scatters from draw to draw."""
    found: Figures = {}
    for name in each[0]:
        values = [one[name] for one in each]
        known = [value for value in values if value is not None]
        found[name] = float(np.mean(known)) if known else None
        if name == "false_abstain" and known:
            found["false_abstain_sd"] = float(np.std(known))
    return found


def run(split: str, draws: int, peer: bool, tell: Tell) -> dict[str, dict[str, Figures]]:
    """Draw, train, ask and measure."""
    embedder = OnnxEmbedder(threads=1)
    train, asked = by_route(read("train")), prepare(read(split), embedder)
    ours: dict[str, Figures] = {}
    theirs: dict[str, Figures] = {}
    before: Router | None = None
    for size in SIZES:
        each, of_peer = [], []
        for seed in range(draws):
            tell(f"{size} routes, draw {seed + 1} of {draws}")
            drawn = draw(train, size, seed)
            router = before = Router.build(configure(drawn.routes), previous=before)
            rows = [number for number, route in enumerate(asked.rows.routes) if concerns(drawn, route)]
            expected = [route if (route := asked.rows.routes[row]) in drawn.routes else None for row in rows]
            near = [asked.rows.routes[row] in drawn.others for row in rows]
            features = Features(asked.features.vectors[rows], [asked.features.tokens[row] for row in rows])
            each.append(measure(expected, near, ask(router, features)))
            if peer:
                texts = [asked.rows.texts[row] for row in rows]
                of_peer.append(measure(expected, near, ask_peer(drawn.routes, texts, lambda *_: None)))
        ours[f"{size} routes"] = mean(each)
        if peer:
            theirs[f"{size} routes"] = mean(of_peer)
    return {"semroute": {**ours, "shipped routes": shipped()}, "semantic-router": theirs}


def concerns(drawn: Draw, route: str | None) -> bool:
    """Whether a prompt of this intent is asked."""
    return route is None or route in drawn.routes or route in drawn.others


def evaluation_rows() -> Rows:
    """The evaluation file of the shipped routes."""
    lines = [json.loads(line) for line in (ROOT / "routes" / "eval.jsonl").read_text("utf-8").splitlines()]
    return Rows([line["text"] for line in lines], [line["route"] for line in lines])


def prepare(rows: Rows, embedder: Embedder) -> Split:
    """Add everyday prompts, leave out what the background holds, and embed."""
    plain = evaluation_rows()
    pairs = [*zip(*rows, strict=True), *((text, None) for text, route in zip(*plain, strict=True) if route is None)]
    known = {text.lower() for text in prompts()[0]}
    pairs = [(text, route) for text, route in pairs if text.lower() not in known]
    texts = [text for text, _ in pairs]
    return Split(Rows(texts, [route for _, route in pairs]), embedder.featurize(texts))


def shipped() -> Figures:
    """The figures of the shipped routes."""
    rows, router = evaluation_rows(), Router.load(ROOT / "routes")
    return measure(rows.routes, [False] * len(rows.texts), ask(router, router.embedder.featurize(rows.texts)))


def show(figures: dict[str, dict[str, Figures]], console: Console) -> None:
    """A table with the goals."""
    table = Table("routes", "figure", "goal", "semroute", "semantic-router")
    for name, ours in figures["semroute"].items():
        goals = SHIPPED_GOALS if name == "shipped routes" else GOALS
        for figure, value in ours.items():
            goal = (
                "± .015 of .050" if figure == "false_abstain" else f"≥ {goals[figure]:.3f}" if figure in goals else ""
            )
            table.add_row(name, figure, goal, _told(value), _told(figures["semantic-router"].get(name, {}).get(figure)))
        table.add_section()
    console.print(table)


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def main() -> None:
    """Read the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the figures alone, for machines")
    parser.add_argument("--split", choices=("test", "val"), default="test", help="what is asked")
    parser.add_argument("--draws", type=int, default=5, help="how many draws of each size")
    arguments = parser.parse_args()
    console = Console(stderr=arguments.json)
    peer = importlib.util.find_spec("semantic_router") is not None
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=len(SIZES) * arguments.draws)
        figures = run(
            arguments.split, arguments.draws, peer, lambda what: progress.update(task, description=what, advance=1)
        )
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures, console)


if __name__ == "__main__":
    main()
