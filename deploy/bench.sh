#!/usr/bin/env bash
# How fast the library is compared with a storage of a million objects, and in how much memory;
# then how long its list and its picker take with as many rows: deploy/bench.sh [OBJECTS]. At last,
# how fast the ingest server is answered with 100,000 keys, and the API with as many rows. The
# figures are this machine's; let nothing else run meanwhile.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. deploy/common.sh

want_environment requirements-dev.txt
export ENV_FILE=/dev/null
"$python" -m media_library.tests.bench_sync "$@"
"$python" -m media_library.tests.bench_pages "$@"
"$python" -m streams.tests.bench_auth
"$python" -m streams.tests.bench_api
