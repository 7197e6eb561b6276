"""The page of `/schema`, which describes all endpoints. It is one file and loads nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import Any

from litestar.openapi.plugins import OpenAPIRenderPlugin

from semroute.api.error_responses import AnyRequest

_CODE = re.compile("`([^`]+)`")
_HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>semroute</title>
<style>
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin: 2rem 0 0; font-size: 1.1rem } code { font-family: ui-monospace, monospace } p { margin: .3rem 0 }
table { border-collapse: collapse } td { border-top: 1px solid #8884; padding: .2rem 1rem .2rem 0; vertical-align: top }
</style>
"""


class ReferencePage(OpenAPIRenderPlugin):
    """Shows an OpenAPI document as a page. The framework's own viewers load scripts from other sites."""

    def render(self, request: AnyRequest, openapi_schema: dict[str, Any]) -> bytes:
        """Return the page."""
        info = openapi_schema["info"]
        head = f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        raw = '<p>For machines: <a href="/schema/openapi.json">openapi.json</a></p>'
        operations = (
            _operation(method, path, operation)
            for path, item in sorted(openapi_schema["paths"].items())
            for method, operation in item.items()
        )
        return "\n".join((_HEAD, head, raw, *operations, "</html>")).encode()


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    about = operation.get("description") or operation.get("summary") or ""
    body = operation.get("requestBody") or {}
    rows = [*_parameters(operation), *_fields(body)]
    said = f"<p>{_prose(body['description'])}</p>" if body.get("description") else ""
    table = f"<table>{''.join(rows)}</table>" if rows else ""
    return f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{_prose(about)}</p>{said}{table}"


def _parameters(operation: dict[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters") or ():
        required = bool(parameter.get("required"))
        yield _row(parameter["name"], parameter["in"], parameter.get("description") or "", required)


def _fields(body: dict[str, Any]) -> Iterator[str]:
    for content in body.get("content", {}).values():
        schema = content["schema"]
        for name, field in schema.get("properties", {}).items():
            kind = field.get("type") or "any"
            yield _row(name, kind, field.get("description") or "", name in schema.get("required", ()))


def _row(name: str, kind: str, about: str, required: bool) -> str:
    kind = f"{kind}, required" if required else kind
    return f"<tr><td><code>{escape(name)}</code><td>{escape(kind)}<td>{_prose(about)}</tr>"


def _prose(text: str) -> str:
    """Return a description as HTML: what stands between backticks is code."""
    return _CODE.sub(r"<code>\1</code>", escape(text))
