"""The image's health check: python /opt/tickbridge/healthcheck.py [livez|readyz|URL].

Asks this container's own HTTP server, at the port of TICKBRIDGE_HTTP__PORT, or else at the default ports of
connectors and consumers, of which a container has one; exit 1 if it doesn't answer 200.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

__all__ = ["DEFAULT_PORTS", "main"]

DEFAULT_PORTS = ("9108", "9109", "9110", "9111", "9112", "9113")
"""Of ``tickbridge run``, ``books``, ``wallets``, ``candles``, ``web`` and ``parquet``."""


def main(arguments: list[str]) -> int:
    """Ask once; returns the exit code."""
    what = arguments[0] if arguments else "livez"
    set_port = os.environ.get("TICKBRIDGE_HTTP__PORT")
    ports = [set_port] if set_port else DEFAULT_PORTS
    answer = ""
    for url in [what] if "://" in what else [f"http://127.0.0.1:{port}/{what}" for port in ports]:
        try:
            status, answer = _ask(url)
        except OSError as error:
            answer = f"{url}: {error}"  # nobody listens there
        else:
            break
    else:
        status = 0
    print(answer)
    return 0 if status == 200 else 1


def _ask(url: str) -> tuple[int, str]:
    # Never by a proxy: it is about this container.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=4) as answer:
            return answer.status, answer.read(2000).decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, f"{url}: {error} {error.read(2000).decode(errors='replace')}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
