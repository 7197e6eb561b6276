"""The variables of answers that routes have ready."""

from __future__ import annotations

import re
from collections.abc import Iterator

VARIABLE = re.compile(r"\{([A-Za-z_][\w.-]*)\}")
"""Other braces stand for themselves."""
VARIABLES = ("date", "user")
METADATA = "metadata."


def unknown_variables(text: str) -> Iterator[str]:
    """Yield the variables of a text that have no value."""
    for name in VARIABLE.findall(text):
        if name not in VARIABLES and not (name.startswith(METADATA) and name != METADATA):
            yield name
