"""What route files say of providers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from semroute.bases import RouteFileStruct
from semroute.config.dialects import provider_dialects
from semroute.config.presets import PresetName
from semroute.config.schema.resilience import RateLimits
from semroute.settings import how_to_install

if TYPE_CHECKING:
    DialectName = str
else:  # the table of dialects lists the names
    DialectName = Literal[provider_dialects()]


class ProviderEntry(RouteFileStruct, frozen=True, kw_only=True):
    """Where models are served. The key comes from the environment: `api_key: "${OPENAI_API_KEY}"`."""

    dialect: DialectName = "openai"
    """Its wire format. `openai` covers every compatible server."""
    preset: PresetName | None = None
    """A server of the `openai` dialect whose address and special features semroute knows."""
    base_url: str = ""
    """The address with its version, such as `https://api.openai.com/v1`. Anthropic's address has no version. Empty: the
    address of the preset or the region."""
    region: str = ""
    """The region of Amazon Bedrock, such as `eu-central-1`. Empty: the region in the `base_url`, or else in AWS's
    settings."""
    api_version: str = ""
    """The API version, for servers that want one with each call, such as Azure. Empty: the version of the preset."""
    api_key: str | None = None
    """The key. Not set: no key is sent. Amazon Bedrock is then called with AWS's credentials."""
    headers: dict[str, str] = {}
    """Headers that are sent with every call."""
    limits: RateLimits = RateLimits()
    """The limits of your account, for all models of the provider together."""
    passthrough: bool | None = None
    """Whether files, batches and moderations are passed on to this provider. `true`: also for requests that name no
    provider. `false`: never. Not set: for requests that name it, and for others if it is the only provider."""


def not_installed(extra: str) -> str:
    """Say which extra is missing, and how to install it."""
    return f"the extra `{extra}` is not installed ({how_to_install(extra)})"


class ProviderSettings(ProviderEntry, frozen=True, kw_only=True):
    """A provider of the merged configuration."""

    id: str
    missing_variables: tuple[str, ...] = ()
    """Environment variables that it names and that are not set: its models cannot be called."""
    missing_extra: str = ""
    """The extra of semroute that it needs and that is not installed: its models cannot be called."""

    @property
    def unavailable(self) -> str:
        """Return why the provider's models cannot be called here. Empty: they can."""
        if self.missing_variables:
            return f"{', '.join(self.missing_variables)} is not set"
        return not_installed(self.missing_extra) if self.missing_extra else ""

    def __repr__(self) -> str:
        """Show the provider without its key and its headers, which may hold secrets."""
        return f"Provider(id={self.id!r}, dialect={self.dialect!r}, base_url={self.base_url!r})"
