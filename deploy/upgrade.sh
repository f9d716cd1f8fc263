#!/usr/bin/env bash
# Brings a server to a newer version while its channels play on:
#
#     /srv/streamsite/deploy/upgrade.sh [VERSION]
#
# VERSION is a tag or a commit; without one it is the newest tag. The new version is made beside
# the old one, its migrations run, and the services are restarted one by one. If they don't
# work, the old version is put back. Migrations are never undone: each version works with the
# tables of the next one. A copy of the database from before lies in /var/lib/streamsite/backups.
set -euo pipefail
# The folder that it was called from may be moved.
cd /

code=/srv/streamsite
releases=/srv/streamsite-releases
data=/var/lib/streamsite
# Pages last: they are what people see while the others change.
# Seconds for the new services to work, as a busy machine takes; and for which they have to.
patience=180 steady=10

say() { printf 'streamsite: %s\n' "$*"; }
die() {
    say "$*" >&2
    exit 1
}

[ "$(id -u)" -eq 0 ] || die "type this as root: it restarts services."
exec 9>/run/lock/streamsite-upgrade
flock --nonblock 9 || die "another upgrade is running."
[ -e "$code/manage.py" ] || die "there is no streamsite in $code: see deploy/install.sh."
[ -z "$(git -C "$code" status --porcelain --untracked-files=no)" ] ||
    die "files in $code have been edited: keep your changes elsewhere, or undo them (git -C $code stash)."

# ---- which version -------------------------------------------------------------------------------
say "asking $(git -C "$code" remote get-url origin | sed 's|//[^/@]*@|//|') for newer versions"
git -C "$code" fetch --quiet --tags --force origin
git -C "$code" remote set-head origin --auto >/dev/null
version=${1:-$(git -C "$code" tag --list 'v*' --sort=-version:refname | sed --quiet 1p)}
[ -n "$version" ] || version=origin/HEAD
new_commit=$(git -C "$code" rev-parse --quiet --verify "$version^{commit}") ||
    die "there is no version $version: git -C $code tag --list"
[ "$version" != origin/HEAD ] || version=${new_commit:0:10}
old_commit=$(git -C "$code" rev-parse HEAD)
if [ "$new_commit" = "$old_commit" ]; then
    say "$version is what runs here already"
    exit 0
fi

# ---- the new version, beside the old one ---------------------------------------------------------
mkdir --parents "$releases"
if [ ! -L "$code" ]; then
    # An installation by hand. What runs keeps its folder, whatever that is called.
    mv --no-target-directory "$code" "$releases/$old_commit"
    ln --symbolic "$releases/$old_commit" "$code"
fi
old=$(realpath "$code") new=$releases/$new_commit
if [ ! -e "$new/.ready" ]; then
    say "making $version ready in $new"
    rm --recursive --force "$new"
    git clone --quiet --no-checkout "$old" "$new"
    git -C "$new" remote set-url origin "$(git -C "$old" remote get-url origin)"
    git -C "$new" fetch --quiet "$old" "$new_commit"
    git -C "$new" checkout --quiet --detach "$new_commit"
    if cmp --silent "$old/requirements.txt" "$new/requirements.txt"; then
        cp --archive --reflink=auto "$old/.venv" "$new/.venv"
    else
        python3 -m venv "$new/.venv"
    fi
    "$new/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
        --requirement "$new/requirements.txt"
    touch "$new/.ready"
fi
manage() {
    (cd "$1" && runuser -u streamsite -- env ENV_FILE=/etc/streamsite/env "$1/.venv/bin/python" manage.py "${@:2}")
}
manage "$new" check >/dev/null || die "$version does not load on this machine (see above): nothing was changed."

say "copying the database to $data/backups"
install --directory --owner streamsite --group streamsite --mode 0750 "$data/backups"
manage "$new" backup --database-only "$data/backups/before-$new_commit.$(date +%s)" ||
    die "the database could not be copied (see above): nothing was changed."
say "bringing the database up to date"
manage "$new" migrate --verbosity 0 ||
    die "the migrations failed (see above): the old version plays on with the tables as they were."
manage "$new" collectstatic --noinput --verbosity 0

# ---- the switch ----------------------------------------------------------------------------------
health() {
    local status=0
    manage "$1" check_health >/dev/null 2>&1 || status=$?
    echo $status
}
# Pages answer: 503 tells of a channel that is down, not of a site that is.
pages_answer() {
    "$1/.venv/bin/python" - <<'PYTHON'
import http.client, socket, sys
site = http.client.HTTPConnection("localhost", timeout=20)
site.sock = socket.socket(socket.AF_UNIX)
site.sock.settimeout(20)
site.sock.connect("/run/streamsite-web.sock")
site.request("GET", "/static/none", headers={"X-Forwarded-Proto": "https"})
sys.exit(site.getresponse().status >= 500)
PYTHON
}
# The services of a release; the ingest server is no part of it.
services() {
    find "$1/deploy/systemd" -name 'streamsite-*.service' ! -name streamsite-ingest.service -printf '%f\n' |
        sed 's/\.service$//' | sort
}
mapfile -t units < <(services "$old")
use() {
    local link unit
    for unit in "${units[@]}"; do
        [ -e "$1/deploy/systemd/$unit.service" ] || systemctl disable --quiet --now "$unit"
    done
    mapfile -t units < <(services "$1")
    link=$(mktemp --dry-run "$code.XXXXXX")
    ln --symbolic "$1" "$link"
    mv --no-target-directory "$link" "$code"
    for unit in "${units[@]}"; do
        cp "$1/deploy/systemd/$unit.service" /etc/systemd/system/
    done
    cp "$1/deploy/systemd/streamsite-web.socket" /etc/systemd/system/
    install --mode 0755 "$1/deploy/streamsite" /usr/local/bin/
    systemctl daemon-reload
    systemctl enable --quiet "${units[@]}"
}
# Whether each service works, and goes on doing so.
works() {
    local unit deadline=$((SECONDS + patience)) since=0
    while [ $SECONDS -lt $deadline ]; do
        local well=yes
        for unit in "${units[@]}"; do
            [ "$(systemctl show --property ActiveState --property NRestarts --value "$unit" | tr '\n' ' ')" = "0 active " ] ||
                [ "$(systemctl show --property ActiveState --property NRestarts --value "$unit" | tr '\n' ' ')" = "active 0 " ] ||
                well=
        done
        if [ -n "$well" ] && pages_answer "$1" 2>/dev/null && [ "$(health "$1")" -le "$before" ]; then
            [ $since -gt 0 ] || since=$SECONDS
            [ $((SECONDS - since)) -lt $steady ] || return 0
        else
            since=0
            # A service that was started three times by systemd will not work the fourth time.
            for unit in "${units[@]}"; do
                [ "$(systemctl show --property NRestarts --value "$unit")" -lt 3 ] || return 1
            done
        fi
        sleep 1
    done
    return 1
}
restart() {
    local unit
    for unit in "${units[@]}"; do
        systemctl restart "$unit" || return 1
    done
}

before=$(health "$old")
say "restarting the services with $version"
use "$new"
if restart && works "$new"; then
    say "$version runs; the old one stays in $old"
    find "$releases" -mindepth 1 -maxdepth 1 -type d ! -path "$old" ! -path "$new" -exec rm --recursive {} +
    find "$data/backups" -maxdepth 1 -name 'before-*' -type f -printf '%T@ %p\n' | sort --numeric-sort --reverse |
        tail --lines +4 | cut --delimiter ' ' --fields 2- | xargs --no-run-if-empty rm
    exit 0
fi
say "$version does not work here:"
systemctl --no-pager --lines 5 --full status "${units[@]}" 2>&1 | sed 's/^/    /' || true
say "putting the old version back"
use "$old"
restart
rm --recursive "$new"
if works "$old"; then
    die "$version did not work (see above). The old version runs again; the channels have played on."
fi
die "neither version works: see journalctl --unit 'streamsite-*'."
