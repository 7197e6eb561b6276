"""Tell how hard a request is, and put the models that suit it first.

A policy chooses one of three ways. `complexity` scores the prompt's form, without training. `exemplars` takes the tier
whose utterances the prompt resembles. `learned` takes the gain that `semroute train` fitted. Each results in a
`Standing`, and `prefer` puts models in front by it. If nothing can be told, the stronger model comes first.

Complexity is a sum, cut at 1. Each part is its weight (below) times how much of it there is, from 0 to 1:

    length        .20   from 20 tokens (none) to 1,000 (full), by their logarithm
    code          .15   program code, or a program's error message
    maths         .20   formulas and the words of mathematics; two of them are full
    constraints   .20   "must", "at most", "without", "exactly", …; four are full
    steps         .20   several steps: "first", "then", "step by step", numbered lists; three are full
    reasoning     .30   a task, such as "prove …" or "how would you design …"; two words such as "why" give .25
    comparison    .15   "compare", "trade-off", "versus", …; two are full
    questions     .10   question marks beyond the first; three are full
    structure     .10   a JSON Schema, a table or a format is asked for
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from semroute.bases import Frozen
from semroute.config.regular_expressions import compiled, contains_match, encodable
from semroute.config.schema.policies import Difficulty
from semroute.decision import TIERS, Match, Tier
from semroute.routing.facts import Facts
from semroute.routing.learned_gain import Gain
from semroute.routing.lexical_cues import MAX_CHARS
from semroute.routing.pricing import Offer
from semroute.routing.scoring import Floats

WEIGHTS = {
    "length": 0.20,
    "code": 0.15,
    "maths": 0.20,
    "constraints": 0.20,
    "steps": 0.20,
    "reasoning": 0.30,
    "comparison": 0.15,
    "questions": 0.10,
    "structure": 0.10,
}
SHORT_TOKENS, LONG_TOKENS = 20, 1000

_WORDS = {
    "maths": (
        "integral integrals derivative equation equations theorem lemma matrix matrices probability polynomial "
        "eigenvalue eigenvalues modulo logarithm logarithmic variance covariance converge converges diverges quadratic "
        "integer integers irrational bayesian multicollinearity undecidable automaton topology asymptotic "
        "differentiable,prime number,standard deviation,solve for,differential equation,square root,expected value,"
        "nash equilibr,group of order,by induction"
    ),
    "constraints": (
        "must without exactly only unless except never always require requirement requirements constraint constraints "
        "within ensure,at most,at least,no more than,less than,more than,should not,in the style of,assume that"
    ),
    "steps": (
        "first then next finally afterwards followed second third "
        "step by step,after that,in order to,multi-step,phase,phases,workflow,migrate,roadmap,end to end"
    ),
    "reasoning": (
        "prove proof derive design architect analyse analyze optimise optimize evaluate diagnose justify infer deduce "
        "refactor why hypothesis hypotheses critically implications rigorous paradox deadlock deadlocks idempotent "
        "concurrent concurrency,root cause,in depth,in detail,strategy,implement,debug,race condition,both sides,"
        "point of view,reason it through,step by step"
    ),
    "comparison": (
        "compare comparison contrast versus vs tradeoff tradeoffs "
        "trade-off,trade-offs,pros and cons,advantages,disadvantages,difference between,differences between,better than"
    ),
    "structure": "json yaml xml csv schema table markdown bullet bullets,as a list,in the format,the following format",
}
_FULL = {"maths": 2, "constraints": 4, "steps": 3, "reasoning": 2.4, "comparison": 2, "structure": 1}
# A slash without a blank before it is usually part of a date or an address, such as 12/03, not a division.
_FORMS = {
    "maths": r"(?i)\$[^$\n]{2,80}\$|\\(?:frac|sum|int|sqrt|lim)|\b[a-z]\^\d|\d(?:\s*[+*^=]|\s+/)\s*[\da-z(]",
    "steps": r"(?m:^\s*\d+[.)]\s)",
}
_VERBS = (
    "prove disprove derive architect implement refactor optimise optimize analyse analyze evaluate diagnose debug "
    "troubleshoot investigate justify devise construct develop migrate simulate formulate assess determine infer "
    "deduce argue weigh reconcile interpret restructure generalise generalize solve compute"
)
_NOUNS = "design plan draft model outline estimate contrast critique propose"
"""Verbs that can also be nouns, or that fit any object: an article or a similar word behind them shows a task."""
_TASKS = (
    rf"(?:{_VERBS.replace(' ', '|')}) ",
    rf"(?:{_NOUNS.replace(' ', '|')}) (?:an?|the|this|these|our|my|your|how|me|us|all|some|three|two|\d+)\b",
    r"(?:critically|rigorously) \w+",
    r"(?:show|demonstrate) that\b",
    r"explain (?:why|in detail|step by step|the (?:implications?|paradox|proof|causes?|reasons?|problem))\b",
    r"work (?:out|through)\b",
    r"set up (?:an?|our|the) (?:\w+ )?(?:pipeline|cluster|architecture|infrastructure|experiment|model)\b",
    r"(?:build|create) (?:an?|our|the) (?:[\w-]+ ){0,3}"
    r"(?:model|curriculum|strategy|architecture|framework|algorithm|proof)\b",
    r"find (?:all|the) (?:\w+ ){0,2}(?:solutions?|bugs?|cause|root|minimum|maximum|flaws?|proof|roots|error in)\b",
    r"(?:convert|rewrite|port) (?:this|our|the|my) (?:\w+ )?(?:function|module|class|logic|code|service|program|app)\b",
    r"write (?:an?|the|our) (?:[\w-]+ ){0,4}"
    r"(?:proof|parser|compiler|engine|interpreter|queue|scheduler|allocator|implementation|algorithm|essay|analysis"
    r"|threat model)\b",
    r"(?:translate|summari[sz]e|read) .{0,80}\b(?:and|then) (?:point out|flag|list every|find|criticise|criticize)\b",
    r"(?:discuss|compare) .{0,80}\b(?:evidence|sides|methodology|by cost)\b",
)
"""A task that takes thought. It shows only at the beginning of a request."""
_ASKED = (
    r"(?i)(?:^|[.!?:;\n]\s*|,\s*(?:and |then )?|\band (?:then )?|\bplease |\bhelp (?:me|us) (?:to )?"
    r"|\b(?:can|could|would|will) you (?:please )?|\b(?:need|want) (?:you )?to "
    rf"|\bhow (?:would|do|can|should|could) (?:i|we|you|one) )(?:{'|'.join(_TASKS)})"
)
_OPENINGS = (
    "critically rigorously show demonstrate explain work set build create find convert rewrite port write translate "
    "summarise summarize read discuss compare"
)
_LEADS = frozenset(f"{_VERBS} {_NOUNS} {_OPENINGS}".split())
"""Every task contains one of these words."""
_FORMAL = re.compile(r"[0-9$\\]")
"""Every formula contains one of these characters."""
_SPLIT = re.compile(r"[a-z]+")
_SINGLE = {word: name for name, words in _WORDS.items() for word in words.split(",")[0].split()}


def _phrases() -> dict[str, list[tuple[str, str]]]:
    """Return phrases of several words with their part, by the first word."""
    phrases: dict[str, list[tuple[str, str]]] = {}
    for name, words in _WORDS.items():
        for phrase in words.split(",")[1:]:
            phrases.setdefault(_SPLIT.findall(phrase)[0], []).append((phrase, name))
    return phrases


_PHRASES = _phrases()


def _wordings(head: str) -> dict[str, float]:
    """Count the words, phrases and formulas of each part in a text. One look-up for each word is faster than
    patterns.
    """
    lowered = head.lower()
    words = _SPLIT.findall(lowered)
    counts: dict[str, float] = {}
    if _FORMAL.search(head):
        counts = {name: len(compiled(form).findall(head)) for name, form in _FORMS.items()}
    for word in words:
        if word in _SINGLE:
            counts[_SINGLE[word]] = counts.get(_SINGLE[word], 0) + 1
    if not _LEADS.isdisjoint(words) and contains_match(_ASKED, head):
        counts["reasoning"] = counts.get("reasoning", 0) + _FULL["reasoning"]
    for word in _PHRASES.keys() & words:
        for phrase, name in _PHRASES[word]:
            counts[name] = counts.get(name, 0) + lowered.count(phrase)
    return counts


class Standing(Frozen, frozen=True, kw_only=True):
    """How hard a request is for the given models. The defaults mean that it does not matter."""

    difficulty: float | None = None
    wants: Tier | None = None
    """Models of this tier come first, then of higher ones, then of lower ones."""
    contributions: dict[str, float] = {}
    """The parts that add up to the difficulty."""
    quality: dict[str, float] = {}
    """Expected quality of each model for this prompt, if it was learned."""
    gains: dict[str, float] = {}
    """Expected gain of each model over the first of the learned models."""
    gain: Gain | None = None
    """The learned gain, which gives the thresholds."""
    rule: Difficulty | None = None
    """The `difficulty` of the policy."""
    unsure: bool = False
    """The difficulty is unknown, so the strongest model comes first."""


NONE = np.zeros(0, np.float32)


class Reading(Frozen, frozen=True, kw_only=True):
    """What the prompt's embedding says."""

    match: Match = Match()
    """How the prompt compares with the routes."""
    tier: Tier | None = None
    """The most similar of the exemplar tiers. None: none is similar enough."""
    tier_confidence: float = 0.0
    gains: dict[str, float] = {}
    """The learned gain of each model."""
    parts: dict[str, dict[str, float]] = {}
    """What each view of the prompt adds to the gains."""
    embedding: Floats = NONE
    """The prompt's vector: float32 (dim,)."""
    tokens: Sequence[int] = ()
    """The word pieces of the matched text."""
    each: tuple[Reading, ...] = ()
    """What the embedding of each of several asks says. Empty: there is only one ask."""
    asks: tuple[str | None, ...] = ()
    """Where each of several asks belongs. None: to no route. Empty: there is only one ask."""
    scores: Floats = NONE
    """The confidence of every route, in the order of the configuration: float32 (routes,)."""


def assess(rule: Difficulty | None, facts: Facts, reading: Reading | None, gain: Gain | None) -> Standing:
    """Assess a request in the way that the policy chose."""
    if rule is None:
        return Standing()
    if rule.by == "complexity":
        return _by_complexity(rule, facts)
    if rule.by == "exemplars":
        if reading is None or reading.tier is None:
            return Standing(rule=rule, unsure=True)
        return Standing(
            rule=rule,
            difficulty=round(reading.tier_confidence, 4),
            wants=reading.tier,
            contributions={reading.tier: round(reading.tier_confidence, 4)},
        )
    if gain is None or not gain.trustworthy or reading is None or not reading.gains:
        return Standing(rule=rule, unsure=True)
    quality = {model: min(1.0, max(0.0, gain.base_quality + g)) for model, g in reading.gains.items()}
    best = max(reading.gains, key=lambda model: reading.gains[model])
    return Standing(
        rule=rule,
        difficulty=round(reading.gains[best] - reading.gains[gain.models[0]], 4),
        contributions={view: round(part, 4) for view, part in reading.parts[best].items()},
        quality=quality,
        gains=reading.gains,
        gain=gain,
    )


def _by_complexity(rule: Difficulty, facts: Facts) -> Standing:
    if not facts.text:
        return Standing(rule=rule, unsure=True)
    parts = complexity(facts) if facts.known_complexity is None else facts.known_complexity
    score = round(min(1.0, sum(parts.values())), 4)
    wants: Tier = "complex" if score >= rule.complex_from else "moderate" if score >= rule.moderate_from else "simple"
    return Standing(rule=rule, difficulty=score, wants=wants, contributions=parts)


def complexity(facts: Facts) -> dict[str, float]:
    """Score each part of a prompt's complexity, as in the table above. Parts that score 0 are left out."""
    head = encodable(facts.text[:MAX_CHARS])
    amounts = {
        "length": math.log(max(1.0, facts.prompt_tokens / SHORT_TOKENS)) / math.log(LONG_TOKENS / SHORT_TOKENS),
        "code": float("code" in facts.traits),
        "questions": (head.count("?") - 1) / 3,
        **{name: times / _FULL[name] for name, times in _wordings(head).items()},
    }
    if facts.json_schema:
        amounts["structure"] = 1.0
    present = ((name, weight, amounts.get(name, 0)) for name, weight in WEIGHTS.items())
    return {name: round(weight * min(1.0, amount), 4) for name, weight, amount in present if amount > 0}


# --- what follows -----------------------------------------------------------------------------------------------------


def prefer(offers: Sequence[Offer], standing: Standing, *, dialled: bool) -> list[Offer]:
    """Put the models that suit the difficulty in front, each with the reason. Models that suit it equally keep their
    order.

    `dialled`: the request has a dial of its own, which already weighs learned qualities.
    """
    if standing.unsure:
        return _strongest_first(offers)
    if standing.wants is not None:
        return _by_tier(offers, standing.wants, standing.difficulty)
    if dialled or not _thresholded(standing.rule):
        return list(offers)
    learned = [offer for offer in offers if _known(offer, standing)]
    return _by_gain(offers, learned, standing) if len(learned) > 1 else _strongest_first(offers)


def _thresholded(rule: Difficulty | None) -> bool:
    return rule is not None and (rule.strong_share is not None or rule.min_quality_retained is not None)


def _known(offer: Offer, standing: Standing) -> bool:
    return _name(offer) in standing.gains


def _name(offer: Offer) -> str:
    return offer.model.group or offer.model.id


def _strongest_first(offers: Sequence[Offer]) -> list[Offer]:
    ordered = sorted(offers, key=lambda offer: -offer.quality)
    return [_noted(offer, "strongest first, because the difficulty is unknown") for offer in ordered]


def _by_tier(offers: Sequence[Offer], wants: Tier, difficulty: float | None) -> list[Offer]:
    wanted = TIERS.index(wants)

    def rank(offer: Offer) -> int:
        above = TIERS.index(offer.model.tier) - wanted
        return above if above >= 0 else len(TIERS) - above

    def note(offer: Offer) -> str:
        tier, place = offer.model.tier, rank(offer)
        if place == 0:
            return f"{tier} suits difficulty {difficulty:.2f}"
        return f"{tier} is {'more' if place < len(TIERS) else 'less'} than difficulty {difficulty:.2f} wants"

    return [_noted(offer, note(offer)) for offer in sorted(offers, key=rank)]


def _by_gain(offers: Sequence[Offer], learned: Sequence[Offer], standing: Standing) -> list[Offer]:
    """Put the cheapest model that is close enough to the best one first, then better ones, then the rest."""
    gain, rule = standing.gain, standing.rule
    assert gain is not None and rule is not None  # `assess` gives both with `gains`
    by_cost = sorted(learned, key=lambda offer: (offer.cost_usd, offer.place))
    names = tuple(dict.fromkeys(map(_name, by_cost)))
    threshold = gain.threshold(names, rule.strong_share, rule.min_quality_retained)
    best = max(standing.gains[name] for name in names)
    pick = next((offer for offer in by_cost if best - standing.gains[_name(offer)] < threshold), None)
    if pick is None:
        pick = max(by_cost, key=lambda offer: standing.gains[_name(offer)])
    behind = best - standing.gains[_name(by_cost[0])]
    side = "under" if behind < threshold else "at or over"
    why = f"the best model is expected to gain {behind:.3f} over the cheapest, {side} the threshold {threshold:.3f}"
    better = standing.gains[_name(pick)]

    def rank(offer: Offer) -> int:
        if offer is pick:
            return 0
        return 1 if _known(offer, standing) and standing.gains[_name(offer)] >= better else 2

    notes = (why, "expected to be at least as good", "not expected to be as good")
    return [_noted(offer, notes[rank(offer)]) for offer in sorted(offers, key=rank)]


def _noted(offer: Offer, note: str) -> Offer:
    return replace(offer, why=f"{note}; {offer.why}")
