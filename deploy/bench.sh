#!/usr/bin/env bash
# Measures, with nothing else at work on this machine: deploy/bench.sh [OBJECTS].
# First the tests that have figures, at full length and with their exact bounds: twenty takeovers,
# the cost of a channel, 58 hours of timestamps, downloads beside plain yt-dlp, /health while large
# answers are aborted. Then how fast the library is compared with a storage of a million objects
# (or OBJECTS), how long its list and its picker take with as many rows, how fast the ingest server
# is answered with 100,000 keys, and the API with as many rows, and how much memory an installation
# takes. At last, what reaches a destination when a publisher on air pauses.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. deploy/common.sh

# The last five are a clock that can be set and an RTSP server in MediaMTX's place.
want_packages ffmpeg nginx libnginx-mod-rtmp redis-server libfaketime \
    python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
want_environment requirements-dev.txt
status=0
"$python" -m pytest --measure -m measured --junit-xml data/bench.xml \
    media_library/tests streams/tests streamsite/tests media_library/tests/bench_downloads.py \
    streams/tests/bench_feeds.py streams/tests/bench_cluster_away.py \
    streams/tests/bench_pace.py streams/tests/bench_upload.py || status=$?
"$python" -c '
import sys, xml.etree.ElementTree as tree
for case in tree.parse("data/bench.xml").iter("testcase"):
    for figure in case.iter("property"):
        print(case.get("name"), figure.get("name"), figure.get("value"))
'
export ENV_FILE=/dev/null
"$python" -m media_library.tests.bench_sync "$@"
"$python" -m media_library.tests.bench_pages "$@"
"$python" -m streams.tests.bench_auth
"$python" -m streams.tests.bench_api
# What the samples of ten channels take in a day, and in two years.
"$python" -m streams.tests.bench_samples || status=$?
# The memory of an installation with one, two and three channels on air, process by process.
"$python" -m streamsite.tests.bench_memory
# The CPU of 10, 25 and 50 channels beside as many bare loops of FFmpeg: half an hour.
"$python" -m streams.tests.bench_cpu
# Fifty channels started at once, and twenty absences of the supervisor: a quarter of an hour.
"$python" -m streams.tests.bench_channels || status=$?
"$python" -m streams.tests.bench_restarts || status=$?
"$python" -m streams.tests.bench_pauses || status=$?
# Eleven faults under the watch of the air, each with its verdict, seconds and message.
"$python" -m streams.tests.bench_air || status=$?
# Two nodes in network namespaces, as root: twenty times one loses the database.
"$python" -m streams.tests.bench_fence || status=$?
# An hour in 1 GB of memory, as root.
"$python" -m streamsite.tests.bench_small || status=$?
# Three nodes: one loses its power, the database, or its clock; all lose the database, or the broker.
"$python" -m streams.tests.bench_nodes || status=$?
# Two nodes that send one channel's primary and backup: how far their pictures are apart, and three
# times the one that plays it is lost.
"$python" -m streams.tests.bench_second || status=$?
exit $status
