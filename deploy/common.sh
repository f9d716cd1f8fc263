# shellcheck shell=bash
# Parts that run.sh and test.sh share. Both start in the project's root.

say() { printf 'streamsite: %s\n' "$*"; }
die() {
    say "$*" >&2
    exit 1
}

# Debian's packages: installs those that are missing if we are root, otherwise says the command.
want_packages() {
    local package missing=()
    for package in "$@"; do
        if [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
            missing+=("$package")
        fi
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        die "missing on this machine: ${missing[*]}. Type, as root: apt-get install --yes ${missing[*]}"
    fi
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet=2
    apt-get install --quiet=2 --yes --no-install-recommends "${missing[@]}" </dev/null >/dev/null ||
        die "apt-get could not install ${missing[*]}: see above."
}

is_usable() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

# Sets $base to a Python that streamsite runs on: $PYTHON, or the first that fits.
find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        is_usable "$PYTHON" || die "PYTHON is $PYTHON, but must be a Python from 3.11 to 3.13."
        base=$PYTHON
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11; do
        if is_usable "$candidate"; then
            base=$candidate
            return
        fi
    done
    command -v python3 >/dev/null &&
        die "this machine's python3 is no Python from 3.11 to 3.13: set PYTHON to one."
    want_packages python3 python3-venv
    base=python3
}

# Makes .venv and installs a lock there, unless that has been done. Sets $python.
want_environment() {
    local lock=$1 wanted version
    python=$PWD/.venv/bin/python
    find_python
    version=$("$base" -c 'import platform; print(platform.python_version())')
    if ! [ "$("$python" -c 'import platform; print(platform.python_version())' 2>/dev/null)" = "$version" ]; then
        say "making .venv with Python $version"
        # Debian keeps venv's other half in a package of its own.
        "$base" -c 'import ensurepip' 2>/dev/null || want_packages python3-venv
        "$base" -m venv --clear .venv || die "$base can't make a virtual environment: see above."
    fi
    # requirements-dev.txt holds all of requirements.txt, so its stamp is good for both.
    wanted=$(sha256sum "$lock")
    if ! grep --quiet --line-regexp --fixed-strings "$wanted" .venv/installed 2>/dev/null; then
        say "installing Python packages into .venv"
        "$python" -m pip install --quiet --disable-pip-version-check --require-hashes \
            --requirement "$lock" || die "pip could not install $lock: see above."
        rm --force .venv/installed
        if [ "$lock" = requirements-dev.txt ]; then
            sha256sum requirements.txt requirements-dev.txt >.venv/installed
        else
            printf '%s\n' "$wanted" >.venv/installed
        fi
    fi
}
