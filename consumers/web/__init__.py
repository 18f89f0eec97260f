"""Serves the streams to browsers and other HTTP clients: WebSocket, server-sent events, JSON, and a page.

    python -m consumers.web                                       on 127.0.0.1:9112, public streams only
    python -m consumers.web --tokens tokens.toml --http 0.0.0.0:9112 --host tickbridge.example.com

It only reads. However many clients there are, each stream is read once; a client that does not read delays nobody.
"""

from __future__ import annotations

from consumers.service import Parser
from consumers.web.service import DESCRIPTION, HTTP_PORT, add_options, start

__all__ = ["DESCRIPTION", "HTTP_PORT", "add_options", "main", "start"]


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = Parser("web", DESCRIPTION, http_port=HTTP_PORT)
    add_options(parser)
    return start(parser, parser.parse_args(argv))
