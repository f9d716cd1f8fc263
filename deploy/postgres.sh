# shellcheck shell=bash
# Starts a PostgreSQL server for the tests, in a folder of its own, and sets TEST_DATABASE_URL.
# It ends with the shell that started it, and nothing of it stays.

stop_postgres() {
    (cd "$postgres_folder" && "${as_owner[@]}" "$programs/pg_ctl" --pgdata data --mode immediate stop >/dev/null)
    rm --recursive --force "$postgres_folder"
}

# Call it with the interpreter that finds a free port.
start_postgres() {
    local python=$1 port
    want_packages postgresql
    programs=$(find /usr/lib/postgresql -path '*/bin/initdb' | sort --version-sort | tail --lines 1)
    [ -n "$programs" ] || die "there is no PostgreSQL server on this machine."
    programs=$(dirname "$programs")
    postgres_folder=$(mktemp --directory /tmp/streamsite-postgres-XXXXXX)
    port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    as_owner=()
    if [ "$(id -u)" -eq 0 ]; then
        # PostgreSQL does not run as root.
        chown postgres "$postgres_folder"
        as_owner=(setpriv --reuid postgres --regid postgres --init-groups)
    fi
    (
        cd "$postgres_folder"
        "${as_owner[@]}" "$programs/initdb" --pgdata data --username streamsite --auth trust \
            --encoding UTF8 --locale C.UTF-8 --no-sync >initdb.log
        # The tests' data need not survive a power cut.
        "${as_owner[@]}" "$programs/pg_ctl" --pgdata data --log server.log --wait start --options \
            "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off \
             -c synchronous_commit=off -c full_page_writes=off -c max_connections=400" >/dev/null
        "$programs/createdb" --host 127.0.0.1 --port "$port" --username streamsite migrated
    ) || die "PostgreSQL did not start: see $postgres_folder."
    trap stop_postgres EXIT
    # The account has no password: only this machine can connect, and only to the tests' data.
    export TEST_DATABASE_URL="postgres://streamsite:none@127.0.0.1:$port/migrated"
}
