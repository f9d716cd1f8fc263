#!/usr/bin/env bash
# Puts a channel on the air: installs what is missing, sets up the Demo channel, and serves until
# Ctrl-C. Settings come from the environment and from .env (see .env.example).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. deploy/common.sh
# The database holds password hashes: what is made here is this user's alone.
umask 077

say "looking at what this machine has"
want_environment requirements.txt
# The first to read the settings: a wrong one ends the start here, in one sentence.
ffmpeg=$("$python" -c '
import sys
from django.core.exceptions import ImproperlyConfigured
try:
    from streamsite.settings import FFMPEG_PATH
except ImproperlyConfigured as wrong:
    sys.exit(f"streamsite can'"'"'t start: {wrong}")
print(FFMPEG_PATH)')
if ! command -v "$ffmpeg" >/dev/null; then
    [ "$ffmpeg" = ffmpeg ] || die "there is no FFmpeg at $ffmpeg: set FFMPEG_PATH, or leave it out."
    want_packages ffmpeg
fi
# No server can prove who it is without them. If we can't install them, the preflight reports it.
if ! "$python" -c 'import sys; from streamsite.security import tls; sys.exit(not tls.are_there())' &&
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    want_packages ca-certificates
fi
say "loading"
exec "$python" manage.py serve --set-up
