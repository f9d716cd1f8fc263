#!/usr/bin/env bash
# Sets up what the tests need and runs them. Arguments go to pytest: deploy/test.sh -m "not slow".
# Without any, the linters run first, then every test: two side by side, for most of the time they
# wait for a channel to play, and those that measure by themselves at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. deploy/common.sh

# The server that records, the browser that clicks, and the tools `make check` calls.
want_packages ffmpeg nginx libnginx-mod-rtmp chromium chromium-driver git make shellcheck
want_environment requirements-dev.txt
if [ $# -gt 0 ]; then
    exec "$python" -m pytest "$@"
fi
make --no-print-directory check PYTHON="$python"
status=0
"$python" -m pytest -n 2 --dist loadfile -m "not alone" || status=$?
"$python" -m pytest -m alone || status=$?
exit $status
