"""What other people's clients need. Where it is missing their tests are skipped; with `CI` set they fail."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest


def module(name: str) -> Any:
    """A client that the extra `clients` brings."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return missing(f"{name}: pip install '.[test,clients]'")


def missing(what: str) -> Any:
    if os.environ.get("CI"):
        pytest.fail(f"needs {what}")
    pytest.skip(f"needs {what}")
