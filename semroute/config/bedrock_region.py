"""Find the region and the address of a Bedrock provider. AWS's own settings fill in what the route files leave out.

Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-region.html.
"""

from __future__ import annotations

import configparser
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from semroute.config.config import Draft
from semroute.config.dialects import rules_of
from semroute.config.schema.providers import ProviderEntry

EXTRA = "bedrock"
"""The extra of semroute that installs the library which signs requests and reads streams."""
_HOST = re.compile(r"https?://(?:[^/]*\.)?bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.")


def with_regions(draft: Draft, environ: Mapping[str, str]) -> Draft:
    """Return the draft with a region and an address for each Bedrock provider, where they are known."""
    entries = draft.merged.providers
    ids = [id_ for id_, entry in entries.items() if rules_of(entry.dialect).aws]
    if not ids:
        return draft
    providers = entries | {id_: _located(entries[id_], environ) for id_ in ids}
    missing = {} if importlib.util.find_spec("botocore") else dict.fromkeys(ids, EXTRA)
    return replace(draft, merged=replace(draft.merged, providers=providers), missing_extras=missing)


def _located(entry: ProviderEntry, environ: Mapping[str, str]) -> ProviderEntry:
    said = _HOST.match(entry.base_url)
    region = entry.region or (said[1] if said else _default_region(environ))
    base_url = entry.base_url or (f"https://bedrock-runtime.{region}.amazonaws.com" if region else "")
    return replace(entry, region=region, base_url=base_url)


def _default_region(environ: Mapping[str, str]) -> str:
    """Return the region of the environment, or else of the profile. Empty: neither names one."""
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or _profile_region(environ)


def _profile_region(environ: Mapping[str, str]) -> str:
    profile = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE") or "default"
    file = Path(environ.get("AWS_CONFIG_FILE") or "~/.aws/config")
    settings = configparser.RawConfigParser(default_section="", strict=False)
    try:
        settings.read(file.expanduser(), "utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError, RuntimeError):  # AWS's own tools report it
        return ""
    section = profile if profile == "default" and settings.has_section(profile) else f"profile {profile}"
    return settings.get(section, "region", fallback="")
