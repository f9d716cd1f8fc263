#!/usr/bin/env bash
# Installs on a bare Debian, and sees whether it holds what deploy/README.md says:
#
#     deploy/server_test.sh [--by-hand | --ten-upgrades | --restore [--postgres]] [RELEASE [FOLDER]]
#
# --by-hand       types the commands of the document in the place of deploy/install.sh
# --ten-upgrades  upgrades ten times, at random moments, in one session of an output
# --restore       moves an installation to a second machine by a backup, with PostgreSQL if you like
#
# RELEASE is bookworm or trixie: the one that this machine is not, for all other tests run on this one.
# Packages are kept in FOLDER for the next time; without one nothing is kept. Needs root, and ends with 77
# where the machine can't do it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. deploy/common.sh

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    want_packages mmdebstrap systemd-container git ffmpeg
fi
find_python
script=deploy/server_test.py
for word in "$@"; do
    [ "$word" != --restore ] || script=deploy/restore_test.py
done
exec "$base" "$script" "$@"
