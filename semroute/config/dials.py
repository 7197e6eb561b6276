"""The dials that trade quality for cost: where each stands in a policy, and how to turn it.

`semroute sweep` turns one dial at a time. What it found stands under `swept` in a file of its own and is applied when
the route files are loaded. A dial is turned only where the route files use it, so that it never switches anything on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from msgspec.structs import replace

from semroute.config.config import Config
from semroute.config.schema.matching import Swept
from semroute.config.schema.policies import Policy


class PolicyDial(NamedTuple):
    """A dial that is a value of a policy."""

    path: tuple[str, ...]
    """Where the value stands in a policy."""
    used: Callable[[Policy], bool] = lambda policy: True
    """Whether a policy that has the value uses it."""
    clamp: Callable[[Policy, float], float] = lambda policy, value: value
    """The nearest value that fits the rest of the policy."""


def _by(policy: Policy, way: str) -> bool:
    return policy.difficulty is not None and policy.difficulty.by == way


def _moderate(policy: Policy, value: float) -> float:
    return value if policy.difficulty is None else min(value, policy.difficulty.complex_from)


def _complex(policy: Policy, value: float) -> float:
    return value if policy.difficulty is None else max(value, policy.difficulty.moderate_from)


ABSTAIN = "abstain_threshold"
"""The one dial that is no part of a policy."""
POLICY_DIALS: dict[str, PolicyDial] = {
    "moderate_from": PolicyDial(("difficulty", "moderate_from"), lambda p: _by(p, "complexity"), _moderate),
    "complex_from": PolicyDial(("difficulty", "complex_from"), lambda p: _by(p, "complexity"), _complex),
    "strong_share": PolicyDial(("difficulty", "strong_share"), lambda p: _by(p, "learned")),
    "min_quality_retained": PolicyDial(("difficulty", "min_quality_retained"), lambda p: _by(p, "learned")),
    "cost_quality": PolicyDial(("cost_quality",), lambda p: p.select == "balanced"),
    "judge_threshold": PolicyDial(("cascade", "checks", "judge", "threshold")),
    "min_certainty": PolicyDial(("cascade", "checks", "min_certainty")),
    "min_logprob": PolicyDial(("cascade", "checks", "min_logprob")),
}
DIALS = (*POLICY_DIALS, ABSTAIN)


def value_in(policy: Policy, name: str) -> float | None:
    """Return the value of a dial in a policy. None: the policy does not use it."""
    dial = POLICY_DIALS[name]
    value: Any = policy
    for key in dial.path:
        value = getattr(value, key, None)
    return float(value) if value is not None and dial.used(policy) else None


def positions(config: Config, name: str) -> dict[str, float | None]:
    """Return each place that a dial turns, with its present value. Empty: the route files do not use the dial.

    None: the value is not written, because semroute calibrates a threshold for each route.
    """
    if name == ABSTAIN:
        free = [r for r in config.routes.values() if r.threshold is None and r.name not in config.tuned.thresholds]
        return {"abstain.threshold": _abstain(config)} if free else {}
    found = ((where, value_in(policy, name)) for where, policy in _policies(config))
    return {where: value for where, value in found if value is not None}


def turned(config: Config, name: str, value: float) -> Config:
    """Return the configuration with one dial at a value, wherever the route files use that dial."""
    if name == ABSTAIN:
        return replace(config, swept=replace(config.swept, abstain_threshold=value))
    routes = {
        id_: route if route.policy is None else replace(route, policy=_turned(route.policy, name, value))
        for id_, route in config.routes.items()
    }
    default = config.default
    if default.policy is not None:
        default = replace(default, policy=_turned(default.policy, name, value))
    return replace(config, policy=_turned(config.policy, name, value), default=default, routes=routes)


def with_swept(config: Config, swept: Swept) -> Config:
    """Return the configuration with all dials that `semroute sweep` set."""
    config = replace(config, swept=swept)
    for name in POLICY_DIALS:
        value: float | None = getattr(swept, name)
        if value is not None:
            config = turned(config, name, value)
    return config


def _abstain(config: Config) -> float | None:
    swept = config.swept.abstain_threshold
    return config.abstain.threshold if swept is None else swept


def _policies(config: Config) -> Iterator[tuple[str, Policy]]:
    yield "policy", config.policy
    if config.default.policy is not None:
        yield "default.policy", config.default.policy
    for route in config.routes.values():
        if route.policy is not None:
            yield f"routes.{route.name}.policy", route.policy


def _turned(policy: Policy, name: str, value: float) -> Policy:
    dial = POLICY_DIALS[name]
    return policy if value_in(policy, name) is None else _replaced(policy, dial.path, dial.clamp(policy, value))


def _replaced(struct: Any, path: tuple[str, ...], value: float) -> Any:
    first, *rest = path
    return replace(struct, **{first: _replaced(getattr(struct, first), tuple(rest), value) if rest else value})
