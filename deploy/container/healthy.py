"""Whether this container's part works: exit status 0 or 1, and a sentence.

A channel that is off the air is no fault of a container: a restart would not help it.
"""

from __future__ import annotations

import http.client
import os
import sys
import time
from pathlib import Path

#: Seconds after which a cluster's silence is a fault: each touches its file once a minute.
MAX_SILENCE_S = 300.0


def fault(part: str) -> str:
    """Why the part does not work; empty if it does."""
    if part == "web":
        site = http.client.HTTPConnection("127.0.0.1", int(os.environ["PORT"]), timeout=15)
        try:
            site.request("GET", "/static/none", headers={"Host": "localhost"})
            status = site.getresponse().status
        except OSError as error:
            return f"no page is served: {error}"
        return "" if status < http.client.INTERNAL_SERVER_ERROR else f"pages answer {status}"
    try:
        silent = time.time() - (Path(os.environ["RUN_DIR"]) / f"{part}.alive").stat().st_mtime
    except OSError as error:
        return f"{part}: {error.strerror}"
    return "" if silent < MAX_SILENCE_S else f"{part} has been silent for {silent:.0f} s"


def main(parts: list[str]) -> int:
    faults = [text for part in parts or ["web", "playout"] if (text := fault(part))]
    sys.stdout.write("; ".join(faults) or "works")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
