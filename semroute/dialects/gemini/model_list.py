"""Gemini's list of models. Source: https://ai.google.dev/api/models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from semroute.dialects.shared.model_list import Listed, page_size, place_of

DEFAULT_PAGE = 50
"""The number of models on a page, if the caller names none."""


class GeminiModelList:
    """Renders pages. The token for the next page is the id of the last model."""

    def render_one(self, model: Listed) -> dict[str, Any]:
        """Render one model."""
        limits = {"inputTokenLimit": model.input_tokens, "outputTokenLimit": model.output_tokens}
        return {
            "name": f"models/{model.id}",
            "baseModelId": model.id,
            "version": "1",
            "displayName": model.id,
            "description": model.description,
            **{name: tokens for name, tokens in limits.items() if tokens is not None},
            "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent"],
            "thinking": model.thinks,
        }

    def render_page(self, every: Sequence[Listed], query: Mapping[str, Any]) -> dict[str, Any]:
        """Render a page of `pageSize` models after `pageToken`. A size of 0 means the default."""
        said = query.get("pageSize")
        size = page_size(None if said == "0" else said, "pageSize", DEFAULT_PAGE)
        token = query.get("pageToken")
        rest = every[place_of(every, token, "pageToken") + 1 :] if token else every
        page = rest[:size]
        more = {"nextPageToken": page[-1].id} if len(page) < len(rest) else {}
        return {"models": [self.render_one(model) for model in page], **more}
