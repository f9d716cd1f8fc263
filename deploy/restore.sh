#!/usr/bin/env bash
# Puts a backup in place on a server that deploy/install.sh has made:
#
#     /srv/streamsite/deploy/restore.sh BACKUP
#
# BACKUP is a file, or "bucket:" for the newest one in the bucket, which the settings must name then.
# It asks for the passphrase (or takes the first line of the file named by --passphrase-file), takes
# the backup's settings but for this machine's name, folders and database, replaces the database, and
# starts the services: channels that were ordered on go on the air. Stop those on the old machine first.
set -euo pipefail

settings=/etc/streamsite/env
# The socket would start the pages at the next request.
units=(streamsite-web.socket streamsite-playout streamsite-jobs streamsite-web)
say() { printf 'streamsite: %s\n' "$*"; }
die() {
    say "$*" >&2
    exit 1
}

[ "$(id -u)" -eq 0 ] || die "type this as root: it stops and starts services."
[ -r "$settings" ] || die "there is no $settings: install streamsite first (deploy/install.sh)."
backup=${1:-}
[[ $backup == bucket:* ]] || [ -r "$backup" ] || die "name the backup's file: $0 BACKUP"
umask 077
work=$(mktemp --directory /var/lib/streamsite/.restore-XXXXXX)
trap 'rm --recursive --force "$work"' EXIT
if [ "${2:-}" = --passphrase-file ]; then
    head --lines 1 "${3:?name the file}" >"$work/phrase"
else
    read -r -s -p "Passphrase of the backup: " phrase
    echo
    printf '%s\n' "$phrase" >"$work/phrase"
fi
[[ $backup == bucket:* ]] || cp "$backup" "$work/backup"
chown --recursive streamsite: "$work"
[[ $backup != bucket:* ]] || streamsite restore "$backup" --save-to "$work/backup"
streamsite restore "$work/backup" --passphrase-file "$work/phrase" --settings-to "$work/settings"

say "stopping the services"
systemctl stop "${units[@]}"
# What plays here is of the database that goes; the services' user has nothing else.
pkill --signal KILL --uid streamsite || true
find /run/streamsite -mindepth 1 -delete 2>/dev/null || true
# What stands here and what stands there: this machine's own name, folders and database stay.
python3 - "$settings" "$work/settings" >"$work/merged" <<'PYTHON'
import re, sys
OWN = {"ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "BEHIND_TLS", "DATABASE_URL", "DATA_DIR", "RUN_DIR",
       "STATIC_ROOT", "CACHE_DIR", "BACKUP_FOLDER", "HLS_ACCEL", "HLS_GROUP", "NODE_NAME", "HOST",
       "PORT", "Q_BROKER_URL"}
# Without them in the backup's settings, the services read the files that come with it.
KEYS = {"FIELD_KEYS", "SECRET_KEY"}
line_of = re.compile(r"(?:export )?([A-Za-z_0-9]+)=")
here, there = (open(path).read().splitlines() for path in sys.argv[1:])
backup = {m[1]: line for line in there if (m := line_of.match(line)) and m[1] not in OWN}
for line in here:
    name = (line_of.match(line) or [None, None])[1]
    if name in backup or name not in KEYS:
        print(backup.pop(name, line))
print(*backup.values(), sep="\n")
PYTHON
# One that was broken off has left its own.
[ -e "$settings.before-restore" ] || cp --archive "$settings" "$settings.before-restore"
cat "$work/merged" >"$settings"
say "restoring the database"
if ! streamsite restore "$work/backup" --passphrase-file "$work/phrase"; then
    cp --archive "$settings.before-restore" "$settings"
    systemctl start "${units[@]}"
    die "nothing was restored (see above): settings and database are as they were."
fi
rm "$settings.before-restore"
say "starting the services"
systemctl start "${units[@]}"
