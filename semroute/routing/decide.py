"""The decision: values in, a `Decision` out. No I/O, no clock, no chance.

Two steps may name a target, and the first that does wins: what needs no embedding (`choose_static`: a pinned model, a
forced route, a rule), then the semantic match (`choose_semantic`), which falls to the default when it is not confident.
`decide` turns the choice into a plan.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from semroute.config.schema import Config
from semroute.errors import RequestError, UnknownModelError, UnknownRouteError
from semroute.routing.english import foreign
from semroute.routing.facts import Facts
from semroute.routing.policy import make_plan, pinned_plan, resolve
from semroute.routing.pricing import estimate
from semroute.routing.rules import first_match
from semroute.types import Candidate, ChatRequest, Decision, Frozen, Policy, Reason, Signals, ThresholdSource

AUTO = "auto"
ENGLISH_ONLY = "bundled"
"""The encoder that was trained on English alone."""
KNOWN_SIMILARITY = 0.75
"""A prompt in another language that is as near as this to an utterance is a variant of it. Of 217 prompts in 15
languages none came nearer than .70 to an English utterance."""


class Match(Frozen, frozen=True, kw_only=True):
    """How the prompt compared with the routes; the defaults are those of a choice made without comparing."""

    confidence: float = 1.0
    threshold: float = 0.0
    threshold_source: ThresholdSource | None = None
    margin: float = 1.0
    candidates: tuple[Candidate, ...] = ()


class Choice(Frozen, frozen=True, kw_only=True):
    """Where a request should go, before anything was asked about single models."""

    reason: Reason
    explanation: str
    models: tuple[str, ...]
    policy: Policy
    route: str | None = None
    rule: str | None = None
    match: Match = Match()


def choose_static(config: Config, request: ChatRequest, facts: Facts) -> Choice | None:
    """A choice that needs no embedding; null: the prompt must be matched.

    Raises `UnknownModelError` and `UnknownRouteError` for names that do not exist.
    """
    if request.models or request.model != AUTO:
        return _pinned(config, request)
    rule = first_match(config.rules, facts)
    if rule is not None:
        because = f"rule {rule.name} holds"
        if rule.route is not None:
            return _on_route(config, rule.route, "rule", because, rule=rule.name)
        return Choice(reason="rule", explanation=because, models=rule.models, policy=config.policy, rule=rule.name)
    if not facts.text:
        return _default(config, "the request holds no user text to match")
    return None


def choose_semantic(config: Config, candidates: Sequence[Candidate], facts: Facts | None = None) -> Choice:
    """Take the best candidate if its confidence reaches the route's threshold, else the default.

    `candidates`: best first. `facts`: of the request; null: its language is not looked at.
    """
    if not candidates:
        return _default(config, "there are no routes to match")
    best = candidates[0]
    threshold, source = threshold_of(config, best.route)
    match = Match(
        confidence=best.confidence,
        threshold=threshold,
        threshold_source=source,
        margin=best.confidence - (candidates[1].confidence if len(candidates) > 1 else 0.0),
        candidates=tuple(candidates),
    )
    if facts is not None and unreadable(config, facts.text, best):
        return _default(config, "the prompt is not in English, which is all that the embedded model reads", match)
    if best.confidence >= threshold:
        because = f"the prompt matches {best.route} with confidence {best.confidence:.2f} (threshold {threshold:.2f})"
        return _on_route(config, best.route, "semantic", because, match=match)
    because = f"the best match, {best.route}, has confidence {best.confidence:.2f}, below its threshold {threshold:.2f}"
    return _default(config, because, match)


def threshold_of(config: Config, route: str) -> tuple[float, ThresholdSource]:
    """What a route's confidence has to reach, and where that was set."""
    if route in config.tuned.thresholds:
        return config.tuned.thresholds[route], "tuned"
    own = config.routes[route].threshold
    return (config.abstain.threshold, "global") if own is None else (own, "route")


def unreadable(config: Config, text: str, best: Candidate) -> bool:
    """Whether a prompt is in a language that the encoder does not know, and near no utterance in that language."""
    if config.embedder.model != ENGLISH_ONLY or (best.nearest and best.nearest.similarity >= KNOWN_SIMILARITY):
        return False
    return foreign(text)


def decide(config: Config, request: ChatRequest, facts: Facts, choice: Choice, signals: Signals) -> Decision:
    """Turn a choice into a decision with a plan."""
    models = resolve(choice.models, config.models)
    asked_by_name = choice.reason == "pinned" and choice.route is None
    plan = pinned_plan(models, signals) if asked_by_name else make_plan(models, facts, signals)
    first = plan.models[0] if plan.models else None
    return Decision(
        id=request.id,
        route=choice.route,
        reason=choice.reason,
        explanation=choice.explanation,
        confidence=choice.match.confidence,
        threshold=choice.match.threshold,
        threshold_source=choice.match.threshold_source,
        margin=choice.match.margin,
        model=first.id if first else None,
        plan=tuple(model.id for model in plan.models),
        rejected=plan.rejected,
        candidates=choice.match.candidates,
        estimate=estimate(first, choice.policy, facts.input_tokens, facts.max_tokens),
        config_version=config.version,
        rule=choice.rule,
    )


def _pinned(config: Config, request: ChatRequest) -> Choice:
    if request.model.startswith(f"{AUTO}:") and not request.models:
        name = request.model.removeprefix(f"{AUTO}:")
        if name not in config.routes:
            raise UnknownRouteError(f"route {name!r} does not exist; {_known(name, config.routes)}", param="model")
        return _on_route(config, name, "pinned", f"the request asks for route {name}")
    asked = request.models if request.model == AUTO else (request.model, *request.models)
    ids = tuple(_model_id(config, name) for name in asked)
    because = f"the request asks for {', then '.join(dict.fromkeys(ids))}"
    return Choice(reason="pinned", explanation=because, models=ids, policy=config.policy)


def _model_id(config: Config, name: str) -> str:
    """A model's id, by its id or by the provider's name where only one model has it."""
    if name in config.models:
        return name
    same_name = [model.id for model in config.models.values() if model.name == name]
    if len(same_name) == 1:
        return same_name[0]
    if same_name:
        raise RequestError(f"model {name!r} could be any of {', '.join(same_name)}", param="model")
    raise UnknownModelError(f"model {name!r} does not exist; {_known(name, (AUTO, *config.models))}", param="model")


def _on_route(
    config: Config, name: str, reason: Reason, because: str, *, rule: str | None = None, match: Match = Match()
) -> Choice:
    route = config.routes[name]
    return Choice(
        reason=reason,
        explanation=because,
        models=route.models,
        policy=route.policy or config.policy,
        route=name,
        rule=rule,
        match=match,
    )


def _default(config: Config, because: str, match: Match = Match(confidence=0.0, margin=0.0)) -> Choice:
    return Choice(
        reason="default",
        explanation=f"{because}: the default takes it",
        models=config.default.models,
        policy=config.default.policy or config.policy,
        match=match,
    )


def _known(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=3)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(list(names)[:20])}"
