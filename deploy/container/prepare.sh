#!/usr/bin/env bash
# Writes what compose.yml needs, once: settings with keys, the database's password, nginx's
# configuration and a certificate, into own/: prepare.sh NAME. Typed again, it keeps what is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
name=${1:-}
if ! [[ $name =~ ^[A-Za-z0-9.-]+$ ]]; then
    echo "prepare.sh: type the site's name: prepare.sh tv.example.org" >&2
    exit 2
fi
random() {
    openssl rand -hex "$1"
}
once() {
    local draft
    [ ! -e "$1" ] || return 0
    draft=$(mktemp "$1.XXXXXX")
    cat >"$draft"
    chmod 0644 "$draft"
    mv "$draft" "$1"
    echo "prepare.sh: made own/$1"
}
# The files are read by the containers' users, and by nobody else: the folder is closed.
install --directory --mode 0700 own
cd own
once postgres_password <<<"$(random 24)"
once settings.env <<SETTINGS
# The settings of all containers: .env.example in the project's root explains each. Keep a copy of
# FIELD_KEYS away from this machine: without it the stored stream keys can't be read.
ALLOWED_HOSTS=$name,localhost,web
CSRF_TRUSTED_ORIGINS=https://$name
BEHIND_TLS=true
SECRET_KEY=$(random 32)
FIELD_KEYS=$(openssl rand -base64 32 | tr '+/' '-_')
ADMIN_PASSWORD=$(random 8)
DATABASE_URL=postgres://streamsite:$(cat postgres_password)@postgres:5432/streamsite
Q_BROKER_URL=redis://valkey:6379/0
SETTINGS
if [ ! -e certificate ]; then
    rm --recursive --force certificate.draft
    mkdir certificate.draft
    # Browsers warn of it: put a real one in its place (../container.md).
    if ! said=$(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 825 \
        -subj "/CN=$name" -addext "subjectAltName=DNS:$name" \
        -keyout certificate.draft/site.key -out certificate.draft/site.crt 2>&1); then
        echo "prepare.sh: openssl could not make a certificate: $said" >&2
        exit 1
    fi
    mv certificate.draft certificate
    echo "prepare.sh: made own/certificate, signed by itself"
fi
once nginx.conf < <(sed "s/tv\.example\.org/$name/g" ../nginx.conf)
echo "prepare.sh: the account is operator; its password is ADMIN_PASSWORD in own/settings.env."
