"""The command line."""

from semroute.cli.main import main

__all__ = ["main"]
