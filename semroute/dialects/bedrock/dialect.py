"""The description of Amazon Bedrock's Converse for the rest of semroute. No caller speaks it."""

from __future__ import annotations

from semroute.dialects.bedrock.provider import BedrockProviderDialect
from semroute.dialects.description import Dialect

DIALECT = Dialect(provider=lambda _: BedrockProviderDialect(), telemetry_name="aws.bedrock")
