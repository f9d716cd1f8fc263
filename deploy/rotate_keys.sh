#!/usr/bin/env bash
# Another key for the stored secrets, while the channels play on:
#
#     /srv/streamsite/deploy/rotate_keys.sh
#
# Puts a new key before the old one, restarts the services, encrypts all secrets with the new key, and
# removes the old one. It may be broken off at any moment, and typed again.
set -euo pipefail

settings=/etc/streamsite/env
old_keys=/etc/streamsite/old-field-keys
units=(streamsite-playout streamsite-jobs streamsite-web)
say() { printf 'streamsite: %s\n' "$*"; }
die() {
    say "$*" >&2
    exit 1
}

[ "$(id -u)" -eq 0 ] || die "type this as root: it changes $settings."
umask 077
keys=$(sed -n 's/^FIELD_KEYS=//p' "$settings" | tail --lines 1 | tr -d "'\" ")
# In the place of the settings at once, and with their owner and mode.
use_keys() {
    local draft
    draft=$(mktemp "$settings.XXXXXX")
    cp --archive "$settings" "$draft"
    # Keys reach awk by its environment, which other users can't read.
    KEYS=$1 awk '/^FIELD_KEYS=/ { if (!done) print "FIELD_KEYS=" ENVIRON["KEYS"]; done = 1; next } { print }' \
        "$settings" >"$draft"
    touch "$draft"
    sync "$draft"
    mv "$draft" "$settings"
}

if [ -z "$keys" ]; then
    # The key lies in the data folder, and the command keeps it there.
    [[ $(cat /var/lib/streamsite/field_key) == *,* ]] || streamsite rotate_keys
    systemctl restart "${units[@]}"
    streamsite rotate_keys --drop-old
else
    if [[ $keys != *,* ]]; then
        say "putting a new key before the old one in $settings"
        printf '%s\n' "$keys" >>"$old_keys"
        keys=$(cd /srv/streamsite && .venv/bin/python -c \
            'from streamsite.config.env import new_field_key as k; print(k())'),$keys
        use_keys "$keys"
    fi
    systemctl restart "${units[@]}"
    streamsite rotate_keys
    use_keys "${keys%%,*}"
    say "backups of before need the old key: $old_keys"
fi
systemctl restart "${units[@]}"
say "keep a copy of the new key elsewhere"
