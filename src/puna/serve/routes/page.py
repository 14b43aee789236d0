"""The chat page: a few files that are sent from memory, with headers that let them run nothing but themselves."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from fastapi import APIRouter, Request, Response

from puna.core.page_style import page_style
from puna.serve.errors import ApiError

PACKAGE = "puna.serve.page"
POLICY = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
        "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
        # Where browsers know Trusted Types, text cannot even be parsed as HTML: such an assignment is an error.
        "require-trusted-types-for 'script'", "trusted-types 'none'",
    )
)  # fmt: skip
"""Of the header Content-Security-Policy: what a model writes can neither run nor load anything."""
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # A browser asks each time whether it has the newest, so that a page and its scripts are always of one version.
    "Cache-Control": "no-cache",
}
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the page."""

    content: bytes
    media_type: str
    tag: str
    """Of the header ETag: a browser that names it has this content already."""


@cache
def page_files() -> dict[str, PageFile]:
    """All files of the page by their names; `app.css` begins with the look that Puna's pages share."""
    found = {}
    for file in resources.files(PACKAGE).iterdir():
        if (media_type := _TYPES.get("." + file.name.rpartition(".")[2])) is None:
            continue
        text = page_style(PACKAGE, file.name) if media_type == "text/css" else file.read_text(encoding="utf-8")
        content = text.encode()
        found[file.name] = PageFile(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return found


@router.get("/")
def index(request: Request) -> Response:
    """The chat page, which loads its style and scripts from here."""
    return _send(request, "index.html")


@router.get("/page/{name}")
def page_file(request: Request, name: str) -> Response:
    """A script, the style sheet or the icon.

    Raises:
        ApiError: The page has no file of this name (404).
    """
    return _send(request, name)


def _send(request: Request, name: str) -> Response:
    if (file := page_files().get(name)) is None:
        raise ApiError(404, "the chat page has no file of this name")
    headers = _HEADERS | {"ETag": file.tag}
    if file.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.media_type)
