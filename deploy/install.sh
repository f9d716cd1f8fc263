#!/usr/bin/env bash
# Installs streamsite on Debian 12 or 13 or Ubuntu 24.04, with nginx and HTTPS:
#
#     deploy/install.sh tv.example.org
#
# Can be run again: it keeps settings, data and accounts, and puts right what is missing.
#
# --tls certbot      a certificate of Let's Encrypt, renewed by itself (the usual for a name)
# --tls self-signed  one of this machine's own (the usual for an address or a bare host name)
# --tls CERT KEY     files of yours
# --email ADDRESS    Let's Encrypt warns you there of a certificate that was not renewed
set -euo pipefail

code=/srv/streamsite
settings=/etc/streamsite/env
tls_folder=/etc/streamsite/tls
acme=/var/www/streamsite-acme
units=(streamsite-playout streamsite-jobs streamsite-web)

say() { printf 'streamsite: %s\n' "$*"; }
die() {
    say "$*" >&2
    exit 1
}
is_name() { [[ $1 =~ ^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$ ]] || [[ $1 =~ ^[0-9A-Fa-f:]+$ && $1 == *:*:* ]]; }
is_public_name() { [[ $1 == *.* && $1 =~ [A-Za-z] && $1 != *.local && $1 != *.test && $1 != *:* ]]; }

name='' tls='' certificate='' key='' email=''
while [ $# -gt 0 ]; do
    case $1 in
    --tls)
        case ${2:-} in
        certbot | self-signed)
            tls=$2
            shift 2
            ;;
        *)
            certificate=${2:-} key=${3:-} tls=files
            if [ ! -r "$certificate" ] || [ ! -r "$key" ]; then
                die "--tls takes certbot, self-signed, or the files of a certificate and its key."
            fi
            certificate=$(realpath "$certificate") key=$(realpath "$key")
            shift 3
            ;;
        esac
        ;;
    --email)
        email=${2:-}
        [[ $email == *@* ]] || die "--email takes an address."
        shift 2
        ;;
    -*) die "there is no option $1: see the head of $0." ;;
    *)
        name=$1
        shift
        ;;
    esac
done

[ "$(id -u)" -eq 0 ] || die "type this as root: it installs packages and services."
[ -d /run/systemd/system ] || die "this machine does not run systemd, which keeps the services up."
# shellcheck source=/dev/null
. /etc/os-release
case "$ID $VERSION_ID" in
"debian 12" | "debian 13" | "ubuntu 24.04") ;;
*) say "tried on Debian 12 and 13 and Ubuntu 24.04, not on $PRETTY_NAME: going on all the same" ;;
esac

# ---- the name, which has no good default ---------------------------------------------------------
if [ -z "$name" ] && [ -r "$settings" ]; then
    name=$(sed -n 's/^ALLOWED_HOSTS=\([^,]*\).*/\1/p' "$settings")
fi
if [ -z "$name" ] && [ -t 0 ]; then
    read -r -p "The name by which browsers reach this machine, or its address: " name
fi
[ -n "$name" ] || die "type the name by which browsers reach this machine: $0 tv.example.org"
is_name "$name" || die "$name is no name of a machine: write it without https:// and without a path."
if [ -z "$tls" ]; then
    if [ -f "$tls_folder/kind" ]; then
        tls=$(cat "$tls_folder/kind")
    elif is_public_name "$name"; then
        tls=certbot
    else
        tls=self-signed
    fi
fi

# ---- packages, users, code -----------------------------------------------------------------------
packages=(python3-venv ffmpeg ca-certificates nginx git sqlite3 openssl adduser)
[ "$tls" != certbot ] || packages+=(certbot)
missing=()
for package in "${packages[@]}"; do
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
        missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet=2
    apt-get install --quiet=2 --yes "${missing[@]}" </dev/null >/dev/null
fi

getent passwd streamsite >/dev/null ||
    adduser --quiet --system --group --home /var/lib/streamsite streamsite
# May read the preview's folders, and nothing else.
getent group streamsite-hls >/dev/null || addgroup --quiet --system streamsite-hls
for member in streamsite www-data; do
    usermod --append --groups streamsite-hls "$member"
done

here=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
if [ ! -e "$code" ]; then
    say "copying the program to $code"
    git clone --quiet "$here" "$code"
    # Upgrades come from where this copy came from.
    origin=$(git -C "$here" remote get-url origin 2>/dev/null || true)
    [ -z "$origin" ] || git -C "$code" remote set-url origin "$origin"
fi
cd "$code"
say "installing the packages that requirements.txt locks"
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
    --requirement requirements.txt

# ---- settings ------------------------------------------------------------------------------------
install --directory --owner root --group streamsite --mode 0750 /etc/streamsite
if [ ! -e "$settings" ]; then
    say "writing the settings to $settings"
    draft=$(mktemp /etc/streamsite/env.XXXXXX)
    trap 'rm --force "$draft"' EXIT
    chown root:streamsite "$draft"
    chmod 0640 "$draft"
    field_key=$(.venv/bin/python -c 'from streamsite.config.env import new_field_key as k; print(k())')
    host=$name
    [[ $name != *:* ]] || host="[$name]"
    # The key reaches sed by its input, for other users see a program's arguments.
    printf 's|tv\\.example\\.org|%s|\ns|^FIELD_KEYS=$|FIELD_KEYS=%s|\n' "$host" "$field_key" |
        sed --file=- deploy/streamsite.env >"$draft"
    mv "$draft" "$settings"
    trap - EXIT
fi

# ---- database, static files, services ------------------------------------------------------------
install --mode 0755 deploy/streamsite /usr/local/bin/
install --directory --owner streamsite --group streamsite --mode 0755 /var/www/streamsite
say "bringing the database up to date"
streamsite migrate --verbosity 0
streamsite collectstatic --noinput --verbosity 0
# An earlier version downloaded in a service of its own.
if [ -e /etc/systemd/system/streamsite-downloads.service ]; then
    systemctl disable --quiet --now streamsite-downloads
    rm /etc/systemd/system/streamsite-downloads.service
fi
cp deploy/systemd/streamsite-{playout,jobs,web}.service deploy/systemd/streamsite-web.socket \
    /etc/systemd/system/
systemctl daemon-reload
systemctl enable --quiet --now streamsite-web.socket
systemctl enable --quiet "${units[@]}"
# A restart takes nothing off the air: FFmpeg plays on, and the new supervisor takes it over.
systemctl restart "${units[@]}"

# ---- nginx and HTTPS -----------------------------------------------------------------------------
self_signed() {
    [ -e "$tls_folder/own.crt" ] && openssl x509 -checkend 2592000 -noout -in "$tls_folder/own.crt" \
        >/dev/null && return
    local kind=DNS
    [[ $name =~ [g-zG-Z-] || ! $name =~ ^[0-9.]+$|: ]] || kind=IP
    openssl req -x509 -newkey rsa:2048 -nodes -days 825 -subj "/CN=$name" \
        -addext "subjectAltName=$kind:$name" -keyout "$tls_folder/own.key" \
        -out "$tls_folder/own.crt" 2>/dev/null
}
use_certificate() {
    printf 'ssl_certificate %s;\nssl_certificate_key %s;\n' "$1" "$2" >/etc/nginx/snippets/streamsite-tls.conf
}
install --directory --mode 0700 "$tls_folder"
install --directory --mode 0755 "$acme"
echo "$tls" >"$tls_folder/kind"
cp deploy/nginx/streamsite-proxy.conf /etc/nginx/snippets/
{
    sed -e "s/tv\\.example\\.org/$name/" -e 's|^    listen 80;|    listen 443 ssl;|' \
        -e 's|^    listen \[::\]:80;|    listen [::]:443 ssl;\n    include /etc/nginx/snippets/streamsite-tls.conf;|' \
        deploy/nginx/streamsite.conf
    sed -e "s/tv\\.example\\.org/$name/" -e "s|/var/www/streamsite-acme|$acme|" deploy/nginx/redirect.conf
} >/etc/nginx/sites-available/streamsite
ln --symbolic --force ../sites-available/streamsite /etc/nginx/sites-enabled/streamsite
rm --force /etc/nginx/sites-enabled/default
live=/etc/letsencrypt/live/$name
case $tls in
files) use_certificate "$certificate" "$key" ;;
certbot)
    # Until there is one of Let's Encrypt's, this machine's own serves.
    self_signed
    if [ -e "$live/fullchain.pem" ]; then
        use_certificate "$live/fullchain.pem" "$live/privkey.pem"
    else
        use_certificate "$tls_folder/own.crt" "$tls_folder/own.key"
    fi
    ;;
*)
    self_signed
    use_certificate "$tls_folder/own.crt" "$tls_folder/own.key"
    ;;
esac
nginx -t -q
# A restart, so that it learns of its new groups.
systemctl restart nginx
if [ "$tls" = certbot ] && [ ! -e "$live/fullchain.pem" ]; then
    contact=(--register-unsafely-without-email)
    [ -z "$email" ] || contact=(--email "$email")
    if certbot certonly --non-interactive --agree-tos "${contact[@]}" --webroot --webroot-path "$acme" \
        --domain "$name" --deploy-hook 'systemctl reload nginx' --quiet; then
        use_certificate "$live/fullchain.pem" "$live/privkey.pem"
        systemctl reload nginx
    else
        say "Let's Encrypt gave no certificate for $name (see above): point the name at this machine, open"
        say "ports 80 and 443, and type $0 once more. Until then browsers warn of this machine's own one."
    fi
fi

# ---- account, and what is left to do -------------------------------------------------------------
streamsite setup_demo
say "open https://$name/admin/"
grep --quiet '^BACKUP_TO=.' "$settings" ||
    say "for a backup each day, set BACKUP_TO and BACKUP_PASSPHRASE in $settings, and restart the services"
streamsite check --deploy 2>&1 | sed 's/^/streamsite: /'
