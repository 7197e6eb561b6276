"""The folders of the dialects: files of the same names, which hold the same things."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import semroute.dialects
from semroute.config.dialects import DIALECTS

ROOT = Path(semroute.dialects.__file__).parent
FOLDERS = {**{name: ROOT / name for name in DIALECTS}, "toy": Path(__file__).with_name("toy")}
EXTRAS = {
    "native/conversation.py": "Only programs that import semroute ask a Router, in either of two forms.",
    "anthropic/api_versions.py": "Only Anthropic's API has versions by date that callers choose.",
    "anthropic/thinking.py": "Bedrock tells Claude of thinking in Anthropic's words too.",
    "bedrock/event_stream.py": "Only AWS streams frames with checksums.",
    "openai/passthrough_usage.py": "Only OpenAI has files, batches and moderations, which are passed on unread.",
    "openai/text_completions.py": "Only OpenAI has an older API, which callers still use.",
    "responses/compaction.py": "Only Responses has an endpoint that makes a conversation shorter.",
    "responses/stored.py": "Only Responses keeps answers, so that a later request can build on them.",
}
"""Files beside those of the table in the README, each with what only that vendor has."""
HOMES = {
    "parse_request": {"client", "embeddings"},
    "render_completion": {"client", "embeddings"},
    "chunk": {"client_stream"},
    "render_request": {"provider"},
    "parse_completion": {"provider"},
    "event": {"provider_stream"},
    "render_page": {"model_list"},
}
"""Methods of the protocols, and the files that hold the classes with them."""


def table() -> dict[str, str]:
    """The README's table of files: what each holds."""
    text = (ROOT / "README.md").read_text("utf-8")
    return dict(re.findall(r"^   \| `(\w+\.py)` \| (.+) \|$", text, flags=re.MULTILINE))


def test_a_folder_holds_the_files_of_the_table_and_what_only_its_vendor_has() -> None:
    files = {file for folder in FOLDERS.values() for file in folder.glob("*.py") if file.name != "__init__.py"}
    others = {f"{file.parent.name}/{file.name}" for file in files if file.name not in table()}
    assert others == set(EXTRAS)
    assert {file.name for file in files} >= set(table())


@pytest.mark.parametrize("name", FOLDERS)
def test_what_a_protocol_asks_for_is_in_the_file_of_that_name(name: str) -> None:
    astray = []
    for file in FOLDERS[name].glob("*.py"):
        if f"{name}/{file.name}" not in EXTRAS:
            classes = [each for each in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(each, ast.ClassDef)]
            methods = [(each, part) for each in classes for part in each.body if isinstance(part, ast.FunctionDef)]
            astray += [
                f"{file.name}: {each.name}.{method.name}"
                for each, method in methods
                if file.stem not in HOMES.get(method.name, {file.stem})
            ]
    assert not astray


def test_the_readme_says_what_each_shared_file_does() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    shared = text[text.index("## What dialects share") : text.index("## Who serves whom")]
    named = set(re.findall(r"`([\w.]+)`", shared))
    files = {file.name for file in (ROOT / "shared").iterdir() if file.is_file() and file.name != "__init__.py"}
    assert files - named == set()
