"""Anthropic's list of models. Source: https://platform.claude.com/docs/en/api/models-list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from semroute.dialects.openai.model_list import OpenAIModelList
from semroute.dialects.shared.model_list import MAX_PAGE, Listed, page_size, place_of

UNKNOWN_DAY = "1970-01-01T00:00:00Z"
"""The date of models whose date is not known, as all are here."""


class AnthropicModelList(OpenAIModelList):
    """Renders pages that begin after a model or end before one. Models have the fields of OpenAI's form too."""

    def render_one(self, model: Listed) -> dict[str, Any]:
        """Render one model."""
        return {
            **super().render_one(model),
            "type": "model",
            "display_name": model.id,
            "created_at": UNKNOWN_DAY,
            "lifecycle": "active",
            "max_input_tokens": model.input_tokens,
            "max_tokens": model.output_tokens,
        }

    def render_page(self, every: Sequence[Listed], query: Mapping[str, Any]) -> dict[str, Any]:
        """Render a page: the models just before `before_id`, or those after `after_id`."""
        limit = page_size(query.get("limit"), "limit", MAX_PAGE)
        before, after = query.get("before_id"), query.get("after_id")
        if before is not None:
            rest = every[: place_of(every, before, "before_id")]
            page = rest[max(0, len(rest) - limit) :]
        else:
            rest = every[place_of(every, after, "after_id") + 1 :] if after is not None else every
            page = rest[:limit]
        return {
            "data": [self.render_one(model) for model in page],
            "has_more": len(page) < len(rest),
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
        }
