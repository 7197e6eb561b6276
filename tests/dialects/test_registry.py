"""The table of dialects, and that nothing else knows their names."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import semroute
from semroute.config import dialects as table
from semroute.dialects.registry import DIALECTS, dialect, expected_by

PACKAGE = Path(semroute.__file__).parent
NO_DIALECTS = {
    ("api/path_aliases.py", "responses"),  # a part of a path
    ("config/bedrock_region.py", "bedrock"),  # an extra of the package
    *((("config/price_list.py", name)) for name in ("anthropic", "bedrock", "gemini", "openai")),  # LiteLLM's vendors
    ("config/schema/providers.py", "openai"),  # what route files need not write
    ("providers/aws_signing.py", "bedrock"),  # a service of AWS
    ("providers/raw_forwarding.py", "bedrock"),  # a preset
}
"""Where such a word means something else."""


def test_each_folder_has_a_line_and_each_line_a_folder() -> None:
    folders = {file.parent.name for file in (PACKAGE / "dialects").glob("*/dialect.py")}
    assert folders == set(table.DIALECTS) == set(DIALECTS)


def test_no_module_outside_knows_the_name_of_a_dialect() -> None:
    tables = {PACKAGE / "config" / "dialects.py", PACKAGE / "config" / "presets.py"}
    found = set()
    for file in PACKAGE.rglob("*.py"):
        if file not in tables and PACKAGE / "dialects" not in file.parents:
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and node.value in table.DIALECTS:
                    found.add((file.relative_to(PACKAGE).as_posix(), node.value))
    assert found == NO_DIALECTS


def test_what_a_provider_may_speak_is_what_has_a_provider_side() -> None:
    spoken = {name for name, each in DIALECTS.items() if each.provider is not None}
    assert {*spoken, table.ECHO} == set(table.provider_dialects())
    nobodys = dialect("nobody's")
    assert (nobodys.client, nobodys.provider) == (None, None)


GOOGLES, ANTHROPICS = {"x-goog-api-key": "k"}, {"anthropic-version": "2023-06-01"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected"),
    [
        ("POST", "/v1beta/models/m:generateContent", {}, "gemini"),
        ("POST", "/v1beta/models/m:generateContent", ANTHROPICS, "gemini"),
        ("POST", "/v1/models/m:generateContent", {}, "gemini"),
        ("GET", "/v1/models/m", {}, "openai"),
        ("GET", "/v1/models/m", GOOGLES, "gemini"),
        ("GET", "/v1/models", {"x-goog-api-client": "c"}, "gemini"),
        ("GET", "/v1/models", ANTHROPICS, "anthropic"),
        ("GET", "/v1/models", ANTHROPICS | GOOGLES, "anthropic"),
        ("POST", "/v1/messages", {}, "anthropic"),
        ("POST", "/v1/messages/count_tokens", GOOGLES, "anthropic"),
        ("POST", "/v1/chat/completions", GOOGLES, "openai"),
        ("POST", "/v1/chat/completions", ANTHROPICS, "anthropic"),
        ("POST", "/v1/responses", {}, "openai"),
        ("POST", "/openai/deployments/m/embeddings", {}, "openai"),
        ("POST", "/api/chat", {}, "ollama"),
        ("POST", "/complete", {}, "native"),
        ("GET", "/nowhere", {}, "native"),
    ],
)
def test_callers_are_known_by_addresses_before_headers_and_by_headers_before_shared_addresses(
    method: str, path: str, headers: dict[str, str], expected: str
) -> None:
    assert expected_by(method, path, headers) is DIALECTS[expected]


def test_of_two_keys_the_header_of_the_first_dialect_counts() -> None:
    assert table.key_headers() == ("x-api-key", "x-goog-api-key", "api-key")
