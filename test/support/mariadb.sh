#!/bin/sh
# A private MariaDB: its own data, socket, port and account, never the system's service or its settings.
#
#   mariadb.sh start DIR              starts it on DIR/data, which is made when it is not there
#   mariadb.sh stop DIR               ends it; the data stay
#   mariadb.sh run DIR -- COMMAND…    a fresh one for the time of the command; DIR is removed before and after
#
# DIR/env, to be sourced, and the environment of COMMAND hold TEST_MYSQL_HOST, _PORT, _SOCKET, _USERNAME and
# _PASSWORD: an account with all rights, whose password is new at every start; and TEST_MYSQL_CA, the certificate
# that the server shows, valid for 127.0.0.1 alone. DIR/log is the server's log.
set -eu
. "$(dirname "$0")/lib.sh"

usage() {
    echo "usage: mariadb.sh start DIR | stop DIR | run DIR -- COMMAND…" >&2
    exit 2
}

# Tells this DIR's server from a zombie, and from a stranger who got its number later.
alive() {
    [ -s "$dir/pid" ] && grep -qaF -- "--datadir=$dir/data" "/proc/$(cat "$dir/pid")/cmdline" 2>/dev/null
}

# MYSQL_HOST in the caller's environment would else lead elsewhere.
sql() {
    mariadb --no-defaults --host=localhost --socket="$(cat "$dir/socket")" --user="$(id -un)" "$@"
}

make_data() {
    # Under another name until it is whole: an interrupted start leaves no half database.
    rm -rf "$dir/data.new"
    # From within, since the program does not quote a path that has spaces.
    # shellcheck disable=SC2086 # one word or none
    (cd "$dir" && mariadb-install-db --no-defaults $as_user --datadir=./data.new --skip-test-db --skip-name-resolve \
        --auth-root-authentication-method=socket --auth-root-socket-user="$(id -un)" \
        --innodb-log-file-size=16M) >"$dir/log" 2>&1 || fail "mariadb-install-db cannot make $dir/data"
    mv "$dir/data.new" "$dir/data"
}

fail() {
    tail -n 20 "$dir/log" >&2
    die "$1; the end of $dir/log is above"
}

# The kernel takes 107 bytes for a socket's path.
choose_socket() {
    socket=$dir/mysqld.sock
    if [ "$(printf %s "$socket" | wc -c)" -gt 107 ]; then
        socket=$(mktemp -d)/mysqld.sock
    fi
    printf %s "$socket" >"$dir/socket"
}

make_certificate() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=mariadb.test -addext 'subjectAltName=IP:127.0.0.1' \
        -keyout "$dir/tls.key" -out "$dir/tls.pem" >>"$dir/log" 2>&1
}

# In a session of its own, so that a Ctrl-C meant for the script that uses it does not end it first.
launch() {
    free_port >"$dir/port"
    # shellcheck disable=SC2086 # one word or none
    setsid mariadbd --no-defaults $as_user --datadir="$dir/data" --socket="$(cat "$dir/socket")" \
        --bind-address=127.0.0.1 --port="$(cat "$dir/port")" --skip-name-resolve --skip-log-bin \
        --character-set-server=utf8mb4 --innodb-buffer-pool-size=32M --innodb-log-file-size=16M \
        --ssl-cert="$dir/tls.pem" --ssl-key="$dir/tls.key" \
        --performance-schema=OFF --max-connections=500 >"$dir/log" 2>&1 </dev/null 9<&- &
    echo $! >"$dir/pid"
    tries=0
    until sql --execute='SELECT 1' >/dev/null 2>&1; do
        tries=$((tries + 1))
        kill -0 $! 2>/dev/null && [ $tries -lt 600 ] || return 1
        sleep 0.1
    done
}

# The one door from the start is the socket, for the system's account that runs this; here comes one with a password.
make_account() {
    password=$(openssl rand -hex 16)
    sql >>"$dir/log" 2>&1 <<SQL
CREATE OR REPLACE USER tester@'%' IDENTIFIED BY '$password';
GRANT ALL PRIVILEGES ON *.* TO tester@'%' WITH GRANT OPTION;
SQL
    {
        export_line TEST_MYSQL_HOST 127.0.0.1
        export_line TEST_MYSQL_PORT "$(cat "$dir/port")"
        export_line TEST_MYSQL_SOCKET "$(cat "$dir/socket")"
        export_line TEST_MYSQL_USERNAME tester
        export_line TEST_MYSQL_PASSWORD "$password"
        export_line TEST_MYSQL_CA "$dir/tls.pem"
    } >"$dir/env"
}

start() {
    if alive; then return; fi
    as_user=
    if [ "$(id -u)" = 0 ]; then as_user=--user=root; fi
    [ -d "$dir/data" ] || make_data
    [ -s "$dir/tls.pem" ] || make_certificate || fail "openssl makes no certificate"
    choose_socket
    # Twice, since another program may take the port in the moment between.
    launch || { stop && choose_socket && launch; } || fail "mariadbd does not start"
    make_account || fail "mariadbd refuses its account"
}

stop() {
    tries=0
    while alive; do
        # Half a minute to end in order; then its log mends what is missing at the next start.
        if [ $tries = 0 ]; then kill -TERM "$(cat "$dir/pid")"; fi
        if [ $tries = 300 ]; then kill -KILL "$(cat "$dir/pid")"; fi
        tries=$((tries + 1))
        sleep 0.1
    done
    if [ -s "$dir/socket" ] && [ "$(cat "$dir/socket")" != "$dir/mysqld.sock" ]; then
        rm -rf "$(dirname "$(cat "$dir/socket")")"
    fi
    rm -f "$dir/pid" "$dir/port" "$dir/socket" "$dir/env"
}

run() {
    # The lock is on the folder itself, and goes with this process.
    exec 9<"$dir"
    flock --nonblock 9 || die "$dir is in use by another run; wait for its end"
    trap 'stop; rm -rf "$dir"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    stop
    rm -rf "$dir/data"
    start
    # shellcheck source=/dev/null
    . "$dir/env"
    code=0
    "$@" 9<&- || code=$?
    exit $code
}

umask 077
command=${1:-}
dir=${2:-}
[ "$dir" ] || usage
case $command in
start | stop) [ $# = 2 ] || usage ;;
run) [ $# -ge 4 ] || usage; [ "$3" = -- ] || usage ;;
*) usage ;;
esac
mkdir -p "$dir"
dir=$(cd "$dir" && pwd -P)
shift $(($# < 3 ? $# : 3))
"$command" "$@"
