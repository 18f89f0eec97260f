"""What every request passes: its Host and Origin, its token; and the headers that every answer has."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from bridge.printable import printable
from bridge.process.requests import host_name, is_address
from bridge.redis.errors import FAILURES
from consumers.web.tokens import Access, TokenError, Tokens

__all__ = ["CHECKS", "HEADERS", "Guard", "json_answer", "problem"]

CHECKS = ("/livez", "/readyz", "/metrics")
"""Pages for machines: they name no account, need no token, and answer to any IP address."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_WORTH_COMPRESSING = 1_024
_LONGEST_QUOTED = 100
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def json_answer(body: object, status: int = 200, **headers: str) -> web.Response:
    """An answer as JSON that nobody keeps."""
    kept = {"Cache-Control": "no-store", **headers}
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/json", charset="utf-8", headers=kept
    )


def problem(status: int, words: str, **headers: str) -> web.Response:
    """An answer that says what is wrong."""
    return json_answer({"error": words}, status, **headers)


class Guard:
    """Checks requests. The gateway may be reached under ``names``, at ``bound`` (where it listens), and at loopback addresses."""

    def __init__(self, tokens: Tokens, names: Collection[str] = (), bound: str = "") -> None:
        self._tokens = tokens
        self._bound = bound.casefold()
        self._names = {name.casefold().strip("[]").rstrip(".") for name in names}

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what must not be answered, turn errors into JSON, and add the headers."""
        refused = self._refused(request)
        if refused is not None:
            response: web.StreamResponse = refused
        else:
            try:
                self._check_status(request)
                response = await handler(request)
            except TokenError as error:
                response = problem(401, str(error), **{"WWW-Authenticate": "Bearer"})
            except web.HTTPException as error:
                if error.status < 400:
                    raise
                response = problem(error.status, error.text or error.reason)
            except FAILURES as error:
                response = problem(503, f"Redis does not answer: {printable(str(error), 500)}", **{"Retry-After": "2"})
        if not response.prepared:
            response.headers.update(HEADERS)
            body = getattr(response, "body", None)
            plain = "Content-Encoding" not in response.headers and response.content_type == "application/json"
            if plain and isinstance(body, bytes) and len(body) > _WORTH_COMPRESSING:
                response.enable_compression()
                response.headers["Vary"] = "Accept-Encoding"
        return response

    def _check_status(self, request: web.Request) -> None:
        """The status page lists every stream, those of accounts included."""
        if request.path == "/status" and self._tokens.configured and not self.access(request).everything:
            raise web.HTTPForbidden(text='this page lists every account: its token needs accounts = ["*"]')

    def access(self, request: web.Request) -> Access:
        """What the request's token allows.

        Raises:
            TokenError: it has none or a wrong one, and one is needed.
        """
        return self._tokens.access(_token(request))

    def optional_access(self, request: web.Request) -> Access | None:
        """The same; ``None`` if one is needed and the request has none. It may follow as a message.

        Raises:
            TokenError: it has a wrong one.
        """
        token = _token(request)
        return None if token is None and self._tokens.configured else self._tokens.access(token)

    def _refused(self, request: web.Request) -> web.Response | None:
        host = request.headers.get("Host", "")
        name = host_name(host)
        if not self._known(name) and not (request.path in CHECKS and is_address(name)):
            shown = printable(host, _LONGEST_QUOTED)
            return problem(421, f"this is not {shown!r}; if it is reached under that name, start it with --host NAME")
        origin = request.headers.get("Origin")
        if origin is not None and not self._is_own(origin, host):
            shown = printable(origin, _LONGEST_QUOTED)
            return problem(403, f"pages of {shown!r} may not read this; name that host with --host if they should")
        return None

    def _known(self, name: str) -> bool:
        return (
            name in {*self._names, self._bound}
            or name == "localhost"
            or name.endswith(".localhost")
            or _is_loopback(name)
        )

    def _is_own(self, origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin)
            name, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme)
            own = urlsplit(f"{parts.scheme}://{host}")
            own_name, own_port = (own.hostname or "").rstrip("."), own.port or _PORTS.get(parts.scheme)
        except ValueError:
            return False
        return bool(name) and (name in self._names or (name, port) == (own_name, own_port))


def _token(request: web.Request) -> str | None:
    """The token of a request: from its header, or from its address.

    Raises:
        TokenError: the header is of another kind.
    """
    header = request.headers.get("Authorization")
    if header is None:
        return request.query.get("token")
    kind, _, token = header.partition(" ")
    if kind.casefold() != "bearer" or not token.strip():
        raise TokenError("Authorization should be: Bearer TOKEN")
    return token.strip()


def _is_loopback(name: str) -> bool:
    return is_address(name) and ipaddress.ip_address(name).is_loopback
