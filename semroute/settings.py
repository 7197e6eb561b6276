"""How the service runs: `SEMROUTE_*` environment variables. What it routes stands in the route files."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from semroute.errors import SettingsError

PREFIX = "SEMROUTE_"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Each field is read from the variable of its name: `max_body_bytes` from `SEMROUTE_MAX_BODY_BYTES`."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 8000
    workers: Annotated[int, Meta(ge=1)] = 1
    """Processes. Each holds its own router."""
    routes: str = ""
    """The routes folder; empty: `routes/` here, else the shipped one."""
    echo: bool = False
    """Answer every model's calls with an echo, offline."""
    insecure: bool = False
    """Serve other machines without a key."""
    api_key: str = ""
    """What callers must send as a bearer token; empty: nothing."""
    admin_key: str = ""
    """What `/admin` calls must send; empty: they are open on a loopback address, closed on any other."""
    max_body_bytes: Annotated[int, Meta(ge=1)] = 10_000_000
    max_running: Annotated[int, Meta(ge=1)] = 2048
    """Requests under way at once in each process; further ones get status 503."""
    keepalive_s: Annotated[float, Meta(gt=0)] = 15.0
    """A stream that has nothing to send for so long sends a comment. From the first one on its headers are out."""
    drain_s: Annotated[int, Meta(ge=1)] = 30
    """How long a stop waits for running requests."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def __repr__(self) -> str:
        """Without the keys."""
        return f"Settings(host={self.host!r}, port={self.port}, workers={self.workers}, routes={self.routes!r})"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check(self) -> Settings:
        """Refuse what would open the service to strangers. Raises `SettingsError`."""
        if not (self.loopback or self.api_key or self.insecure):
            raise SettingsError(
                f"{self.host} can be reached from other machines: set {PREFIX}API_KEY to the key that callers must "
                "send, or say --insecure to serve anyone"
            )
        return self


def read(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings. Raises `SettingsError` that names the variable, what it got and what it expected."""
    values: dict[str, str] = {}
    for field in msgspec.structs.fields(Settings):
        if value := environ.get(variable(field.name)):
            values[field.name] = value
    for name, value in values.items():
        try:
            msgspec.convert({name: value}, Settings, strict=False)
        except msgspec.ValidationError as error:
            problem = str(error).partition(" - at ")[0]
            shown = "a value" if name.endswith("key") else repr(value)
            raise SettingsError(f"{variable(name)}: got {shown}; {problem[:1].lower()}{problem[1:]}") from None
    return msgspec.convert(values, Settings, strict=False)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()
