from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from semroute.config.config import Config
from semroute.config.load import read
from semroute.errors import Problem

BASE = """
    providers:
      local: {dialect: echo}
    models:
      small: {provider: local, name: small-1}
      large: {provider: local, name: large-1}
    default: {models: [large]}
"""
"""A sound configuration, but for the warning that it has no routes."""

Result = tuple[Config | None, list[Problem]]
Write = Callable[..., Path]
Read = Callable[..., Result]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files, by name without `.yaml`, into a folder."""

    def write(**files: str) -> Path:
        for name, text in files.items():
            (tmp_path / f"{name}.yaml").write_text(dedent(text), encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def read_files(write: Write) -> Read:
    """Read files, given like `write`'s, together with `BASE`."""

    def read_files(
        environ: Mapping[str, str] | None = None, base: str = BASE, today: str = "2026-06-01", **files: str
    ) -> Result:
        folder = write(base=base, **files)
        config, problems = read(folder, environ or {}, today=datetime.date.fromisoformat(today))
        relative = [
            Problem(
                file=Path(problem.file).name,
                line=problem.line,
                path=problem.path,
                message=problem.message.replace(f"{folder}/", ""),
                severity=problem.severity,
            )
            for problem in problems
            if not problem.message.startswith("no `routes`")
        ]
        return config, relative

    return read_files
