"""The page of `/ui`: try a prompt, see the traffic, read decisions.

The page holds no secrets. Its script asks the API with the reader's key.
"""

from __future__ import annotations

from pathlib import Path

from litestar import Response, get

from semroute.api.error_responses import AnyRequest
from semroute.errors import NotFoundError

_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FILES = {
    path.name: (path.read_bytes(), _KINDS[path.suffix])
    for path in (Path(__file__).parent / "ui").iterdir()
    if path.suffix in _KINDS
}
_HEADERS = {
    # The page may load nothing from other sites, and holds no script or style in itself.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


@get("/ui")
async def page(request: AnyRequest) -> Response[bytes]:
    """Return the page for the browser: decisions explained, traffic, the log. It asks for a key if one is needed."""
    if request.scope["raw_path"].endswith(
        b"/"
    ):  # the page names its parts relative to `/ui`, so that it works behind proxies
        return Response(b"", status_code=308, headers={"location": "../ui"})
    return _file("index.html")


@get("/ui/{name:str}", include_in_schema=False)
async def part(name: str) -> Response[bytes]:
    """Return a script or the style of the page."""
    return _file(name)


def _file(name: str) -> Response[bytes]:
    if name not in _FILES:
        raise NotFoundError(f"/ui has no file {name!r}")
    content, kind = _FILES[name]
    return Response(content, media_type=kind, headers=_HEADERS)
