"""Settings of the service, from `SEMROUTE_*` environment variables. The route files say what it routes.

msgspec reads the settings, because everything else needs it too. A library for settings would make every command start
later: pydantic-settings 2.16 takes 600 ms and 21 MB to import, environs 15.2 takes 210 ms (2026-11-30,
`bench/libraries.py settings`).
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import Annotated, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, inspect

from semroute.errors import SettingsError

DISTRIBUTION = "semroute-gateway"
"""What pip calls this package: on PyPI, `semroute` is another project."""
PREFIX = "SEMROUTE_"
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""The variable for the folder in which the workers of one service share their counts. `serve --workers` sets it before
prometheus_client,
which reads it once, is imported."""


Openness = Literal["keys", "loopback", "insecure"]
"""Who is served. This is decided once, at the start.

- `keys`: only callers with a key.
- `loopback`: everyone on this machine may do everything. There is no key.
- `insecure`: everyone who can reach the service may ask for answers. Everything else needs a key.
"""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Each field is read from the variable of its name: `max_body_bytes` from `SEMROUTE_MAX_BODY_BYTES`."""

    host: str = "127.0.0.1"
    """The address to listen on. On an address that other machines can reach, semroute does not start without a key."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    """The port to listen on; 0 takes a free one."""
    workers: Annotated[int, Meta(ge=1)] = 1
    """How many processes serve. Each holds its own router, about 0.2 GB. One per core serves the most requests."""
    routes: str = ""
    """The routes folder. Empty: `routes/` in the current folder, else the folder in the package."""
    echo: bool = False
    """Answer the calls of every model with an echo, offline."""
    access: Literal["auto", "keys", "loopback", "insecure"] = "auto"
    """Who is served: `keys`, `loopback` or `insecure`. `auto` chooses by the keys and the address."""
    insecure: bool = False
    """Serve everyone who can reach the service, while there is no key for callers."""
    api_key: str = ""
    """A key for callers, who send it as `Authorization: Bearer …`. Empty: none."""
    admin_key: str = ""
    """A key that may do everything. Empty: none."""
    database_url: str = "sqlite:///semroute.db"
    """Where the decision log, the keys and the budgets are kept: `sqlite:///FILE`, `postgresql://…`, or `memory:`."""
    state_url: str = ""
    """A Redis or Valkey for what several machines share, `redis://…`. Empty: the decision log's database holds it."""
    decision_log: bool = True
    """Whether requests are recorded."""
    metrics: bool = True
    """Whether requests are counted for `/metrics`."""
    feedback_secret: str = ""
    """The secret that signs links by which end users give feedback. Empty: there are no such links."""
    max_body_bytes: Annotated[int, Meta(ge=1)] = 10_000_000
    """The largest body of a request. A larger one is refused with status 413."""
    max_bodies_bytes: Annotated[int, Meta(ge=1)] = 64_000_000
    """How many bytes all bodies in one process may take together. If there is no room for a body, its request gets
    status 503 and `Retry-After`. The limit is never less than `max_body_bytes`."""
    keep_responses_h: Annotated[float, Meta(ge=0, le=8760)] = 24.0
    """How many hours answers of `/v1/responses` are kept, so that later requests can refer to them; 0 keeps none."""
    max_upload_bytes: Annotated[int, Meta(ge=1)] = 512_000_000
    """The largest file at `/v1/files`. A larger one is refused with status 413. A file is never whole in memory."""
    receive_s: Annotated[float, Meta(gt=0)] = 30.0
    """How many seconds a caller may take to send a body. After that the answer is status 408."""
    max_running: Annotated[int, Meta(ge=1)] = 2048
    """How many requests each process handles at once. Further ones get status 503 and `Retry-After`. If there are
    several keys, one key gets at most half of the places."""
    max_connections: Annotated[int, Meta(ge=1)] = 8192
    """How many connections callers may have to each process. A further one takes the place of an idle one,
    or gets status 503 if none is idle."""
    keepalive_s: Annotated[float, Meta(gt=0)] = 15.0
    """How many seconds a stream may be silent. After that, semroute sends something that keeps the connection alive: a
    comment, or white space in Gemini's format. If the headers were not sent before, it sends them first."""
    drain_s: Annotated[int, Meta(ge=1)] = 30
    """How many seconds a stop waits for running requests."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged. Prompts, answers and keys never are."""
    log_format: Literal["text", "json"] = "text"
    """`text`: lines for people. `json`: one JSON object on each line, with request ids."""

    def __repr__(self) -> str:
        """Show the settings without the keys."""
        return f"Settings(host={self.host!r}, port={self.port}, workers={self.workers}, routes={self.routes!r})"

    @property
    def loopback(self) -> bool:
        """Return whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def shared(self) -> bool:
        """Return whether other processes serve with this one, as far as the settings show."""
        return self.workers > 1 or bool(self.state_url) or self.database_url.startswith("postgres")

    def decided(self, *, has_keys: bool = False) -> Settings:
        """Return the settings with `access` decided. Raises `SettingsError` if strangers would be served by accident.

        `has_keys`: whether `semroute keys create` ever made a key.
        """
        self._check_sharing()
        if self.insecure and self.access == "loopback":
            raise SettingsError(
                f"got {PREFIX}ACCESS=loopback and --insecure, which contradict each other: expected only one of them"
            )
        access: Openness = "loopback"
        if self.access == "keys" or self.api_key or has_keys:
            access = "keys"
        elif self.access == "insecure" or self.insecure:
            access = "insecure"
        elif self.admin_key:
            access = "keys"
        elif not self.loopback:
            raise SettingsError(
                f"other machines can reach {self.host}, so semroute does not start without a key: set "
                f"{PREFIX}API_KEY to the key that callers must send, make a key with "
                "`semroute keys create`, or add --insecure to serve anyone"
            )
        return msgspec.structs.replace(self, access=access)

    def _check_sharing(self) -> None:
        if self.workers > 1 and self.database_url == "memory:" and not self.state_url:
            raise SettingsError(
                f"{self.workers} workers need a store that all can use: set {PREFIX}DATABASE_URL to a file or a "
                f"server, or {PREFIX}STATE_URL to a Redis"
            )


def read(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings. Raises `SettingsError` that names the variable, what it got and what it expected."""
    values: dict[str, str] = {}
    for name, allowed in _allowed().items():
        if value := environ.get(variable(name), "").strip():
            values[name] = value.lower() if allowed else value
    for name, value in values.items():
        try:
            msgspec.convert({name: value}, Settings, strict=False)
        except msgspec.ValidationError:
            shown = "a value" if name.endswith(("key", "secret", "url")) else repr(value)
            raise SettingsError(f"{variable(name)}: got {shown}; expected {_expected(name)}") from None
    return msgspec.convert(values, Settings, strict=False)


def _allowed() -> dict[str, tuple[str, ...]]:
    """Return the allowed words of each setting that takes a fixed word. Upper and lower case count as the same."""
    words: dict[str, tuple[str, ...]] = {}
    for field in msgspec.structs.fields(Settings):
        kind = field.type
        words[field.name] = get_args(kind) if get_origin(kind) is Literal else ("true", "false") if kind is bool else ()
    return words


def _expected(name: str) -> str:
    """Say in words what a setting may be."""
    if words := _allowed()[name]:
        return f"one of {', '.join(words)}"
    kinds = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    info = inspect.type_info(kinds[name])
    if not isinstance(info, inspect.IntType | inspect.FloatType):
        return "text"
    bounds = {"of at least": info.ge, "above": info.gt, "of at most": info.le, "below": info.lt}
    told = [f"{word} {bound}" for word, bound in bounds.items() if bound is not None]
    kind = "a whole number" if isinstance(info, inspect.IntType) else "a number"
    return " ".join([kind, " and ".join(told)]).strip()


def how_to_install(extra: str) -> str:
    """Return the command that installs the libraries of an extra."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()
