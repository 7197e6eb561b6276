"""What route files mean: names that lead nowhere, rules that never hold, utterances given twice.

Values in, problems out: no file is read here.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from urllib.parse import urlsplit

from msgspec.structs import asdict, replace

from semroute.config.schema import Compare, Draft, Rule, Source
from semroute.config.wording import did_you_mean, listed, quote
from semroute.errors import Problem
from semroute.types import ModelEntry

MIN_UTTERANCES = 5
MAX_PRICE_AGE_DAYS = 180
PRICES = ("input_price", "cached_input_price", "cache_write_price", "output_price", "reasoning_price")
PRICE_DECIMALS = 6
"""Of USD per 1M tokens: a token then costs a whole number of the log's smallest unit, 10^-12 USD."""

ROUTE_NAME = re.compile(r"[A-Za-z0-9._-]+")


def check(draft: Draft, *, today: datetime.date) -> list[Problem]:
    """Everything wrong or doubtful in what the files say, once their form is right."""
    return [
        *_check_sections(draft),
        *_check_providers(draft),
        *_check_models(draft),
        *_check_plans(draft),
        *_check_accounting(draft),
        *_check_routes(draft),
        *_check_utterances(draft),
        *_check_rules(draft),
        *_check_variables(draft),
        *_check_price_date(draft, today),
    ]


def _error(draft: Draft, key: str, message: str) -> Problem:
    """A problem at what has this key in the draft's sources; at the folder where nothing has."""
    source = draft.sources.get(key) or Source(file=draft.folder, line=0)
    return Problem(file=source.file, line=source.line, path=source.path, message=message)


def _warning(draft: Draft, key: str, message: str) -> Problem:
    return replace(_error(draft, key, message), severity="warning")


# --- names ------------------------------------------------------------------------------------------------------------


def _names(draft: Draft, section: str) -> set[str]:
    """The names that a section defines, even where what they name is wrong."""
    merged = draft.merged
    sound: dict[str, Iterable[str]] = {
        "providers": merged.providers,
        "models": merged.models,
        "routes": [route.name for route in merged.routes],
    }
    broken = [key.removeprefix(f"{section}.") for key in draft.broken if key.startswith(f"{section}.")]
    return {*sound[section], *broken}


def _check_sections(draft: Draft) -> Iterator[Problem]:
    if draft.merged.default is None and "default" not in draft.broken:
        expected = "expected the models for prompts that no route matches, such as `default: {models: [large]}`"
        yield _error(draft, "", f"no `default`: {expected}")
    for section, example in {"models": "large: {provider: …, name: …}", "providers": "openai: {dialect: …}"}.items():
        if not _names(draft, section) and section not in draft.broken:
            yield _error(draft, section, f"no `{section}`: expected at least one, such as `{section}: {{{example}}}`")
    if not _names(draft, "routes") and "routes" not in draft.broken:
        yield _warning(draft, "routes", "no `routes`: every prompt that no rule takes goes to the default")


def _unknown(draft: Draft, section: str, references: dict[str, str]) -> Iterator[Problem]:
    """References, by the key where they stand, that a section does not define."""
    names = _names(draft, section)
    if section in draft.broken or (not names and section != "routes"):  # has its own problem
        return
    known = listed(names) or "none is defined"
    for key, name in references.items():
        if name not in names:
            expected = f"expected one of `{section}` ({known})"
            yield _error(draft, key, f"got {quote(name)}, {expected}{did_you_mean(name, names)}")


# --- providers and models ---------------------------------------------------------------------------------------------


def _check_providers(draft: Draft) -> Iterator[Problem]:
    for id_, provider in draft.merged.providers.items():
        key = f"providers.{id_}.base_url"
        if provider.base_url:
            if not _is_http(provider.base_url):
                expected = "expected an address that starts with http:// or https://"
                yield _error(draft, key, f"got {quote(provider.base_url)}, {expected}")
        elif provider.dialect != "echo" and not (key in draft.sources and draft.missing_variables.get(id_)):
            example = "`base_url: https://api.openai.com/v1`"
            yield _error(draft, f"providers.{id_}", f"`base_url` is missing, expected an address such as {example}")


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
        yield from _check_prices(draft, id_, model)


def _check_prices(draft: Draft, id_: str, model: ModelEntry) -> Iterator[Problem]:
    prices: dict[str, Decimal | None] = {field: getattr(model, field) for field in PRICES}
    for index, entry in enumerate(model.prices):
        dated = asdict(entry)
        since = dated.pop("since")
        if any(since == earlier.since for earlier in model.prices[:index]):
            message = f"got {since} a second time, expected each day once"
            yield _error(draft, f"models.{id_}.prices[{index}].from", message)
        prices |= {f"prices[{index}].{field}": price for field, price in dated.items()}
    for field, price in prices.items():
        key = f"models.{id_}.{field}"
        if price is None:
            continue
        if not (price.is_finite() and price >= 0):
            yield _error(draft, key, f"got {price}, expected a price of at least 0")
        elif price != round(price, PRICE_DECIMALS):
            yield _error(draft, key, f"got {price}, expected at most {PRICE_DECIMALS} decimals")


def _check_accounting(draft: Draft) -> Iterator[Problem]:
    """The baseline model, and what budgets are for."""
    merged = draft.merged
    models = {f"budgets.{budget.name}.model": budget.model for budget in merged.budgets if budget.model is not None}
    if merged.baseline is not None:
        models["baseline"] = merged.baseline
    yield from _unknown(draft, "models", models)
    routes = {f"budgets.{budget.name}.route": budget.route for budget in merged.budgets if budget.route is not None}
    yield from _unknown(draft, "routes", routes)
    for budget in merged.budgets:
        if not (budget.usd.is_finite() and budget.usd >= 0):
            yield _error(draft, f"budgets.{budget.name}.usd", f"got {budget.usd}, expected at least 0")
        scopes = [scope for scope in ("key", "team", "route", "model") if getattr(budget, scope) is not None]
        if len(scopes) > 1:
            message = f"got {' and '.join(f'`{scope}`' for scope in scopes)}, expected one of them at most"
            yield _error(draft, f"budgets.{budget.name}", message)


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


def _check_price_date(draft: Draft, today: datetime.date) -> Iterator[Problem]:
    date = draft.merged.prices_as_of
    if date is None:
        return
    age = (today - date).days
    if age < 0:
        yield _warning(draft, "prices_as_of", f"got {date}, expected no date after today, {today}")
    elif age > MAX_PRICE_AGE_DAYS:
        yield _warning(draft, "prices_as_of", f"got {date}, {age} days ago, expected at most {MAX_PRICE_AGE_DAYS}")


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


# --- rules ------------------------------------------------------------------------------------------------------------


def _check_rules(draft: Draft) -> Iterator[Problem]:
    rules = draft.merged.rules
    references = {f"rules.{rule.name}.route": rule.route for rule in rules if rule.route is not None}
    yield from _unknown(draft, "routes", references)
    for rule in rules:
        key = f"rules.{rule.name}"
        if bool(rule.models) == (rule.route is not None):
            got = "both `models` and `route`" if rule.models else "neither `models` nor `route`"
            yield _error(draft, key, f"got {got}, expected one of them")
        yield from _check_when(draft, key, rule)


def _check_when(draft: Draft, key: str, rule: Rule) -> Iterator[Problem]:
    bounds = rule.when.input_tokens
    if bounds is None and not rule.when.metadata:
        yield _warning(draft, f"{key}.when", "got no condition: this rule takes every request")
    if bounds == Compare():
        yield _error(draft, f"{key}.when.input_tokens", "got no bound, expected one of `gt`, `gte`, `lt`, `lte`")
    elif bounds is not None and _never_holds(bounds):
        yield _error(draft, f"{key}.when.input_tokens", "got bounds that no number keeps, expected a range")


def _never_holds(bounds: Compare) -> bool:
    def meet(low: float | None, high: float | None) -> bool:
        return low is not None and high is not None and low >= high

    if meet(bounds.gt, bounds.lt) or meet(bounds.gt, bounds.lte) or meet(bounds.gte, bounds.lt):
        return True
    return meet(bounds.gte, bounds.lte) and bounds.gte != bounds.lte
