#!/bin/sh
# Starts MediaMTX 1.15.4 or newer: start.sh [PROGRAM [CONFIGURATION]].
# The configuration is written for 1.19.3. Older versions refuse unknown option names, so they get a
# copy with their own names.
set -eu

program=${1:-mediamtx}
configuration=${2:-$(dirname "$0")/mediamtx.yml}
version=$("$program" --version)
version=${version#v}

is_older_than() {
    [ "$version" != "$1" ] && [ "$(printf '%s\n' "$version" "$1" | sort -V | head -n 1)" = "$version" ]
}

if is_older_than 1.15.4; then
    echo "start.sh: MediaMTX $version is too old: 1.15.4 or newer is needed." >&2
    exit 1
fi
edits=
if is_older_than 1.19.3; then
    edits='s/^\( *\)runOnAvailable:/\1runOnReady:/; s/^\( *\)runOnUnavailable:/\1runOnNotReady:/'
fi
if is_older_than 1.19.0; then
    edits="$edits; /^moq:/d"
fi
if [ -n "$edits" ]; then
    # The copy holds the token. systemd's RuntimeDirectory= belongs to this service.
    umask 077
    copy=${RUNTIME_DIRECTORY:-${TMPDIR:-/tmp}}/mediamtx-$(id -u).yml
    sed "$edits" "$configuration" >"$copy.new"
    mv "$copy.new" "$copy"
    configuration=$copy
fi
exec "$program" "$configuration"
