#!/usr/bin/env bash
# Sets up what the tests need and runs them. Without arguments the linters run first, then every
# test, six at a time: most of the time they wait for a channel to play. Other arguments than
# --postgres go to pytest: deploy/test.sh -m "not slow". With --postgres the tests run on a
# PostgreSQL server that is started for them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. deploy/common.sh

# The server that records, the browser that clicks, and the tools `make check` calls.
want_packages ffmpeg nginx libnginx-mod-rtmp chromium chromium-driver git make shellcheck
want_environment requirements-dev.txt
if [ "${1:-}" = --postgres ]; then
    shift
    . deploy/postgres.sh
    start_postgres "$python"
    "$python" -m pytest -n 6 --dist worksteal "$@"
    exit
fi
if [ $# -gt 0 ]; then
    exec "$python" -m pytest "$@"
fi
make --no-print-directory check PYTHON="$python"
exec "$python" -m pytest -n 6 --dist worksteal
