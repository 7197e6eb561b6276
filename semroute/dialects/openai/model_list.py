"""OpenAI's list of models. Source: https://platform.openai.com/docs/api-reference/models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from semroute.dialects.shared.model_list import Listed


class OpenAIModelList:
    """Renders all models on one page."""

    def render_one(self, model: Listed) -> dict[str, Any]:
        """Render one model.

        Source of `shutdown_date`: https://developers.openai.com/api/docs/deprecations, 2026-11-30.
        """
        ends = {"shutdown_date": model.shutdown_date} if model.shutdown_date else {}
        return {
            "id": model.id,
            "object": "model",
            "created": 0,
            "owned_by": model.owner,
            "metadata": model.metadata,
            **ends,
        }

    def render_page(self, every: Sequence[Listed], query: Mapping[str, Any]) -> dict[str, Any]:
        """Render all models, whatever the query says."""
        return {"object": "list", "data": [self.render_one(model) for model in every]}
