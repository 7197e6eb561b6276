"""`semroute keys …`."""

from __future__ import annotations

import datetime
import getpass
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from semroute import settings as settings_module
from semroute.access.api_keys import Key, KeyStore
from semroute.caller import Caller
from semroute.cli.output import console, errors, folder_of, print_json
from semroute.config.load import load
from semroute.errors import ConfigError, SettingsError
from semroute.stores.connect import MEMORY, open_database, open_to_read, shown
from semroute.stores.interfaces import Database


def create(as_json: bool, expires: datetime.datetime | None, metadata: tuple[str, ...], **fields: Any) -> None:
    """Make a key, and show it this once."""
    pairs = [pair.partition("=") for pair in metadata]
    if any(not name or not separator for name, separator, _ in pairs):
        raise click.UsageError("--metadata: expected NAME=VALUE")
    renamed = {"rpm": "requests_per_minute", "tpm": "tokens_per_minute"}
    values = {renamed.get(name, name): value for name, value in fields.items()}
    values["scopes"] = fields["scopes"] or ("route", "complete")
    caller = Caller(**values, metadata={name: value for name, _, value in pairs})
    ends = expires.replace(tzinfo=datetime.UTC).timestamp() if expires else None
    if ends is not None and ends <= time.time():
        raise click.UsageError(f"--expires: got {_day(ends)}, expected a time in the future")
    with _store() as store:
        token, caller = store.create(caller, ends)
        store.audit(_who(), "keys create", caller.id)
    _tell_of_unknown(caller)
    if as_json:
        print_json({"key": token, "id": caller.id})
    else:
        console.print(token, markup=False, highlight=False, soft_wrap=True)
        console.print("Keep it: it is shown this once, and stored as a hash.", style="dim")


def list_(as_json: bool) -> None:
    """List all keys, without their secrets."""
    with _store(open_to_read) as store:
        keys = store.all()
    if as_json:
        print_json([_shown(key) for key in keys])
        return
    if not keys:
        where = shown(settings_module.read().database_url)
        console.print(f"no keys in {where} yet", markup=False, highlight=False, soft_wrap=True)
        return
    table = Table("id", "name", "team", "scopes", "limits", "created", "state", box=None, pad_edge=False)
    for key in keys:
        caller, fields = key.caller, _shown(key)
        cells = (
            caller.id,
            caller.name,
            caller.team,
            " ".join(caller.scopes),
            _limits(caller),
            fields["created"],
            fields["state"] + (f" until {fields['expires']}" if key.expires_at and fields["state"] == "good" else ""),
        )
        table.add_row(*map(escape, cells))
    console.print(table)


def revoke(id_: str) -> None:
    """End a key."""
    with _store(open_to_read) as store:
        if not store.revoke(id_):
            raise click.UsageError(f"there is no key {id_!r}")
        store.audit(_who(), "keys revoke", id_)
    console.print(f"{id_} is revoked", markup=False, highlight=False)


def rotate(id_: str, as_json: bool) -> None:
    """Give a key a new secret, and show it this once. The old one ends."""
    with _store(open_to_read) as store:
        token = store.rotate(id_)
        if token is None:
            raise click.UsageError(f"there is no valid key {id_!r}: it does not exist, or it ended")
        store.audit(_who(), "keys rotate", id_)
    if as_json:
        print_json({"key": token, "id": id_})
    else:
        console.print(token, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _store(opened: Callable[[str], Database] = open_database) -> Iterator[KeyStore]:
    url = settings_module.read().database_url
    if url == MEMORY:
        raise SettingsError(
            f"{settings_module.variable('database_url')}: got {MEMORY}, but keys in memory end with the command: "
            "expected the database of the service"
        )
    database = opened(url)
    try:
        yield KeyStore(database)
    finally:
        database.close()


def _who() -> str:
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


def _shown(key: Key) -> dict[str, Any]:
    fields = {name: getattr(key.caller, name) for name in key.caller.__struct_fields__}
    ended = "revoked" if key.revoked_at is not None else "expired"
    return {
        **fields,
        "created": _day(key.created_at),
        "expires": _day(key.expires_at) if key.expires_at is not None else None,
        "state": ended if key.ended(time.time()) else "good",
    }


def _limits(caller: Caller) -> str:
    limits = {
        "a minute": caller.requests_per_minute,
        "tokens a minute": caller.tokens_per_minute,
        "at once": caller.concurrency,
        "USD a day": caller.usd_per_day,
        "USD a month": caller.usd_per_month,
    }
    only = {"routes": caller.routes, "models": caller.models}
    told = [f"{limit} {name}" for name, limit in limits.items() if limit is not None]
    return ", ".join([*told, *(f"only {kind} {' '.join(names)}" for kind, names in only.items() if names)])


def _tell_of_unknown(caller: Caller) -> None:
    """Warn of names that the route files do not have. They are no errors: the service may use other route files."""
    if not (caller.routes or caller.models):
        return
    folder = folder_of(None)
    try:
        config = load(folder)
    except ConfigError:
        return
    for kind, named, known in (("route", caller.routes, config.routes), ("model", caller.models, config.models)):
        for name in named:
            if name not in known:
                errors.print(f"note: {folder} has no {kind} {name!r}", markup=False, highlight=False, soft_wrap=True)


def _day(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M")
