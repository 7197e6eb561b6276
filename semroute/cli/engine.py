"""Open the engine that `--engine` names."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

from semroute.learning.engines import LOCAL, Engine
from semroute.learning.logged_decisions import LoggedDecisions

EngineName = Literal["local", "ray"]


def open_engine(name: EngineName, log: LoggedDecisions) -> AbstractContextManager[Engine]:
    """Return an engine that can read a log. It ends with the context. Raises `SettingsError` and `RequestError`."""
    if name == "local":
        return nullcontext(LOCAL)
    from semroute.learning.ray_engine import open_ray, require_parts  # imported here, because few commands need them

    require_parts(log)
    return open_ray()
