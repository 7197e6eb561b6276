"""What route files say of providers."""

from __future__ import annotations

from typing import Literal

from semroute.bases import RouteFileStruct
from semroute.config.presets import PresetName
from semroute.config.schema.resilience import Limits
from semroute.settings import how_to_install

DialectName = Literal["openai", "responses", "anthropic", "gemini", "bedrock", "echo"]


class ProviderEntry(RouteFileStruct, frozen=True, kw_only=True):
    """Where models are served. The key comes from the environment: `api_key: "${OPENAI_API_KEY}"`."""

    dialect: DialectName = "openai"
    """Its wire format. `openai` covers every compatible server."""
    preset: PresetName | None = None
    """A server of the `openai` dialect whose address and peculiarities are known; None: none."""
    base_url: str = ""
    """With the version, such as `https://api.openai.com/v1`, Anthropic's without; empty: the preset's, the region's."""
    region: str = ""
    """Of Amazon Bedrock, such as `eu-central-1`; empty: as the `base_url` or AWS's own settings say."""
    api_version: str = ""
    """For servers that want one with each call, such as Azure; empty: the preset's."""
    api_key: str | None = None
    """None: the provider takes none; Amazon Bedrock is called with AWS's credentials then."""
    headers: dict[str, str] = {}
    """Sent with every call."""
    limits: Limits = Limits()
    """What the provider takes from all of its models together: the limits of your account."""
    passthrough: bool | None = None
    """Whether files, batches and moderations are passed on to it. true: also for requests that name no provider. false:
    never. Not set: for requests that name it, and for others if no other provider takes them."""


def not_installed(extra: str) -> str:
    """What to do about an extra that is missing."""
    return f"the extra `{extra}` is not installed ({how_to_install(extra)})"


class Provider(ProviderEntry, frozen=True, kw_only=True):
    """A provider of the merged configuration."""

    id: str
    missing_variables: tuple[str, ...] = ()
    """Environment variables that it names and that are not set: its models cannot be called."""
    missing_extra: str = ""
    """The extra of semroute that it needs and that is not installed: its models cannot be called."""

    @property
    def unavailable(self) -> str:
        """Why its models cannot be called here; empty: they can."""
        if self.missing_variables:
            return f"{', '.join(self.missing_variables)} is not set"
        return not_installed(self.missing_extra) if self.missing_extra else ""

    def __repr__(self) -> str:
        """Without the key and the headers, which may hold secrets."""
        return f"Provider(id={self.id!r}, dialect={self.dialect!r}, base_url={self.base_url!r})"
