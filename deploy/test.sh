#!/usr/bin/env bash
# Sets up what the tests need and runs them. Arguments go to pytest: deploy/test.sh -m "not slow".
# Without any, the linters run first, and then every test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. deploy/common.sh

# The server that records, the browser that clicks, and the tools `make check` calls.
want_packages ffmpeg nginx libnginx-mod-rtmp chromium chromium-driver git make shellcheck
want_environment requirements-dev.txt
if [ $# -eq 0 ]; then
    make --no-print-directory check PYTHON="$python"
fi
exec "$python" -m pytest "$@"
