"""What route files mean: names that lead nowhere, rules that never hold, utterances given twice.

Values in, problems out: no file is read here.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from decimal import Decimal
from urllib.parse import urlsplit

from semroute.config.check_rules import check_rules
from semroute.config.check_strategies import check_price_dates, check_strategies
from semroute.config.findings import error as _error
from semroute.config.findings import names as _names
from semroute.config.findings import unknown as _unknown
from semroute.config.findings import warning as _warning
from semroute.config.presets import PRESETS
from semroute.config.schema import Draft
from semroute.config.wording import listed, quote
from semroute.errors import Problem

MIN_UTTERANCES = 5

ROUTE_NAME = re.compile(r"[A-Za-z0-9._-]+")


def check(draft: Draft, *, today: datetime.date) -> list[Problem]:
    """Everything wrong or doubtful in what the files say, once their form is right."""
    return [
        *_check_sections(draft),
        *_check_providers(draft),
        *_check_models(draft),
        *_check_plans(draft),
        *_check_routes(draft),
        *_check_tuned(draft),
        *_check_utterances(draft),
        *check_rules(draft),
        *check_strategies(draft),
        *_check_variables(draft),
        *check_price_dates(draft, today),
    ]


# --- sections -------------------------------------------------------------------------------------------------------


def _check_sections(draft: Draft) -> Iterator[Problem]:
    if draft.merged.default is None and "default" not in draft.broken:
        expected = "expected the models for prompts that no route matches, such as `default: {models: [large]}`"
        yield _error(draft, "", f"no `default`: {expected}")
    for section, example in {"models": "large: {provider: …, name: …}", "providers": "openai: {dialect: …}"}.items():
        if not _names(draft, section) and section not in draft.broken:
            yield _error(draft, section, f"no `{section}`: expected at least one, such as `{section}: {{{example}}}`")
    if not _names(draft, "routes") and "routes" not in draft.broken:
        yield _warning(draft, "routes", "no `routes`: every prompt that no rule takes goes to the default")


# --- providers and models ---------------------------------------------------------------------------------------------


def _check_providers(draft: Draft) -> Iterator[Problem]:
    for id_, provider in draft.merged.providers.items():
        key = f"providers.{id_}.base_url"
        if provider.base_url:
            if not _is_http(provider.base_url):
                expected = "expected an address that starts with http:// or https://"
                yield _error(draft, key, f"got {quote(provider.base_url)}, {expected}")
        elif provider.preset is not None and PRESETS[provider.preset].base_url:
            pass
        elif provider.dialect != "echo" and not (key in draft.sources and draft.missing_variables.get(id_)):
            example = "`base_url: https://api.openai.com/v1`"
            yield _error(draft, f"providers.{id_}", f"`base_url` is missing, expected an address such as {example}")
        if provider.preset is not None and provider.dialect != "openai":
            preset = f"preset {quote(provider.preset)} is of the openai dialect"
            yield _error(draft, f"providers.{id_}.dialect", f"got {quote(provider.dialect)}, but {preset}")


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _check_models(draft: Draft) -> Iterator[Problem]:
    models = draft.merged.models
    yield from _unknown(draft, "providers", {f"models.{id_}.provider": model.provider for id_, model in models.items()})
    for id_, model in models.items():
        if not id_.strip() or id_ == "auto" or id_.startswith("auto:"):
            reserved = "`auto` and `auto:<route>` ask for routing"
            yield _error(draft, f"models.{id_}", f"got the id {quote(id_)}, expected another: {reserved}")
        for field in ("input_price", "cached_input_price", "output_price"):
            price: Decimal | None = getattr(model, field)
            if price is not None and not (price.is_finite() and price >= 0):
                yield _error(draft, f"models.{id_}.{field}", f"got {price}, expected a price of at least 0")


# --- plans ------------------------------------------------------------------------------------------------------------


def _plans(draft: Draft) -> dict[str, tuple[str, ...]]:
    """Every list of models, by the key of what holds it."""
    merged = draft.merged
    plans = {"default": merged.default.models} if merged.default else {}
    plans |= {f"routes.{route.name}": route.models for route in merged.routes}
    return plans | {f"rules.{rule.name}": rule.models for rule in merged.rules if rule.models}


def _check_plans(draft: Draft) -> Iterator[Problem]:
    for key, plan in _plans(draft).items():
        places = {f"{key}.models[{index}]": model for index, model in enumerate(plan)}
        yield from _unknown(draft, "models", places)
        for index, model in enumerate(plan):
            if model in plan[:index]:
                yield _error(draft, f"{key}.models[{index}]", f"got {quote(model)} a second time, expected it once")


def _missing(draft: Draft, model: str) -> tuple[str, ...]:
    """The unset variables that keep a model from being called."""
    entry = draft.merged.models.get(model)
    return draft.missing_variables.get(entry.provider, ()) if entry else ()


def _check_variables(draft: Draft) -> Iterator[Problem]:
    """Variables that are not set: a warning, since what they serve may not be needed here."""
    for provider, variables in draft.missing_variables.items():
        models = [id_ for id_, model in draft.merged.models.items() if model.provider == provider]
        consequence = f"its models cannot be called: {listed(models)}" if models else "it cannot be called"
        yield _warning(draft, f"providers.{provider}", f"{_not_set(variables)}: {consequence}")
    for key, plan in _plans(draft).items():
        missing = [_missing(draft, model) for model in plan]
        if all(missing):
            variables = tuple(dict.fromkeys(variable for variables in missing for variable in variables))
            yield _warning(draft, f"{key}.models", f"none of these models can be called: {_not_set(variables)}")


def _not_set(variables: tuple[str, ...]) -> str:
    return f"{listed(variables)} {'is' if len(variables) == 1 else 'are'} not set"


# --- routes -----------------------------------------------------------------------------------------------------------


def _check_routes(draft: Draft) -> Iterator[Problem]:
    models = _names(draft, "models")
    for route in draft.merged.routes:
        key = f"routes.{route.name}"
        got = f"got {quote(route.name)}"
        if not ROUTE_NAME.fullmatch(route.name):
            yield _error(draft, f"{key}.name", f"{got}, expected letters, digits and `-`, `_`, `.` only")
        if route.name in models:
            yield _error(draft, f"{key}.name", f"{got}, which is a model's id too, expected another name")
        if (count := len(route.utterances)) < MIN_UTTERANCES:
            yield _warning(draft, f"{key}.utterances", f"got {count}, expected {MIN_UTTERANCES} utterances or more")


def _check_tuned(draft: Draft) -> Iterator[Problem]:
    thresholds = draft.merged.tuned.thresholds if draft.merged.tuned else {}
    yield from _unknown(draft, "routes", {f"tuned.thresholds.{name}": name for name in thresholds})


def _check_utterances(draft: Draft) -> Iterator[Problem]:
    """Blank ones, and those given twice, whatever their case and spaces."""
    first: dict[str, tuple[str, str]] = {}
    for route in draft.merged.routes:
        for index, utterance in enumerate(route.utterances):
            key = f"routes.{route.name}.utterances[{index}]"
            words = " ".join(utterance.split()).casefold()
            if not words:
                yield _error(draft, key, f"got {quote(utterance)}, expected a string that is not blank")
                continue
            owner, where = first.setdefault(words, (route.name, key))
            if where == key:
                continue
            source = draft.sources[where]
            there = f"{source.file}:{source.line}"
            if owner == route.name:
                yield _warning(draft, key, f"got {quote(utterance)} a second time, first at {there}")
            else:
                message = f"got {quote(utterance)}, which `{owner}` has too, at {there}, expected it in one route only"
                yield _error(draft, key, message)
