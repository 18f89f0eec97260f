"""The image's health check: python /opt/tickbridge/healthcheck.py [livez|readyz|URL].

Asks this container's own HTTP server, at the port of TICKBRIDGE_HTTP__PORT (default 9108); exit 1 if it doesn't
answer 200.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Ask once; returns the exit code."""
    what = arguments[0] if arguments else "livez"
    url = what if "://" in what else f"http://127.0.0.1:{os.environ.get('TICKBRIDGE_HTTP__PORT', '9108')}/{what}"
    # Never by a proxy: it is about this container.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=4) as answer:
            print(answer.read(2000).decode(errors="replace"))
            return 0 if answer.status == 200 else 1
    except (OSError, urllib.error.URLError) as error:
        body = error.read(2000).decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else ""
        print(f"{url}: {error} {body}".strip())
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
