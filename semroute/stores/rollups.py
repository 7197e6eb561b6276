"""Totals that are updated with each record, so that statistics over a million records are a small sum.

A cell holds one whole number for a dimension, day, value and metric. Latencies are counted in buckets; each bound is
2^(1/8) times the one before, 9.05% more. So a percentile is off by at most 4.5%. All other figures are exact.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import chain
from operator import add
from types import MappingProxyType
from typing import Any

from semroute.stores.interfaces import Session, to_pico, to_usd
from semroute.stores.log_entries import LogEntry

DIMENSIONS = ("all", "model", "tier", "route", "key", "team", "feature")
CALLED = "called"
"""An extra dimension: the cost of a model's own calls, whichever model answered. Budgets of models use it."""
PURPOSE = "purpose"
"""An extra dimension: trials beside requests, by their purpose. No other total holds them."""
ARM = "arm"
"""An extra dimension: the requests of each arm of an experiment, under `arm_value`."""
RESET = "reset"
"""An extra dimension: what was spent of a counter when it was reset."""
UPSERT = (
    "INSERT INTO rollups (dimension, day, value, metric, n) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (dimension, day, value, metric) DO UPDATE SET n = rollups.n + excluded.n"
)
_FEATURES = "SELECT value FROM rollups WHERE dimension = 'feature' AND day = ? AND metric = 0"
# The database holds these numbers: never change one.
TOTALS = {
    "requests": 0,
    "input_tokens": 1,
    "output_tokens": 2,
    "cached_tokens": 3,
    "cost": 4,
    "saved": 5,
    "fallbacks": 6,
    "escalations": 7,
    "errors": 8,
    "abstentions": 9,
    "cancelled": 10,
    "refused": 11,
    "feedbacks": 12,
    "score_millionths": 13,
    "attempts": 14,
    "misroutes": 15,
    "rerouted": 16,
    "labels": 17,
    "judged": 18,
    "judged_millionths": 19,
    "misroutes_feedback": 20,
    "misroutes_judge": 21,
    "misroutes_escalation": 22,
    "misroutes_retry": 23,
}
"""A misroute counts for the model and tier that the request was routed to first, even if another one
answered. The requests answered by a model, plus its `rerouted`, are those routed to it. Tiers likewise."""
SOURCES = ("feedback", "judge", "escalation", "retry")
"""What says that a request was misrouted. `misroutes` has each request once that one of the first three speaks of. A
retry is weak evidence, so it is not in `misroutes`."""
GOOD_SCORE = 0.5
"""The lowest score with which an answer counts as good."""
OTHER = "other"
"""The feature under which all further ones count on a day that has `MAX_FEATURES` already."""
MAX_FEATURES = 200
"""The most features counted and shown separately on one day. Callers choose their names, so there may be many."""
DAYS_AT_ONCE = 3
"""How many days' features are remembered. A retry can delay a record, but not by days."""
KEEP_DAYS = 1100
"""Days after which totals are deleted: about three years."""
LATENCY, FIRST_TOKEN = 1000, 2000
"""The number of the metric for the bucket around 1 ms."""
_PER_DOUBLING = 8

Cells = Counter[tuple[str, int, str, int]]
Totals = tuple[int, ...]
"""Totals, in the order of the numbers of `TOTALS`."""


def day_of(at: float) -> int:
    """Return the day of a time: days since 1970, UTC."""
    return int(at // 86_400)


def bucket(milliseconds: float) -> int:
    """Return the bucket of a latency. Bucket 0 is from 1 ms to 2^(1/8) ms."""
    return min(max(math.floor(math.log2(max(milliseconds, 0.01)) * _PER_DOUBLING), -200), 400)


class FeatureNames:
    """The features counted separately on a day: the first `MAX_FEATURES` that come, the same for all writers."""

    def __init__(self, known: Mapping[int, Set[str]] = MappingProxyType({})) -> None:
        """`known`: the features already known, by day."""
        self._known = known

    def joined(self, session: Session, batch: Iterable[LogEntry]) -> FeatureNames:
        """Return these features with those of a batch, as far as there is room. Valid once the session commits."""
        come: defaultdict[int, dict[str, None]] = defaultdict(dict)
        for entry in batch:
            if entry.sent.feature:
                come[day_of(entry.sent.at)][entry.sent.feature] = None
        known = dict(self._known)
        for day, features in sorted(come.items()):
            before = known.get(day, frozenset())
            if len(before) >= MAX_FEATURES or before >= features.keys():
                continue
            session.lock([f"features:{day}"])
            there = {value for (value,) in session.run(_FEATURES, (day,))} - {"", OTHER}
            new = [feature for feature in features if feature not in there]
            known[day] = there | set(new[: max(0, MAX_FEATURES - len(there))])
        return FeatureNames({day: known[day] for day in sorted(known)[-DAYS_AT_ONCE:]})

    def place(self, day: int, feature: str) -> str:
        """Return the name that a feature counts under."""
        return feature if not feature or feature in self._known.get(day, ()) else OTHER


def cells(entries: Iterable[LogEntry], features: FeatureNames) -> Cells:
    """Return what entries add to the rollups."""
    alike: defaultdict[tuple[Any, ...], list[LogEntry]] = defaultdict(list)
    for entry in entries:
        day = day_of(entry.sent.at)
        *values, feature = values_of(entry)
        arm = arm_value(entry.sent.experiment, entry.sent.arm)
        alike[(day, *values, features.place(day, feature), arm)].append(entry)
    places: dict[tuple[str, int, str], tuple[Totals, list[int]]] = {}
    added: Cells = Counter()
    for (day, *values, arm), members in alike.items():
        shares = counted_for(values, arm)
        for model, cost in chain.from_iterable(map(_calls, members)):
            added[(CALLED, day, model, TOTALS["cost"])] += cost
        added.update(_misroutes(members, day, shares))
        totals, buckets = _sums(members), _buckets(members)
        for dimension, value in shares:
            place = dimension, day, value
            before = places.get(place)
            if before is None:
                places[place] = totals, [*buckets]
            else:
                before[1].extend(buckets)
                places[place] = tuple(map(add, before[0], totals)), before[1]
    for place, (totals, buckets) in places.items():
        for metric, n in (*enumerate(totals), *Counter(buckets).items()):
            if n:
                added[(*place, metric)] = n
    return added


def arm_value(experiment: str, arm: str) -> str:
    """Return the value that an arm counts under. Empty: the request is in no experiment."""
    return f"{experiment}/{arm}" if experiment else ""


def counted_for(values: Sequence[str], arm: str) -> list[tuple[str, str]]:
    """Return the dimensions and values that a request counts for. `values`: in the order of `DIMENSIONS`."""
    found = list(zip(DIMENSIONS, values, strict=True))
    return [*found, (ARM, arm)] if arm else found


def misrouted(reason: str, route: str | None, label: str | None, score: float | None) -> bool:
    """Return whether feedback says that a request should have gone to another route, or to a better model.

    An empty label says that no route should have taken it. A request for a model by name was not routed, so a label
    with the right route does not count against it.
    """
    elsewhere = label is not None and label != (route or "") and (route is not None or reason != "pinned")
    return elsewhere or (score is not None and score < GOOD_SCORE)


def _misroutes(entries: Iterable[LogEntry], day: int, shares: Sequence[tuple[str, str]]) -> Cells:
    """Return what entries add as misroutes because an answer failed a check."""
    added: Cells = Counter()
    for entry in entries:
        if not entry.escalated:
            continue
        model, tier = entry.routed
        for dimension, value in shares:
            routed = {"model": model, "tier": tier}.get(dimension, value)
            added[(dimension, day, routed, TOTALS["misroutes"])] += 1
            added[(dimension, day, routed, TOTALS["misroutes_escalation"])] += 1
            if routed != value:
                added[(dimension, day, routed, TOTALS["rerouted"])] += 1
                added[(dimension, day, value, TOTALS["rerouted"])] -= 1
    return added


def values_of(entry: LogEntry) -> tuple[str, ...]:
    """Return the values that an entry counts for, in the order of `DIMENSIONS`."""
    sent, caller = entry.sent, entry.sent.caller
    return ("", entry.model or "", sent.tier, entry.gist.route or "", caller.id, caller.team, sent.feature)


def _calls(entry: LogEntry) -> Iterator[tuple[str, int]]:
    """Yield the model of each call, and its cost."""
    if len(entry.attempts) == 1:  # nearly always so
        calls = [(entry.attempts[0].model, entry.cost)]
    else:
        calls = [(attempt.model, to_pico(attempt.cost_usd)) for attempt in entry.attempts]
    return ((model, cost) for model, cost in calls if cost)


def _buckets(entries: Sequence[LogEntry]) -> list[int]:
    """Return the metric of each bucket that a latency fell into."""
    buckets = [LATENCY + bucket(entry.sent.latency_ms) for entry in entries if entry.attempts]
    return buckets + [FIRST_TOKEN + bucket(ms) for entry in entries if (ms := entry.first_token_ms) is not None]


def _sums(entries: Sequence[LogEntry]) -> Totals:
    return tuple(map(sum, zip(*map(_totals, entries), strict=True)))


def _totals(entry: LogEntry) -> Totals:
    """Return what an entry adds to each total."""
    sent, gist, attempts, _, _, usage, cost, saved = entry
    outcome, several = sent.outcome, len(attempts) > 1
    return (
        1,
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        cost,
        saved,
        several and any(attempt.status == "failed" for attempt in attempts[:-1]),
        several and any(attempt.escalated is not None for attempt in attempts),
        outcome == "failed",
        gist.reason == "default",
        outcome == "cancelled",
        outcome == "refused",
        0,
        0,
        len(attempts),
    )


def limit_values(counts: Mapping[str, Counter[int]]) -> Mapping[str, Counter[int]]:
    """Keep the `MAX_FEATURES` most frequent values and the empty one, and sum up the rest."""
    if len(counts) <= MAX_FEATURES + 2:
        return counts
    ranked = sorted(counts, key=lambda value: (value == OTHER, value != "", -counts[value][TOTALS["requests"]], value))
    first = MAX_FEATURES + ("" in counts)
    rest: Counter[int] = Counter()
    for value in ranked[first:]:
        rest.update(counts[value])  # `+` on counters would drop negative amounts, and savings may be negative
    return {value: counts[value] for value in ranked[:first]} | {OTHER: rest}


def row(value: str, counts: Mapping[int, int], total: int) -> dict[str, Any]:
    """Return one row of statistics. `total`: the number of all requests."""
    n = {name: counts.get(metric, 0) for name, metric in TOTALS.items()}
    requests = n["requests"]

    def rate(name: str) -> float:
        return round(n[name] / requests, 6) if requests else 0.0

    routed = requests + n["rerouted"]
    latency, first_token = _histogram(counts, LATENCY), _histogram(counts, FIRST_TOKEN)
    return {
        "value": value,
        "requests": requests,
        "share": round(requests / total, 6) if total else 0.0,
        "input_tokens": n["input_tokens"],
        "output_tokens": n["output_tokens"],
        "cached_tokens": n["cached_tokens"],
        "cost_usd": to_usd(n["cost"]),
        "saved_usd": to_usd(n["saved"]),
        "latency_ms": _percentiles(latency),
        "first_token_ms": _percentiles(first_token),
        "fallback_rate": rate("fallbacks"),
        "escalation_rate": rate("escalations"),
        "error_rate": rate("errors"),
        "abstention_rate": rate("abstentions"),
        "cancelled": n["cancelled"],
        "refused": n["refused"],
        "misroutes": n["misroutes"],
        "misroute_rate": round(n["misroutes"] / routed, 6) if routed > 0 else 0.0,
        "misroutes_by": {source: n[f"misroutes_{source}"] for source in SOURCES},
        "judged": n["judged"],
        "judge_quality": round(n["judged_millionths"] / n["judged"] / 1e6, 4) if n["judged"] else None,
        "labels": n["labels"],
        "feedbacks": n["feedbacks"],
        "quality": round(n["score_millionths"] / n["feedbacks"] / 1e6, 4) if n["feedbacks"] else None,
    }


def _histogram(counts: Mapping[int, int], base: int) -> dict[int, int]:
    return {metric - base: n for metric, n in sorted(counts.items()) if base - 300 < metric < base + 500}


def _percentiles(histogram: Mapping[int, int]) -> dict[str, float | None]:
    return {f"p{share}": _percentile(histogram, share / 100) for share in (50, 95, 99)}


def _percentile(histogram: Mapping[int, int], share: float) -> float | None:
    """Return the geometric middle of the bucket that holds the nearest rank."""
    rank = math.ceil(share * sum(histogram.values()))
    seen = 0
    for place, n in histogram.items():
        seen += n
        if seen >= rank > 0:
            return round(2 ** ((place + 0.5) / _PER_DOUBLING), 3)
    return None
