#!/bin/sh
# A gateway to develop with, on a MariaDB of its own that holds the development data of sql/dev.sql.
#
#   dev.sh                   serves until Ctrl-C; key, database and settings stay in .dev/
#   dev.sh run COMMAND…      serves while the command runs, in a throw-away folder and on free ports
#
# The caller's GATEWAY_… variables win over the defaults below, but for those of the database. DEV_DIR names another
# folder, DEV_PROFILE another cargo profile than release. The folder's `env`, to be sourced, and the environment of
# the command hold all settings of the server, and HANDSHAKE_URL for test/handshake.sh.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
cd "$here/../.."

user=dead3662-5f78-11ed-b8e7-6d06c3aaf3c6
password=dummy_password
database=swob_gateway
server=
throw_away=

choose_folder() {
    if [ $# -gt 0 ] && [ -z "${DEV_DIR:-}" ]; then
        throw_away=yes
        DEV_DIR=$(mktemp -d)
    fi
    dir=${DEV_DIR:-.dev}
    (umask 077 && mkdir -p "$dir")
    dir=$(cd "$dir" && pwd -P)
    exec 9<"$dir"
    flock --nonblock 9 || die "$dir is in use: another \`make dev\` runs there; end it, or name another folder in DEV_DIR"
}

choose_settings() {
    # What points to other databases would send the development data astray.
    for name in $(env | sed -nE 's/^((GATEWAY_MYSQL|MYSQL|MSYQL)_[A-Z_]*|HASHING_SALT|SHARED_KEY)=.*/\1/p'); do
        unset "$name"
    done
    if [ $# -gt 0 ]; then
        : "${GATEWAY_HTTP_LISTEN=127.0.0.1:$(free_port)}" "${GATEWAY_WEBSOCKET_LISTEN=127.0.0.1:$(free_port)}"
        export "GATEWAY_ADMIN_LISTEN=${GATEWAY_ADMIN_LISTEN-127.0.0.1:0}"
    elif [ -s /proc/net/if_inet6 ]; then
        : "${GATEWAY_HTTP_LISTEN=0.0.0.0:15000, [::]:15000}" "${GATEWAY_WEBSOCKET_LISTEN=0.0.0.0:6996, [::]:6996}"
    else
        : "${GATEWAY_HTTP_LISTEN=0.0.0.0:15000}" "${GATEWAY_WEBSOCKET_LISTEN=0.0.0.0:6996}"
    fi
    : "${GATEWAY_SYNC_ACCEPT_UNISSUED_SESSIONS=yes}" "${GATEWAY_KEYS_PRIVATE_KEY=$dir/server.key}"
    : "${GATEWAY_PAGE_ENABLED=yes}"
    export GATEWAY_HTTP_LISTEN GATEWAY_WEBSOCKET_LISTEN GATEWAY_SYNC_ACCEPT_UNISSUED_SESSIONS GATEWAY_KEYS_PRIVATE_KEY
    export GATEWAY_PAGE_ENABLED
    api=http://$(reachable "$GATEWAY_HTTP_LISTEN")
    sockets=ws://$(reachable "$GATEWAY_WEBSOCKET_LISTEN")
    export HANDSHAKE_URL="$api"
}

# The first address of a list, as this machine reaches it.
reachable() {
    printf %s "${1%%,*}" | sed 's/^ *\(0\.0\.0\.0\|\[::\]\):/localhost:/; s/ *$//'
}

build() {
    profile=${DEV_PROFILE:-release}
    cargo build --locked --profile "$profile" 9<&-
    case $profile in dev) profile=debug ;; esac
    program=$(cd "${CARGO_TARGET_DIR:-target}/$profile" && pwd)/swob-gateway
}

# The server gets the account of sql/grants.sql, no more, so that a right which it lacks is missed here first.
start_database() {
    "$here/mariadb.sh" start "$dir/mariadb" 9<&-
    # shellcheck source=/dev/null
    . "$dir/mariadb/env"
    export GATEWAY_MYSQL_SOCKET="$TEST_MYSQL_SOCKET" GATEWAY_MYSQL_DATABASE="$database"
    GATEWAY_MYSQL_PASSWORD=$(openssl rand -hex 16)
    export GATEWAY_MYSQL_USERNAME=swob_gateway GATEWAY_MYSQL_PASSWORD
    sql "CREATE DATABASE IF NOT EXISTS $database"
    cat sql/backend.sql sql/dev.sql | sql --database="$database"
    sql <sql/grants.sql
    sql "ALTER USER swob_gateway@localhost IDENTIFIED BY '$GATEWAY_MYSQL_PASSWORD' ACCOUNT UNLOCK"
    "$program" migrate
}

sql() {
    case ${1:-} in [A-Z]*) set -- --execute="$1" ;; esac
    MYSQL_PWD=$TEST_MYSQL_PASSWORD mariadb --no-defaults --host=localhost --socket="$TEST_MYSQL_SOCKET" \
        --user="$TEST_MYSQL_USERNAME" --default-character-set=utf8mb4 "$@"
}

save_settings() {
    (
        umask 077
        env | sed -n 's/^\(GATEWAY_[A-Z_]*\|HANDSHAKE_URL\)=.*/\1/p' | sort | while read -r name; do
            eval "export_line $name \"\$$name\""
        done >"$dir/env"
    )
}

# In a session of its own, so that a Ctrl-C reaches this script alone, which ends both servers in order.
start_server() {
    if [ $# -gt 0 ]; then
        setsid "$program" serve >"$dir/log" 2>&1 9<&- &
    else
        setsid "$program" serve 9<&- &
    fi
    server=$!
    # The look at the server comes last: on a port that is taken, another one answers.
    until sleep 0.1 && answers "$api/" && answers "http://${sockets#ws://}/" && kill -0 "$server" 2>/dev/null; do
        kill -0 "$server" 2>/dev/null || wait_for_server
    done
}

# An answer that curl does not understand comes from an open port too.
answers() {
    code=0
    curl --silent --noproxy '*' --max-time 1 --output /dev/null "$1" || code=$?
    case $code in 0 | 1 | 52 | 56) ;; *) return 1 ;; esac
}

announce() {
    network=$(curl --silent --show-error --fail --noproxy '*' "$api/v2/sync/users/$user")
    network=${network%%/v2/*}
    own=${network#*://}
    cat <<END

ready

  user id    $user
  password   $password
  API        $api
  sockets    $sockets   (on the network $network)
  sync page  http://${own%:*}:${api##*:}/sync

Next, in another terminal (\`make websocat\` builds this websocat):

  curl $api/v2/sync/users/$user
  target/tools/bin/websocat $sockets/v2/sync/init/111/000

Ctrl-C ends it; key and database stay in ${dir#"$PWD"/}/.

END
}

wait_for_server() {
    code=0
    wait "$server" || code=$?
    server=
    exit $code
}

clean_up() {
    code=$?
    trap '' INT TERM HUP
    if [ "$server" ]; then
        kill -TERM "$server" 2>/dev/null || :
        wait "$server" || code=$?
    fi
    if [ $code != 0 ] && [ -s "$dir/log" ]; then
        echo "the server's log:" >&2
        cat "$dir/log" >&2
    fi
    "$here/mariadb.sh" stop "$dir/mariadb"
    if [ "$throw_away" ]; then rm -rf "$dir"; fi
    exit $code
}

case ${1:-} in
'') ;;
run)
    shift
    [ $# -gt 0 ] || die "run lacks its command; write dev.sh run COMMAND…"
    ;;
*) die "$1 is not understood; write dev.sh, or dev.sh run COMMAND…" ;;
esac
"$here/setup.sh"
choose_folder "$@"
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
choose_settings "$@"
build
if [ ! -e "$GATEWAY_KEYS_PRIVATE_KEY" ]; then "$program" keys generate; fi
start_database
save_settings
start_server "$@"
if [ $# -gt 0 ]; then
    "$@" 9<&-
else
    trap 'exit 0' INT TERM HUP
    announce
    wait_for_server
fi
