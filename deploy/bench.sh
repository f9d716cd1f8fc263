#!/usr/bin/env bash
# How fast the library is compared with a storage of a million objects, and in how much memory:
# deploy/bench.sh [OBJECTS]. The figures are this machine's; let nothing else run meanwhile.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. deploy/common.sh

want_environment requirements-dev.txt
export ENV_FILE=/dev/null
exec "$python" -m media_library.tests.bench_sync "$@"
