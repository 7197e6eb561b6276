"""Decide where a request goes: values in, a `Decision` out. No I/O, no clock, no chance.

Two steps may name a target, and the first that does wins: what needs no embedding (`choose_static`: a pinned model, a
forced route, a rule), then the semantic match (`choose_semantic`), which falls to the default when it is not confident.
`decide` turns the choice into a plan.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from decimal import Decimal

from msgspec.structs import replace

from semroute.bases import Frozen
from semroute.config.config import Config
from semroute.config.error_wording import MAX_NAME_CHARS
from semroute.config.schema.policies import Difficulty, Policy
from semroute.decision import Candidate, Decision, Estimate, Match, Reason, Signals, ThresholdSource
from semroute.errors import RequestError, UnknownModelError, UnknownRouteError
from semroute.messages import ChatRequest
from semroute.routing.canned_answers import canned_answer
from semroute.routing.difficulty import Reading, Standing, assess
from semroute.routing.facts import Facts
from semroute.routing.learned_gain import Gain
from semroute.routing.policy import Plan, Terms, expected_quality, make_plan, pinned_plan, resolve
from semroute.routing.pricing import estimate, estimate_text_tokens
from semroute.routing.rule_matching import incomparable, narrowing_rules, targeting_rule
from semroute.routing.substitute import with_substitutes

AUTO = "auto"
ENGLISH_ONLY = ("bundled", "bundled-2026-11")
"""The encoders that were trained on English only."""
KNOWN_SIMILARITY = 0.75
"""Cosine. A prompt in another language that is this near to an utterance is a variant of it. None of 583 prompts in 50
languages came nearer than .66 to an utterance of the shipped routes or of CLINC150."""
DEFAULT_TAKES_IT = ": the default takes it"
BELOW = "the best match, "
"""The beginning of the explanation when the best match was below its threshold."""
DIFFICULTY = "difficulty-"
"""Stands between `auto:` and the share of strong answers that a request asks for."""
SHARED = f"{AUTO}:{DIFFICULTY}"


THRESHOLDS: dict[ThresholdSource, str] = {
    "tuned": "found by semroute tune",
    "route": "set by the route",
    "abstain": "set for all routes",
    "calibrated": "calibrated on the utterances",
}


class Comparison(Frozen, frozen=True, kw_only=True):
    """How well the best candidate matched. The defaults stand for a choice without a match."""

    confidence: float = 1.0
    threshold: float = 0.0
    threshold_from: ThresholdSource | None = None
    margin: float = 1.0
    in_scope: float | None = None
    candidates: tuple[Candidate, ...] = ()


class Choice(Frozen, frozen=True, kw_only=True):
    """Where a request should go, before single models are looked at."""

    reason: Reason
    explanation: str
    models: tuple[str, ...]
    policy: Policy
    route: str | None = None
    rule: str | None = None
    compared: Comparison = Comparison()
    named: bool = False
    """Whether a rule names these models itself. Then no other models replace them."""
    stays_on: str | None = None
    """The model that the conversation is on. None: there is none."""


def choose_static(config: Config, request: ChatRequest, facts: Facts) -> Choice | None:
    """Choose without an embedding. None: the prompt must be matched.

    Raises `UnknownModelError` and `UnknownRouteError` for names that do not exist.
    """
    asks_for_share = request.model.startswith(SHARED) and strong_share(config, request) is not None
    if request.models or not (request.model == AUTO or asks_for_share):
        return _pinned(config, request)
    if config.rules and (rule := targeting_rule(config.rules, facts)) is not None:
        because = f"rule {rule.name} holds"
        if rule.route is not None:
            return _on_route(config, rule.route, "rule", because, rule=rule.name)
        models = rule.models or tuple(m.id for m in config.models.values() if m.tier == rule.tier and not m.group)
        return Choice(
            reason="rule",
            explanation=because,
            models=models,
            policy=config.policy,
            rule=rule.name,
            named=bool(rule.models),
        )
    if not facts.text:
        return _default(config, "the request holds no user text to match")
    return None


def choose_classified(config: Config, label: str, semantic: Choice) -> Choice:
    """Take the route that a classifier named, instead of the semantic one. If it names none, take the default."""
    if label in config.routes:
        return _on_route(config, label, "classifier", f"the classifier says {label}", compared=semantic.compared)
    return _default(config, "the classifier says that no route fits", semantic.compared)


def most_demanding(config: Config, readings: Sequence[Reading]) -> Reading:
    """Return the reading of the ask whose route needs the best model: the route whose first model has the highest
    quality.

    If several are equal, the first one counts. An ask that reaches no threshold counts only if no ask reaches one.
    """
    if len(readings) == 1:
        return readings[0]
    routes = [choose_semantic(config, reading.match).route for reading in readings]
    demand = [-1.0 if name is None else _quality(config, config.routes[name].models) for name in routes]
    return replace(readings[demand.index(max(demand))], asks=tuple(routes), each=tuple(readings))


def _quality(config: Config, models: Sequence[str]) -> float:
    """Return the quality of the first model that a route names."""
    first = next(iter(resolve(models, config.models)), None)
    return 0.0 if first is None else expected_quality(first, None, Standing())


def choose_semantic(config: Config, match: Match, facts: Facts | None = None) -> Choice:
    """Take the best candidate if its confidence reaches its threshold, else the default.

    `facts`: tell the prompt's language. None: the language does not count.
    """
    if not match.candidates:
        return _default(config, "there are no routes to match")
    best, *others = match.candidates
    compared = Comparison(
        confidence=best.confidence,
        threshold=best.threshold,
        threshold_from=best.threshold_from,
        margin=round(best.confidence - (others[0].confidence if others else 0.0), 4),
        in_scope=match.in_scope,
        candidates=match.candidates,
    )
    if facts is not None and unreadable(config, facts, best):
        return _default(config, "the prompt is not in English, the only language that the embedder reads", compared)
    digits = 2 if round(best.confidence, 2) != round(best.threshold, 2) else 4
    confidence, threshold = f"{best.confidence:.{digits}f}", f"{best.threshold:.{digits}f}"
    reached = f"{threshold}, {THRESHOLDS[best.threshold_from]}"
    if best.confidence >= best.threshold:
        because = f"the prompt matches {best.route} with confidence {confidence} (threshold {reached})"
        return _on_route(config, best.route, "semantic", because, compared=compared)
    because = f"{BELOW}{best.route}, has confidence {confidence}, below its threshold ({reached})"
    return _default(config, because, compared)


def unreadable(config: Config, facts: Facts, best: Candidate) -> bool:
    """Return whether a prompt is in a language that the encoder does not know, and near no utterance in that
    language.
    """
    if config.embedder.model not in ENGLISH_ONLY or (best.nearest and best.nearest.similarity >= KNOWN_SIMILARITY):
        return False
    return facts.foreign_to(best.nearest.utterance if best.nearest else "")


def needs_reading(config: Config, request: ChatRequest, facts: Facts, choice: Choice) -> bool:
    """Return whether the prompt must be embedded although it need not be matched: the policy needs its embedding."""
    difficulty = _policy(config, request, choice).difficulty
    return bool(facts.text) and difficulty is not None and difficulty.by != "complexity"


def strong_share(config: Config, request: ChatRequest) -> float | None:
    """Return the share that `auto:difficulty-0.3` asks for. None: the request names something else.

    Raises `RequestError` if it is not a share. A route of that name comes first.
    """
    name = request.model.removeprefix(f"{AUTO}:")
    if name in config.routes or not request.model.startswith(SHARED):
        return None
    said = name.removeprefix(DIFFICULTY)
    try:
        share = float(said)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        expected = f"expected the share of strong answers, 0 to 1, such as {AUTO}:{DIFFICULTY}0.3"
        raise RequestError(f"model {request.model!r}: got {said!r}, {expected}", param="model")
    return share


def decide(
    config: Config,
    request: ChatRequest,
    facts: Facts,
    choice: Choice,
    signals: Signals,
    *,
    reading: Reading | None = None,
    gain: Gain | None = None,
) -> Decision:
    """Turn a choice into a decision with a plan.

    `reading`: what the prompt's embedding says. None: it was not needed. `gain`: what was learned. None: nothing.
    """
    route = config.routes.get(choice.route) if choice.route is not None else None
    if route is not None and route.answer is not None:
        confidence = _own_confidence(choice)
        if (answer := canned_answer(route, request, confidence)) is not None:
            return _canned(config, request, facts, choice, answer)
    rules = narrowing_rules(config.rules, facts) if config.rules else ()
    policy = _policy(config, request, choice)
    models = resolve(choice.models, config.models)
    asked_by_name = choice.reason == "pinned" and choice.route is None
    output = route.output if route is not None else None
    if output is not None and not asked_by_name:
        facts = replace(facts, json_schema=facts.json_schema or output.json_schema is not None)
    plain = asked_by_name or policy.difficulty is None
    standing = Standing() if plain else assess(policy.difficulty, facts, reading, gain)
    terms = Terms(
        policy=policy,
        facts=facts,
        signals=signals,
        route=choice.route,
        narrowing=rules,
        stays_on=choice.stays_on,
        standing=standing,
        seed=request.id,
    )
    plan, elsewhere = (pinned_plan if asked_by_name else make_plan)(models, config.models, terms), ""
    if not plan.models and not asked_by_name and not choice.named:
        plan, elsewhere = with_substitutes(plan, config.default.models, config.models, terms)
    first = plan.models[0] if plan.models else None
    asks = reading.asks if reading is not None and choice.reason == "semantic" else ()
    return Decision(
        id=request.id,
        route=choice.route,
        reason=choice.reason,
        explanation=choice.explanation
        + elsewhere
        + (_asks_told(asks) if asks else "")
        + (_tried_told(plan) if plan.instead_of is not None else ""),
        confidence=choice.compared.confidence,
        threshold=choice.compared.threshold,
        margin=choice.compared.margin,
        model=first.id if first else None,
        plan=tuple(model.id for model in plan.models),
        plan_details=plan.entries,
        rejected=plan.rejected,
        candidates=choice.compared.candidates,
        in_scope=choice.compared.in_scope,
        threshold_from=choice.compared.threshold_from,
        estimate=estimate(first, policy, facts.input_tokens, facts.max_tokens),
        config_version=config.version,
        asks=asks,
        rule=choice.rule,
        narrowed_by=tuple(rule.name for rule in rules),
        not_compared=incomparable(config.rules, facts.metadata) if facts.metadata else (),
        difficulty=standing.difficulty,
        wants=standing.wants,
        contributions=standing.contributions,
        cost_quality=plan.cost_quality,
        propensity=plan.propensity,
        explored=plan.instead_of is not None,
        instead_of=plan.instead_of,
    )


def _own_confidence(choice: Choice) -> float | None:
    """Return how sure it is that this turn belongs to the route. 0: only the conversation does. None: something else
    than a match led to the route.
    """
    if choice.reason not in ("semantic", "sticky"):
        return None
    compared = choice.compared
    best = compared.candidates[0].route if compared.candidates else None
    return compared.confidence if best == choice.route and compared.confidence >= compared.threshold else 0.0


def _canned(config: Config, request: ChatRequest, facts: Facts, choice: Choice, answer: str) -> Decision:
    """Return the decision to answer with a text that the route has ready."""
    compared = choice.compared
    tokens = estimate_text_tokens(answer)
    return Decision(
        id=request.id,
        route=choice.route,
        reason=choice.reason,
        explanation=f"{choice.explanation}; the route has an answer of its own, so no model is called",
        confidence=compared.confidence,
        threshold=compared.threshold,
        margin=compared.margin,
        model=None,
        plan=(),
        answer=answer,
        rejected={},
        candidates=compared.candidates,
        in_scope=compared.in_scope,
        threshold_from=compared.threshold_from,
        estimate=Estimate(input_tokens=facts.input_tokens, output_tokens=tokens, cost_usd=Decimal(0)),
        config_version=config.version,
        rule=choice.rule,
    )


def _asks_told(asks: Sequence[str | None]) -> str:
    """Name all asks of a prompt that has several."""
    each = ", ".join(name or "no route" for name in asks)
    return f"; the prompt asks for several things ({each}), and the most demanding one decides"


def _tried_told(plan: Plan) -> str:
    """Say which model is tried to learn its quality."""
    chance = f"with probability {plan.propensity:.3f}"
    return f"; {plan.models[0].id} is tried instead of {plan.instead_of}, {chance}, to learn how good it is"


def _policy(config: Config, request: ChatRequest, choice: Choice) -> Policy:
    """Return the choice's policy, with the share that the request asks for."""
    if request.models or not request.model.startswith(SHARED) or (share := strong_share(config, request)) is None:
        return choice.policy
    return replace(choice.policy, difficulty=Difficulty(by="learned", strong_share=share))


def _pinned(config: Config, request: ChatRequest) -> Choice:
    if request.model.startswith(f"{AUTO}:") and not request.models:
        name = request.model.removeprefix(f"{AUTO}:")
        if name not in config.routes:
            raise UnknownRouteError(f"route {_cut(name)} does not exist; {_known(name, config.routes)}", param="model")
        return _on_route(config, name, "pinned", f"the request asks for route {name}")
    asked = request.models if request.model == AUTO else (request.model, *request.models)
    ids = tuple(_model_id(config, name) for name in asked)
    because = f"the request asks for {', then '.join(dict.fromkeys(ids))}"
    return Choice(reason="pinned", explanation=because, models=ids, policy=config.policy)


def _model_id(config: Config, name: str) -> str:
    """Return a model's id. `name`: that id, or the provider's name if only one model has it."""
    if name in config.models:
        return name
    if name == AUTO or name.startswith(f"{AUTO}:"):
        raise RequestError(f"got {_cut(name)} in a list of models, expected model ids alone", param="models")
    same_name = [model.id for model in config.models.values() if model.name == name]
    if len(same_name) == 1:
        return same_name[0]
    if same_name:
        raise RequestError(f"model {_cut(name)} is ambiguous: it could be any of {', '.join(same_name)}", param="model")
    known = _known(name, (AUTO, *config.models))
    choose = f" With {AUTO}, semroute chooses" if known.endswith("?") else ""
    raise UnknownModelError(f"model {_cut(name)} does not exist; {known}{choose}", param="model")


def _on_route(
    config: Config,
    name: str,
    reason: Reason,
    because: str,
    *,
    rule: str | None = None,
    compared: Comparison = Comparison(),
) -> Choice:
    route = config.routes[name]
    return Choice(
        reason=reason,
        explanation=because,
        models=route.models,
        policy=route.policy or config.policy,
        route=name,
        rule=rule,
        compared=compared,
    )


def _default(config: Config, because: str, compared: Comparison = Comparison(confidence=0.0, margin=0.0)) -> Choice:
    return Choice(
        reason="default",
        explanation=f"{because}{DEFAULT_TAKES_IT}",
        models=config.default.models,
        policy=config.default.policy or config.policy,
        compared=compared,
    )


def _cut(name: str) -> str:
    return repr(name if len(name) <= MAX_NAME_CHARS else f"{name[:MAX_NAME_CHARS]}…")


def _known(name: str, names: Iterable[str]) -> str:
    close = [] if len(name) > MAX_NAME_CHARS else difflib.get_close_matches(name, list(names), n=3)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(list(names)[:20])}"
