"""`semroute serve`."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import cast

import msgspec

from semroute import settings as settings_module
from semroute.access.api_keys import KeyStore
from semroute.api.server import listen, serve
from semroute.cli.output import counted, errors, folder_of
from semroute.config.config import Config
from semroute.config.folder import read_files
from semroute.config.load import load_files
from semroute.semantic.bundled_models import BUNDLED
from semroute.semantic.embedder import open_embedder
from semroute.settings import Openness, Settings, variable
from semroute.stores.connect import open_database, open_state, open_to_read
from semroute.telemetry.logs import configure

SERVED: dict[Openness, str] = {
    "keys": "every call needs a key",
    "loopback": "programs on this machine may do everything without a key, and all others are refused",
    "insecure": "everyone who can reach the service may ask for answers without a key, and all else needs a key",
}


def command(
    routes: Path | None, host: str | None, port: int | None, workers: int | None, echo: bool, insecure: bool
) -> None:
    """Run the service with these options, which count before the environment."""
    given = {"routes": routes, "host": host, "port": port, "workers": workers, "echo": echo, "insecure": insecure}
    environ = {
        **os.environ,
        **{
            variable(name): str(value).lower() if value is True else str(value)
            for name, value in given.items()
            if value is not None and value is not False
        },
    }
    settings = settings_module.read(environ)
    settings = settings.decided(has_keys=_has_keys(settings))
    # A broken route file that is found here gives one message instead of a traceback of each worker.
    files = read_files(folder_of(Path(settings.routes) if settings.routes else None))
    config = load_files(files)
    if config.embedder.model != BUNDLED:
        open_embedder(config.embedder)  # downloads the model before the workers need it
    _open_stores(settings)
    listening = listen(settings)
    settings = msgspec.structs.replace(settings, port=listening[0].getsockname()[1])
    for line in lines_at_start(settings, config, files.folder):
        _say(settings, line)
    serve(settings, listening, files)


def lines_at_start(settings: Settings, config: Config, folder: str) -> list[str]:
    """Return what a start says: the address, who is served, the folder of the routes, and which models cannot be."""
    where = f"http://{settings.host}:{settings.port}"
    answers = "an echo for every model" if settings.echo else counted(len(config.models), "model")
    routes = counted(len(config.routes), "route")
    lines = [
        f"{routes}, {answers}, on {where} (page: {where}/ui, endpoints: {where}/schema)",
        f"access is {settings.access}: {SERVED[cast('Openness', settings.access)]}",
        f"the route files are in {Path(folder).resolve()}",
    ]
    if not settings.echo and (told := uncallable(config)):
        lines.append(told)
    return lines


def uncallable(config: Config) -> str:
    """Return how many models cannot be called here, and why. Empty: all can."""
    reasons = [reason for model in config.models.values() if (reason := config.providers[model.provider].unavailable)]
    if not reasons:
        return ""
    because = "; ".join(dict.fromkeys(reasons))
    if len(reasons) == len(config.models):
        return f"no model can be called: {because} (--echo answers without a provider)"
    return f"{len(reasons)} of {len(config.models)} models cannot be called: {because}"


def _say(settings: Settings, line: str) -> None:
    if settings.log_format == "json":
        configure(settings.log_level, settings.log_format)
        logging.getLogger("semroute").info(line)
    else:
        errors.print(f"semroute: {line}", highlight=False, markup=False, soft_wrap=True)


def _has_keys(settings: Settings) -> bool:
    """Return whether `semroute keys create` ever made a key."""
    database = open_to_read(settings.database_url)
    try:
        return bool(KeyStore(database).rows())
    finally:
        database.close()


def _open_stores(settings: Settings) -> None:
    """Open the stores once, so that an error shows here and not in every worker."""
    open_database(settings.database_url).close()
    asyncio.run(open_state(settings.state_url, settings.database_url).aclose())
