"""Totals that are kept as records come, so that statistics over a million of them are a small sum.

A cell holds one whole number: by dimension, day, value and metric. Latencies are counted in buckets whose bounds grow
by 2^(1/8), 9.05% each: a percentile read from them is off by at most 4.5%. All else is exact.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import add
from typing import Any

from semroute.stores.base import to_usd
from semroute.stores.entries import Entry

DIMENSIONS = ("all", "model", "tier", "route", "key", "team", "feature")
UPSERT = (
    "INSERT INTO rollups (dimension, day, value, metric, n) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (dimension, day, value, metric) DO UPDATE SET n = rollups.n + excluded.n"
)
# Numbers are in the database: never change one.
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
}
LATENCY, FIRST_TOKEN = 1000, 2000
"""The metric of the bucket around 1 ms."""
_PER_DOUBLING = 8

Cells = Counter[tuple[str, int, str, int]]
Totals = tuple[int, ...]
"""By the numbers of `TOTALS`."""


def day_of(at: float) -> int:
    """Days since 1970, UTC."""
    return int(at // 86_400)


def bucket(milliseconds: float) -> int:
    """The bucket of a latency: 0 is from 1 ms to 2^(1/8) ms."""
    return min(max(math.floor(math.log2(max(milliseconds, 0.01)) * _PER_DOUBLING), -200), 400)


def cells(entries: Iterable[Entry]) -> Cells:
    """What entries add to the rollups."""
    alike: defaultdict[tuple[Any, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        alike[(day_of(entry.sent.at), *values_of(entry))].append(entry)
    places: dict[tuple[str, int, str], tuple[Totals, list[int]]] = {}
    for (day, *values), members in alike.items():
        totals, buckets = _sums(members), _buckets(members)
        for dimension, value in zip(DIMENSIONS, values, strict=True):
            place = dimension, day, value
            before = places.get(place)
            if before is None:
                places[place] = totals, [*buckets]
            else:
                before[1].extend(buckets)
                places[place] = tuple(map(add, before[0], totals)), before[1]
    added: Cells = Counter()
    for place, (totals, buckets) in places.items():
        for metric, n in (*enumerate(totals), *Counter(buckets).items()):
            if n:
                added[(*place, metric)] = n
    return added


def values_of(entry: Entry) -> tuple[str, ...]:
    """Where an entry counts, in the order of `DIMENSIONS`."""
    sent, caller = entry.sent, entry.sent.caller
    return ("", entry.model or "", sent.tier, entry.gist.route or "", caller.id, caller.team, sent.feature)


def _buckets(entries: Sequence[Entry]) -> list[int]:
    """The metric of each bucket that a latency fell into."""
    buckets = [LATENCY + bucket(entry.sent.latency_ms) for entry in entries if entry.attempts]
    return buckets + [FIRST_TOKEN + bucket(ms) for entry in entries if (ms := entry.first_token_ms) is not None]


def _sums(entries: Sequence[Entry]) -> Totals:
    return tuple(map(sum, zip(*map(_totals, entries), strict=True)))


def _totals(entry: Entry) -> Totals:
    """What an entry adds."""
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


def row(value: str, counts: Mapping[int, int], total: int) -> dict[str, Any]:
    """One row of statistics: `total` is the number of all requests."""
    n = {name: counts.get(metric, 0) for name, metric in TOTALS.items()}
    requests = n["requests"]

    def rate(name: str) -> float:
        return round(n[name] / requests, 6) if requests else 0.0

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
        "feedbacks": n["feedbacks"],
        "quality": round(n["score_millionths"] / n["feedbacks"] / 1e6, 4) if n["feedbacks"] else None,
    }


def _histogram(counts: Mapping[int, int], base: int) -> dict[int, int]:
    return {metric - base: n for metric, n in sorted(counts.items()) if base - 300 < metric < base + 500}


def _percentiles(histogram: Mapping[int, int]) -> dict[str, float | None]:
    return {f"p{share}": _percentile(histogram, share / 100) for share in (50, 95, 99)}


def _percentile(histogram: Mapping[int, int], share: float) -> float | None:
    """The geometric middle of the bucket in which the nearest rank lies."""
    rank = math.ceil(share * sum(histogram.values()))
    seen = 0
    for place, n in histogram.items():
        seen += n
        if seen >= rank > 0:
            return round(2 ** ((place + 0.5) / _PER_DOUBLING), 3)
    return None
