"""Lay the overlay of an experiment's arm, or of an adopted arm, over a configuration."""

from __future__ import annotations

from msgspec.structs import fields, replace

from semroute.config.config import Config
from semroute.config.error_wording import render
from semroute.config.schema.experiments import Arm, Overlay
from semroute.config.schema.policies import Policy
from semroute.config.schema.routes import Default, Route

DEFAULT = "default"


def arm_key(experiment: str, arm: str) -> str:
    """Return the key of an arm in `Config.sources`."""
    return f"experiments.{experiment}" + render(("arms", arm))[1:]


def arm_config(config: Config, experiment: str, arm: str) -> Config:
    """Return the configuration of an arm. A folder's own log settings, budgets and origins do not count."""
    written: Arm = config.experiments[experiment].arms[arm]
    if written.folder is None:
        return overlaid(config, written, arm_key(experiment, arm))
    other = config.candidates[written.folder]
    return replace(other, log=config.log, budgets=config.budgets, cors=config.cors, experiments={}, candidates={})


def overlaid(config: Config, overlay: Overlay, key: str) -> Config:
    """Return a configuration with an overlay. `key`: its key in `config.sources`, which tell what is written."""
    written = written_fields(config, overlay, key)

    def policy(base: Policy) -> Policy:
        return replace(base, **written) if written else base

    def route(base: Route) -> Route:
        own = base.policy if base.policy is None else policy(base.policy)
        threshold = overlay.thresholds.get(base.name, base.threshold)
        return replace(base, models=_models(overlay, base.name, base.models), policy=own, threshold=threshold)

    own = config.default.policy
    plan = _models(overlay, DEFAULT if DEFAULT not in config.routes else "", config.default.models)
    tuned = {name: value for name, value in config.tuned.thresholds.items() if name not in overlay.thresholds}
    return replace(
        config,
        policy=policy(config.policy),
        default=Default(models=plan, policy=own if own is None else policy(own)),
        routes={name: route(each) for name, each in config.routes.items()},
        tuned=replace(config.tuned, thresholds=tuned),
    )


def written_fields(config: Config, overlay: Overlay, key: str) -> dict[str, object]:
    """Return the fields of an overlay's policy that are written in the route files, with their values."""
    if overlay.policy is None:
        return {}
    return {
        field.name: getattr(overlay.policy, field.name)
        for field in fields(Policy)
        if f"{key}.policy.{field.encode_name}" in config.sources
    }


def _models(overlay: Overlay, name: str, models: tuple[str, ...]) -> tuple[str, ...]:
    if overlay.models is None:
        return models
    return overlay.models.get(name, models) if isinstance(overlay.models, dict) else overlay.models
