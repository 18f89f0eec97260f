"""The files of the page, read once at the start: with compressed forms, checksums, and how long they may be kept."""

from __future__ import annotations

import gzip
import mimetypes
from hashlib import sha256
from pathlib import Path

from aiohttp import web
from msgspec import Struct

__all__ = ["Assets"]

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_TEXTS = ("text/", "application/json", "application/manifest", "image/svg")
_HASHED = "/assets/"
"""Files below it have a hash of their content in their names."""
_YEAR = "public, max-age=31536000, immutable"
_INDEX = "/index.html"
_NO_PAGE = b"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Tickbridge</title></head>
<body>
<h1>Tickbridge gateway</h1>
<p>The page that shows the streams is not part of this installation. The gateway works:</p>
<ul>
<li><a href="/api/streams">/api/streams</a>: the streams</li>
<li><a href="/api/connectors">/api/connectors</a>: the connectors</li>
<li><a href="/api/info">/api/info</a>: version, limits, what may be read</li>
</ul>
<p>The protocol of the API, of the WebSocket and of server-sent events is in docs/reference/web.md.</p>
</body>
</html>
"""


class _File(Struct, frozen=True):
    body: bytes
    packed: bytes | None
    """Compressed by gzip, if that is shorter."""
    kind: str
    tag: str
    keep: str


class Assets:
    """The files below ``folder``, by path; without an ``index.html`` a plain page that says so."""

    def __init__(self, folder: Path = _FOLDER) -> None:
        self._files: dict[str, _File] = {}
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.is_file() and not path.name.startswith("."):
                name = f"/{path.relative_to(folder).as_posix()}"
                self._files[name] = _file(name, path.read_bytes())
        self.complete = _INDEX in self._files
        """Whether the page is there."""
        if not self.complete:
            self._files[_INDEX] = _file(_INDEX, _NO_PAGE)

    def routes(self) -> list[web.RouteDef]:
        """A route for each file, and ``/`` for the page."""
        return [web.get(name, self._serve) for name in ("/", *self._files)]

    async def _serve(self, request: web.Request) -> web.Response:
        file = self._files[_INDEX if request.path == "/" else request.path]
        headers = {"ETag": file.tag, "Cache-Control": file.keep, "Vary": "Accept-Encoding"}
        if request.headers.get("If-None-Match") == file.tag:
            return web.Response(status=304, headers=headers)
        body = file.body
        if file.packed is not None and "gzip" in request.headers.get("Accept-Encoding", "").casefold():
            body = file.packed
            headers["Content-Encoding"] = "gzip"
        charset = "utf-8" if file.kind.startswith(_TEXTS) and not file.kind.startswith("image/") else None
        return web.Response(body=body, content_type=file.kind, charset=charset, headers=headers)


def _file(name: str, body: bytes) -> _File:
    suffix = Path(name).suffix.casefold()
    kind = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    packed = gzip.compress(body, 9, mtime=0) if kind.startswith(_TEXTS) else None
    keep = _YEAR if name.startswith(_HASHED) else "no-cache"
    return _File(
        body,
        packed if packed is not None and len(packed) < len(body) else None,
        kind,
        f'"{sha256(body).hexdigest()[:32]}"',
        keep,
    )
