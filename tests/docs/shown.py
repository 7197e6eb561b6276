"""What the README and the pages of the docs show: their blocks of code, each with the line where it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

FOLDER = ROOT / "docs" / "pages"
README = ROOT / "README.md"
PAGES = (README, *sorted(FOLDER.rglob("*.md")))
HOST = "localhost:8000"
"""Where the pages say that the service is."""
FENCE = re.compile(
    r"(?:^ *<!-- (?P<mark>[^\n]*) -->\n)?^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```$",
    re.M | re.S,
)
OUTPUT = re.compile(r"\n\n<!-- output -->\n```text\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    page: Path
    line: int
    language: str
    text: str
    mark: str
    """The comment right above it; empty: none."""
    output: str | None
    """What it prints, where the page shows that."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str) -> Iterator[Block]:
    """All blocks in some languages, page by page."""
    for page in PAGES:
        text = page.read_text("utf-8")
        for found in FENCE.finditer(text):
            if found["language"] in languages:
                line = text.count("\n", 0, found.start("language")) + 1
                shown = OUTPUT.match(text, found.end())
                code = textwrap.dedent(found["text"])
                yield Block(page, line, found["language"], code, found["mark"] or "", shown and shown[1])


def programs() -> Iterator[Block]:
    """The Python blocks that are whole programs; tests/clients compares parts of programs with the whole ones."""
    return (block for block in blocks("python") if re.search(r"^(import|from) ", block.text, re.M))


def marked(mark: str) -> Block:
    """The one block with a mark above it."""
    (found,) = (block for block in blocks("yaml") if block.mark == mark)
    return found


def between(page: str, mark: str) -> str:
    """The text between `<!-- mark -->` and `<!-- /mark -->` on a page."""
    text = (FOLDER / page).read_text("utf-8")
    return text.partition(f"<!-- {mark} -->\n")[2].partition(f"<!-- /{mark} -->")[0]


def fits(shown: str, printed: str) -> bool:
    """Whether output is what a page shows, where `…` stands for anything. How wide a column is does not count."""
    pattern = r".*?".join(map(re.escape, _squeezed(shown).split("…")))
    return re.fullmatch(pattern, _squeezed(printed), re.S) is not None


def _squeezed(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


def anchors(page: Path) -> set[str]:
    """What can be linked to on a page: its headings, as the site and code hosts name them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def run(command: list[str], cwd: Path, stdin: str = "") -> str:
    """Run a command to its end, without keys of providers. What it prints."""
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    environ = clean | {"PATH": f"{Path(sys.executable).parent}:{clean['PATH']}", "COLUMNS": "100"}
    done = subprocess.run(command, cwd=cwd, env=environ, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
