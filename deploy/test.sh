#!/usr/bin/env bash
# Sets up what the tests need and runs them. Without arguments the linters run first, then every
# test, eight at a time: most of the time they wait for a channel to play. A test that fails so is
# tried once more by itself, and named: channels play in seconds, and a machine that others share
# has few of them. Tests that depend on the database are repeated on PostgreSQL. Arguments go to
# pytest: deploy/test.sh -m "not slow"; with --postgres before them the tests run on a PostgreSQL
# server that is started for them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. deploy/common.sh

# The server that records, the browser that clicks, and the tools `make check` calls.
want_packages ffmpeg nginx libnginx-mod-rtmp chromium chromium-driver curl git make shellcheck
want_environment requirements-dev.txt
# Programs that tests start would compile all modules at each start: a second of CPU.
unset PYTHONDONTWRITEBYTECODE
side_by_side() {
    local workers=$1 status=0 failed
    shift
    "$python" -m pytest -n "$workers" --dist worksteal "$@" || status=$?
    # 1: tests failed. Anything else is no test's fault, and many that fail are no noise.
    [ $status -eq 1 ] || return $status
    failed=$("$python" -m pytest --last-failed --collect-only --quiet --no-header "$@" | grep ::) || return 1
    if [ "$(wc -l <<<"$failed")" -gt 5 ]; then
        return 1
    fi
    say "failed beside others, tried by themselves now:"$'\n'"$failed"
    "$python" -m pytest --last-failed "$@"
}
if [ "${1:-}" = --postgres ]; then
    shift
    . deploy/postgres.sh
    start_postgres "$python"
    side_by_side 4 "$@"
    exit
fi
if [ $# -gt 0 ]; then
    exec "$python" -m pytest "$@"
fi
make --no-print-directory --jobs=2 --output-sync check PYTHON="$python"
status=0
# Compiles the tests once: eight workers that begin together would each do it.
"$python" -m pytest --collect-only -qq >/dev/null
side_by_side 8 || status=$?
# Tests that depend on the database are repeated on the other one.
bash deploy/test.sh --postgres -m database || status=$?
exit $status
