"""Check what route files mean: unknown names, rules that never hold, utterances that are given twice.

Values go in and problems come out. Nothing here reads a file.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from msgspec.structs import replace

from semroute.config.check_accounting import check_accounting
from semroute.config.check_alarms import check_alarms
from semroute.config.check_aliases import check_aliases
from semroute.config.check_experiments import check_experiments
from semroute.config.check_rules import check_rules
from semroute.config.check_shutdowns import check_shutdowns
from semroute.config.check_strategies import check_price_dates, check_strategies
from semroute.config.check_substitutes import check_substitutes
from semroute.config.check_trials import check_trials
from semroute.config.config import Draft
from semroute.config.dialects import ECHO, rules_of
from semroute.config.dials import POLICY_DIALS, value_in
from semroute.config.error_wording import listed, quote, words
from semroute.config.presets import PRESETS
from semroute.config.problems import check_pattern
from semroute.config.problems import error as _error
from semroute.config.problems import incomplete as _incomplete
from semroute.config.problems import nameless as _nameless
from semroute.config.problems import names as _names
from semroute.config.problems import unknown as _unknown
from semroute.config.problems import warning as _warning
from semroute.config.schema.providers import ProviderEntry, not_installed
from semroute.errors import Problem

MIN_UTTERANCES = 5

ROUTE_NAME = re.compile(r"[A-Za-z0-9._-]+")
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:]+\])(:\d+)?")
DEFAULT_PORT = re.compile(r"^http:.*:80$|^https:.*:443$")
REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d+")


def check(draft: Draft, *, today: datetime.date) -> list[Problem]:
    """Return every error and warning about what the files mean. Their form has been checked before."""
    return [
        *_check_sections(draft),
        *_check_texts(draft),
        *_check_origins(draft),
        *_check_providers(draft),
        *_check_models(draft),
        *_check_plans(draft),
        *check_accounting(draft),
        *check_alarms(draft),
        *check_aliases(draft),
        *check_experiments(draft),
        *_check_routes(draft),
        *_check_strip(draft),
        *_check_tuned(draft),
        *_check_swept(draft),
        *_check_utterances(draft),
        *check_rules(draft),
        *check_strategies(draft, today),
        *check_substitutes(draft),
        *check_trials(draft),
        *_check_variables(draft),
        *check_price_dates(draft, today),
        *check_shutdowns(draft, today),
    ]


# --- sections -------------------------------------------------------------------------------------------------------


def _check_sections(draft: Draft) -> Iterator[Problem]:
    if draft.merged.default is None and "default" not in draft.broken:
        expected = "expected the models for prompts that no route matches, such as `default: {models: [large]}`"
        yield _error(draft, "", f"no `default`: {expected}")
    for section, example in {"models": "large: {provider: …, name: …}", "providers": "openai: {dialect: …}"}.items():
        if not _names(draft, section) and section not in draft.broken:
            yield _error(draft, section, f"no `{section}`: expected at least one, such as `{section}: {{{example}}}`")
    if not (_names(draft, "routes") or "routes" in draft.broken or _nameless(draft.broken, "routes")):
        told = "no `routes`: every prompt that no rule takes goes to the default"
        yield _warning(draft, "routes", told, "no-routes", "write one, with a name, utterances and models")


def _check_texts(draft: Draft) -> Iterator[Problem]:
    """Find values that YAML reads differently from how they look."""
    for key, (text, value) in draft.rewritten.items():
        message = f"got {text}, which YAML reads as {value}: it does not match the text {quote(text)}"
        advice = f"write {quote(text)} if you mean the text, else {value}"
        yield _warning(draft, key, message, "rewritten", advice)


def _check_origins(draft: Draft) -> Iterator[Problem]:
    """Check that origins are written as browsers send them: in lower case, without a path, without the default port."""
    for place, origin in enumerate(draft.merged.cors.origins if draft.merged.cors is not None else ()):
        key = f"cors.origins[{place}]"
        if origin == "*":
            told = "any page in a browser may call the service, and may administer it if the service needs no key"
            yield _warning(draft, key, told, "any-origin", "list the origins of your pages instead")
        elif not ORIGIN.fullmatch(origin) or DEFAULT_PORT.search(origin):
            expected = "expected an origin as browsers send it, such as https://app.example.com, or *"
            yield _error(draft, key, f"got {quote(origin)}, {expected}")


# --- providers and models ---------------------------------------------------------------------------------------------


def _check_providers(draft: Draft) -> Iterator[Problem]:
    for id_, provider in draft.merged.providers.items():
        if provider.base_url and not _is_http(provider.base_url):
            expected = "expected an address that starts with http:// or https://"
            yield _error(draft, f"providers.{id_}.base_url", f"got {quote(provider.base_url)}, {expected}")
        if not _incomplete(draft, f"providers.{id_}"):  # otherwise its dialect or its preset may be unreadable
            yield from _check_dialect(draft, id_, provider)


def _check_dialect(draft: Draft, id_: str, provider: ProviderEntry) -> Iterator[Problem]:
    """Check that a provider has what its dialect needs, and nothing that only another dialect knows."""
    rules = rules_of(provider.dialect)
    if rules.aws:
        yield from _check_region(draft, id_, provider)
    elif provider.region:
        told = f"got {quote(provider.region)}, but only the bedrock dialect has regions"
        yield _error(draft, f"providers.{id_}.region", told)
    preset = provider.preset
    known = bool(provider.base_url) or (preset is not None and bool(PRESETS[preset].base_url))
    unset = f"providers.{id_}.base_url" in draft.sources and draft.missing_variables.get(id_)
    if not known and not rules.aws and provider.dialect != ECHO and not unset:
        example = "`base_url: https://api.openai.com/v1`"
        yield _error(draft, f"providers.{id_}", f"`base_url` is missing, expected an address such as {example}")
    if preset is not None and not rules.presets:
        theirs = f"preset {quote(preset)} works with `dialect: openai` only"
        yield _error(draft, f"providers.{id_}.dialect", f"got {quote(provider.dialect)}, but {theirs}")


def _check_region(draft: Draft, id_: str, provider: ProviderEntry) -> Iterator[Problem]:
    """Check the region: requests go there, and are signed for it unless they carry a key."""
    if draft.missing_variables.get(id_):
        return
    if provider.region and not REGION.fullmatch(provider.region):
        written = f"providers.{id_}.region"
        key = written if written in draft.sources else f"providers.{id_}"  # else AWS's own settings name the region
        yield _error(draft, key, f"got {quote(provider.region)}, expected a region such as `eu-central-1`")
    if not provider.region and not (provider.base_url and provider.api_key):
        expected = "expected one such as `region: eu-central-1`, or AWS_REGION in the environment"
        yield _error(draft, f"providers.{id_}", f"`region` is missing, {expected}")


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _check_models(draft: Draft) -> Iterator[Problem]:
    models = draft.merged.models
    yield from _unknown(draft, "providers", {f"models.{id_}.provider": model.provider for id_, model in models.items()})
    for id_ in models:
        if not id_.strip() or id_ == "auto" or id_.startswith("auto:"):
            reserved = "`auto` and `auto:<route>` ask for routing"
            yield _error(draft, f"models.{id_}", f"got the id {quote(id_)}, expected another: {reserved}")


# --- plans ------------------------------------------------------------------------------------------------------------


def _plans(draft: Draft) -> dict[str, tuple[str, ...]]:
    """Return every list of models, by the key of its owner."""
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


def _check_variables(draft: Draft) -> Iterator[Problem]:
    """Warn about unset variables and extras that are not installed.

    They are not errors, because this machine may not need them.
    """
    unset, extras, entries = draft.missing_variables, draft.missing_extras, draft.merged.models
    reasons = {provider: not_installed(extra) for provider, extra in extras.items()}
    reasons |= {provider: _not_set(variables) for provider, variables in unset.items()}
    for provider, reason in reasons.items():
        models = [id_ for id_, model in entries.items() if model.provider == provider]
        consequence = f"these models cannot be called: {listed(models)}" if models else "it cannot be called"
        advice = "fix this, or ignore it if you do not need these models here"
        yield _warning(draft, f"providers.{provider}", f"{reason}: {consequence}", "unavailable", advice)
    if all(model.provider in reasons for model in entries.values()):
        return  # that no plan has a model that can be called is said above
    for key, plan in _plans(draft).items():
        providers = dict.fromkeys(entries[model].provider if model in entries else "" for model in plan)
        if providers and all(provider in reasons for provider in providers):
            variables = dict.fromkeys(variable for provider in providers for variable in unset.get(provider, ()))
            told = [_not_set(tuple(variables))] if variables else []
            told += dict.fromkeys(reasons[provider] for provider in providers if provider not in unset)
            message = f"none of these models can be called: {', '.join(told)}"
            yield _warning(draft, f"{key}.models", message, "unavailable", "add a model that can be called")


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
        if (count := len(route.utterances)) < MIN_UTTERANCES and not _incomplete(draft, f"{key}.utterances"):
            message = f"got {count}, expected {MIN_UTTERANCES} utterances or more"
            yield _warning(draft, f"{key}.utterances", message, "few-utterances", "add some in the words of your users")


def _check_strip(draft: Draft) -> Iterator[Problem]:
    """Check the patterns of what is not the user's."""
    for key, pattern in zip(_nameless(draft.sources, "strip"), draft.merged.strip, strict=False):
        yield from check_pattern(draft, key, pattern)


def _check_tuned(draft: Draft) -> Iterator[Problem]:
    thresholds = draft.merged.tuned.thresholds if draft.merged.tuned else {}
    yield from _unknown(draft, "routes", {f"tuned.thresholds.{name}": name for name in thresholds})


def _check_swept(draft: Draft) -> Iterator[Problem]:
    """Warn of swept dials that no policy uses."""
    swept, merged = draft.merged.swept, draft.merged
    if swept is None or draft.broken:
        return
    of_routes = (route.policy for route in merged.routes)
    policies = (merged.policy, merged.default.policy if merged.default else None, *of_routes)
    for name in POLICY_DIALS:
        unused = all(policy is None or value_in(policy, name) is None for policy in policies)
        if getattr(swept, name) is not None and unused:
            message = f"no policy uses `{name}`, so it has no effect"
            yield _warning(draft, f"swept.{name}", message, "no-effect", "run `semroute sweep` again, or delete it")


def _check_utterances(draft: Draft) -> Iterator[Problem]:
    """Find utterances and negatives that are blank or given twice. Case and spaces do not count."""
    first: dict[str, tuple[str | None, str]] = {}
    for owner, key, text in _examples(draft):
        if not text.strip():
            yield _error(draft, key, f"got {quote(text)}, expected a string that is not blank")
            continue
        first_owner, where = first.setdefault(words(text), (owner, key))
        if where == key:
            continue
        source = draft.sources[where]
        there = f"{source.file}:{source.line}"
        if owner == first_owner:
            message = f"got {quote(text)} a second time, first at {there}"
            yield _warning(draft, key, message, "duplicate", "keep one of the two")
        elif owner is None:
            message = f"got {quote(text)}, also an utterance of `{first_owner}` at {there}: it still matches that route"
            yield _warning(draft, key, message, "contradiction", "take it out of one of the two")
        else:
            message = f"got {quote(text)}, which `{first_owner}` has too, at {there}, expected it in one route only"
            problem = _error(draft, key, message)
            yield replace(problem, code="ambiguous", suggestion="take it out of one of the two")


def _examples(draft: Draft) -> Iterator[tuple[str | None, str, str]]:
    """Yield each utterance, then each negative: its route, its key and its text."""
    for route in draft.merged.routes:
        for index, utterance in enumerate(route.utterances):
            yield route.name, f"routes.{route.name}.utterances[{index}]", utterance
    sound = (key for key in _nameless(draft.sources, "negatives") if key not in draft.broken)
    for key, negative in zip(sound, draft.merged.negatives, strict=False):
        yield None, key, negative
