"""The toy's list of models: their names alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from semroute.dialects.shared.model_list import Listed


class ToyModelList:
    def render_one(self, model: Listed) -> dict[str, Any]:
        return {"who": model.id}

    def render_page(self, every: Sequence[Listed], query: Mapping[str, Any]) -> dict[str, Any]:
        return {"everybody": [model.id for model in every]}
