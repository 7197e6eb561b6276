"""What a list of prices changes in the route files. Pure."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal

from msgspec.structs import replace

from semroute.bases import Frozen
from semroute.config.config import Config
from semroute.config.error_wording import Place
from semroute.config.price_list import FIELDS, PriceList, find_model
from semroute.config.schema.models import Model, deployment_ids
from semroute.config.yaml_edits import Edit, UneditableError, edited

WRITTEN = {name: f"{name}_price" for name in FIELDS}
"""By the name of a price, its key in a model."""


class PriceChange(Frozen, frozen=True, kw_only=True):
    """A price that the list has otherwise. In USD per 1M tokens."""

    model: str
    """The model's id."""
    listed_as: str
    """Its key in the list."""
    field: str
    """The key in the route file, such as `input_price`."""
    file: str
    line: int
    old: Decimal
    """What holds today."""
    new: Decimal
    """What the list has."""
    problem: str | None = None
    """Why the route file cannot be changed. None: it can."""


class PriceUpdate(Frozen, frozen=True, kw_only=True):
    """The models of a folder beside a list of prices."""

    changes: tuple[PriceChange, ...]
    same: tuple[str, ...]
    """Models whose prices are those of the list."""
    unlisted: tuple[str, ...]
    """Models that the list does not have."""
    dearer: Mapping[str, int]
    """Models that cost more for long prompts, though the route files do not say so: above so many input tokens."""


def compare(config: Config, prices: PriceList, texts: Mapping[str, str], today: datetime.date) -> PriceUpdate:
    """Compare the models of a folder with a list of prices. `new_texts` makes the changes.

    `texts`: the content of the route files by path. `today`: the day of the prices in `config`.
    """
    found, same, unlisted, dearer = list[PriceChange](), list[str](), list[str](), dict[str, int]()
    for model in config.models.values():
        listed = find_model(prices, model.provider, config.providers[model.provider].base_url, model.name)
        if listed is None:
            unlisted.append(model.id)
            continue
        changes = list(_changes(config, model, listed.key, listed.prices, today))
        if not changes:
            same.append(model.id)
        found += changes
        band, window = listed.band_tokens, model.context_tokens
        if band is not None and not model.special_prices and (window is None or window > band):
            dearer[model.id] = band
    return PriceUpdate(
        changes=tuple(_tried(config, each, texts, today) for each in found),
        same=tuple(same),
        unlisted=tuple(unlisted),
        dearer=dearer,
    )


def new_texts(update: PriceUpdate, config: Config, texts: Mapping[str, str], today: datetime.date) -> dict[str, str]:
    """Return the new text of each file that changes. Changes with a `problem` are left out."""
    by_file = defaultdict[str, list[Edit]](list)
    for change in update.changes:
        if change.problem is None:
            by_file[change.file].append(_edit(config, change, today))
    return {file: edited(texts[file], edits) for file, edits in by_file.items()}


def _changes(
    config: Config, model: Model, key: str, listed: Mapping[str, Decimal], today: datetime.date
) -> Iterator[PriceChange]:
    """Return the prices that differ. A default counts as a price: without `cached_input_price`, `input_price` holds."""
    now = model
    for name, new in listed.items():
        old = _holds(now, name)
        if old != new:
            now = replace(now, **{WRITTEN[name]: new})
            at = config.sources.get(_key(config, model, today)) or config.sources[f"models.{model.group or model.id}"]
            yield PriceChange(
                model=model.id,
                listed_as=key,
                field=name if _dated(model, today) is not None else WRITTEN[name],
                file=at.file,
                line=at.line,
                old=_holds(model, name),
                new=new,
            )


def _holds(model: Model, name: str) -> Decimal:
    """Return the price that a model has today, written or not."""
    price = getattr(model, WRITTEN[name])
    if price is not None:
        return Decimal(price)
    if name == "cache_write_1h":
        return 2 * model.input_price
    return model.output_price if name == "reasoning" else model.input_price


def _edit(config: Config, change: PriceChange, today: datetime.date) -> Edit:
    model = config.models[change.model]
    place = _place(config, model, today)
    beside = ("provider", "name", "from", *(FIELDS if _dated(model, today) is not None else WRITTEN.values()))
    return Edit((*place, change.field), plain(change.new), beside)


def _dated(model: Model, today: datetime.date) -> int | None:
    """Return which entry of `prices` holds. None: none has begun."""
    begun = [number for number, entry in enumerate(model.prices) if entry.since <= today]
    return max(begun, key=lambda number: model.prices[number].since, default=None)


def _place(config: Config, model: Model, today: datetime.date) -> Place:
    """Return where the prices of a model are written, or would be."""
    place: Place = ("models", model.group or model.id)
    if model.group:
        number = deployment_ids(model.group, config.models[model.group]).index(model.id)
        place = (*place, "deployments", number)
    dated = _dated(model, today)
    return place if dated is None else (*place, "prices", dated)


def _key(config: Config, model: Model, today: datetime.date) -> str:
    """Return the key of that place in `config.sources`."""
    first, *rest = _place(config, model, today)
    return str(first) + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in rest)


def _tried(config: Config, change: PriceChange, texts: Mapping[str, str], today: datetime.date) -> PriceChange:
    """Try a change, and note why it cannot be made."""
    try:
        edited(texts[change.file], [_edit(config, change, today)])
    except UneditableError as error:
        return replace(change, problem=str(error))
    return change


def plain(price: Decimal) -> str:
    """Return a price as people write it: with two decimals at least."""
    text = f"{price.normalize():f}"
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals:0<2}" if price else "0"
