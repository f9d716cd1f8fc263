#!/usr/bin/env bash
# Sets up what the tests need and runs them. Without arguments the linters run first, then every
# test, six at a time: most of the time they wait for a channel to play. Those that depend on what
# the database does are repeated on PostgreSQL. Arguments go to pytest: deploy/test.sh -m "not slow";
# with --postgres before them the tests run on a PostgreSQL server that is started for them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. deploy/common.sh

# The server that records, the browser that clicks, and the tools `make check` calls.
want_packages ffmpeg nginx libnginx-mod-rtmp chromium chromium-driver git make shellcheck
want_environment requirements-dev.txt
side_by_side=("$python" -m pytest -n 6 --dist worksteal)
if [ "${1:-}" = --postgres ]; then
    shift
    . deploy/postgres.sh
    start_postgres "$python"
    "${side_by_side[@]}" "$@"
    exit
fi
if [ $# -gt 0 ]; then
    exec "$python" -m pytest "$@"
fi
make --no-print-directory check PYTHON="$python"
status=0
"${side_by_side[@]}" -m "not server" || status=$?
# What hangs on the database is tried on the other one as well.
bash deploy/test.sh --postgres -m database || status=$?
exit $status
