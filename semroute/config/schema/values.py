"""Values that have bounds: fractions, prices, names."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from msgspec import Meta

Fraction = Annotated[float, Meta(ge=0, le=1)]

Positive = Annotated[float, Meta(gt=0)]

Price = Annotated[Decimal, Meta(description="USD per 1,000,000 tokens")]

Name = Annotated[str, Meta(min_length=1)]
