"""A folder of YAML files -> a `Config`.

Straight on: files -> documents -> a draft of all entries -> checked -> `Config`.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import asdict, replace

from semroute.config.bedrock_region import with_regions
from semroute.config.check_aliases import specific_first
from semroute.config.check_config import check
from semroute.config.check_experiments import unusable_folders
from semroute.config.config import Config, Draft
from semroute.config.dials import with_swept
from semroute.config.error_wording import quote
from semroute.config.folder import RouteFiles, read_files
from semroute.config.merge import merge
from semroute.config.more_utterances import with_more_utterances
from semroute.config.overlays import overlaid
from semroute.config.presets import PRESETS
from semroute.config.problems import warning
from semroute.config.schema.matching import Abstain, EmbedderSettings, Swept, TierExemplars, Tuned
from semroute.config.schema.models import DeploymentSettings, Model, ModelEntry, deployment_ids
from semroute.config.schema.policies import Policy
from semroute.config.schema.providers import ProviderEntry, ProviderSettings
from semroute.config.schema.routes import Default
from semroute.config.schema.service import LogSettings
from semroute.config.sound_parts import sound_parts
from semroute.config.yaml_documents import parse
from semroute.decision import TIERS, Tier
from semroute.errors import ConfigError, Problem


def default_folder() -> Path:
    """Return `routes/` of the current folder, or else the copy in the package."""
    package = Path(__file__).parent.parent
    shipped = package / "routes"
    candidates = [Path("routes"), shipped, package.parent / "routes"]
    return next((folder for folder in candidates if folder.is_dir()), shipped)


def load(folder: Path, environ: Mapping[str, str] = os.environ, *, today: datetime.date | None = None) -> Config:
    """Load the configuration of a folder. Raises `ConfigError` with every error found. Warnings are ignored."""
    return load_files(read_files(folder), environ, today=today)


def load_files(
    files: RouteFiles, environ: Mapping[str, str] = os.environ, *, today: datetime.date | None = None
) -> Config:
    """Build the configuration from files that have been read. Raises `ConfigError`, as `load` does."""
    day = _day(today)
    draft, problems = _parse(files, environ, day)
    config = _whole(draft, problems, files, environ, day)
    if config is None:
        raise ConfigError([problem for problem in problems if problem.severity == "error"])
    return config


def read(
    folder: Path, environ: Mapping[str, str] = os.environ, *, today: datetime.date | None = None
) -> tuple[Config | None, list[Problem]]:
    """Return the configuration of a folder and its problems, warnings included. None: a problem is an error.

    `environ`: the variables that `${VAR}` can name. `today`: the day that the age of prices is measured against.
    """
    files, day = read_files(folder), _day(today)
    draft, problems = _parse(files, environ, day)
    return _whole(draft, problems, files, environ, day), problems


class CheckedFolder(NamedTuple):
    """A folder as `semroute check` sees it."""

    problems: list[Problem]
    config: Config | None
    """None: a problem is an error."""
    sound: Config | None
    """The configuration, or else what is left of it without the parts that have errors: enough to compare routes, not
    to serve. None: too little is left.
    """


def read_to_check(
    folder: Path, environ: Mapping[str, str] = os.environ, *, today: datetime.date | None = None
) -> CheckedFolder:
    """Return the problems of a folder, and what of it further checks can look at."""
    files, day = read_files(folder), _day(today)
    draft, problems = _parse(files, environ, day)
    problems += _problems_of_shadow(draft, environ, day)
    config = _whole(draft, problems, files, environ, day)
    if config is not None:
        return CheckedFolder(problems, config, config)
    left = sound_parts(draft, problems)
    sound = None if left is None or left.merged.default is None else _config(left, left.merged.default, "", day)
    return CheckedFolder(problems, None, sound)


def _day(today: datetime.date | None) -> datetime.date:
    return today or datetime.datetime.now(datetime.UTC).date()


def _parse(files: RouteFiles, environ: Mapping[str, str], today: datetime.date) -> tuple[Draft, list[Problem]]:
    """Return what the files say, and every problem in the order of the files."""
    folder, problems = Path(files.folder), list(files.problems)
    documents = [parse(str(folder / name), data, environ) for name, data in files.texts.items()]
    draft, found = merge(str(folder), documents, whole=not files.problems)
    draft = with_regions(draft, environ)
    problems += found
    draft, found = with_more_utterances(draft)
    problems += found
    problems += check(draft, today=today)
    problems += _problems_of_arms(draft, files, environ, today)
    problems.sort(key=lambda problem: (problem.file, problem.line))
    return draft, problems


def _problems_of_arms(
    draft: Draft, files: RouteFiles, environ: Mapping[str, str], today: datetime.date
) -> Iterator[Problem]:
    """Yield the errors of the folders that are arms of experiments, and an error where such a folder is named."""
    broken: dict[str, str] = {}
    for folder, arm in files.arms.items():
        _, found = _parse(arm, environ, today)
        if errors := [problem for problem in found if problem.severity == "error"]:
            yield from errors
            broken[folder] = f"{len(errors)} errors, the first is {errors[0]}"
    yield from unusable_folders(draft, broken)


def _problems_of_shadow(draft: Draft, environ: Mapping[str, str], today: datetime.date) -> Iterator[Problem]:
    """Yield a warning if the folder of a shadow cannot be used. The service starts all the same."""
    shadow = draft.merged.shadow
    if shadow is None or isinstance(shadow.to, str):
        return
    _, found = _parse(read_files(Path(draft.folder, shadow.to.routes)), environ, today)
    if errors := [problem for problem in found if problem.severity == "error"]:
        told = f"got {quote(shadow.to.routes)}, which cannot be used, so the shadow decides nothing: {errors[0]}"
        yield warning(draft, "shadow.to.routes", told, "unusable-folder", "mend that folder, or name another")


def _whole(
    draft: Draft, problems: list[Problem], files: RouteFiles, environ: Mapping[str, str], today: datetime.date
) -> Config | None:
    """Return the configuration. None: a problem is an error."""
    if draft.merged.default is None or any(problem.severity == "error" for problem in problems):
        return None
    config = _config(draft, draft.merged.default, files.version, today)
    arms = {folder: load_files(arm, environ, today=today) for folder, arm in files.arms.items()}
    if config.adopted is not None:
        config = overlaid(config, config.adopted, "adopted")
    return replace(config, candidates=arms) if arms else config


def _base_url(entry: ProviderEntry) -> str:
    return entry.base_url or (PRESETS[entry.preset].base_url if entry.preset else "")


def _config(draft: Draft, default: Default, version: str, today: datetime.date) -> Config:
    merged = draft.merged
    found = [model for id_, entry in merged.models.items() for model in _models(id_, entry)]
    models = {m.id: replace(m.on(today), account=merged.providers[m.provider].limits) for m in found}
    config = Config(
        providers={
            id_: ProviderSettings(
                **{**asdict(entry), "api_key": entry.api_key or None, "base_url": _base_url(entry)},
                id=id_,
                missing_variables=draft.missing_variables.get(id_, ()),
                missing_extra=draft.missing_extras.get(id_, ""),
            )
            for id_, entry in merged.providers.items()
        },
        models=models,
        default=default,
        baseline=merged.baseline or max(default.models, key=lambda id_: _price(models[id_]), default=""),
        budgets=merged.budgets,
        experiments=merged.experiments,
        adopted=merged.adopted,
        log=merged.log or LogSettings(),
        alarms=merged.alarms,
        cors=merged.cors,
        routes={route.name: route for route in merged.routes},
        rules=tuple(sorted(merged.rules, key=lambda rule: -rule.priority)),
        tiers=_tiers(merged.tiers),
        classifier=merged.classifier,
        judge=merged.judge,
        shadow=merged.shadow,
        aliases=specific_first(merged.aliases),
        folder=draft.folder,
        negatives=merged.negatives,
        embedder=merged.embedder or EmbedderSettings(),
        abstain=merged.abstain or Abstain(),
        route_on=merged.route_on or "auto",
        strip=merged.strip,
        tuned=merged.tuned or Tuned(),
        policy=merged.policy or Policy(),
        prices_as_of=merged.prices_as_of,
        sources=draft.sources,
        version=version,
    )
    return with_swept(config, merged.swept or Swept())


def _price(model: Model) -> Decimal:
    return model.input_price + model.output_price


def _models(id_: str, entry: ModelEntry) -> list[Model]:
    """Return a model, and one more model for each further deployment of it."""
    model = Model(**asdict(entry), id=id_)
    names = deployment_ids(id_, entry)
    return [model, *(_deployed(model, name, place) for name, place in zip(names, entry.deployments, strict=True))]


def _deployed(model: Model, id_: str, place: DeploymentSettings) -> Model:
    said = {field: value for field, value in asdict(place).items() if value is not None}
    return replace(model, **said, id=id_, group=model.id, deployments=())


def _tiers(entries: tuple[TierExemplars, ...]) -> dict[Tier, tuple[str, ...]]:
    """Return all utterances of each tier, the lowest tier first."""
    return {
        tier: utterances
        for tier in TIERS
        if (utterances := tuple(u for entry in entries if entry.tier == tier for u in entry.utterances))
    }
