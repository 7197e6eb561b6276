"""semroute: YAML routes in, a decision in milliseconds, an answer whatever the providers do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semroute.decision import Decision as Decision
    from semroute.router import Router as Router

__all__ = ["Decision", "Router"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the Router and its libraries on first use, so that `semroute --help` does not wait for them."""
    if name == "Router":
        from semroute.router import Router

        return Router
    if name == "Decision":
        from semroute.decision import Decision

        return Decision
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
