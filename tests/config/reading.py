"""What the tests of configuration share."""

from __future__ import annotations

from collections.abc import Callable

from semroute.config.config import Config
from semroute.errors import Problem

Result = tuple[Config | None, list[Problem]]
Read = Callable[..., Result]

ROUTE = """
routes:
  - name: billing
    utterances: [one, two, three, four, five]
    models: [small]
"""


def said(result: Result) -> list[str]:
    return [str(problem) for problem in result[1]]


def sound(result: Result) -> Config:
    config, problems = result
    assert config is not None, said(result)
    assert not problems
    return config
