#!/bin/sh
# The package's life and the service's under a real systemd as process 1: a Debian tree of debootstrap's, booted with
# systemd-nspawn. Needs root. MACHINES (target/machines) keeps the tree for the next run, PROGRAM names the binary.
#
# The container has no network but its own 127.0.0.1, so it meets nothing of this machine.
set -eu
. "$(dirname "$0")/support/lib.sh"
cd "$(dirname "$0")/.."
program=${PROGRAM:-target/release/swob-gateway}
[ "$(id -u)" = 0 ] || die "debootstrap and systemd-nspawn want root"
[ -x "$program" ] || die "$program is not built; run make first"
for tool in debootstrap systemd-nspawn; do
    command -v $tool >/dev/null || die "missing: $tool (apt-get install debootstrap systemd-container)"
done
machines=${MACHINES:-target/machines}
mkdir -p "$machines"
machines=$(cd "$machines" && pwd -P)
machine=$machines/service
boot= leader=

step() { printf '\n== %s\n' "$*"; }
inside() { nsenter --target "$leader" --all env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
property() { inside systemctl show --property="$1" --value swob-gateway.service; }
expect() { [ "$2" = "$3" ] || die "$1 is $2, not $3"; echo "$1 is $2"; }
until_true() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || die "waited in vain: $*"
        sleep 0.2
    done
}
is() { [ "$(property "$1")" = "$2" ]; }
serves() { inside curl --silent --fail --max-time 10 --output /dev/null http://127.0.0.1:15000/v2/sync/users/111; }

clean_up() {
    code=$?
    if [ $code != 0 ] && [ "$boot" ]; then inside journalctl --no-pager -n 40 -u swob-gateway.service -u swob-gateway.socket || :; fi
    # SIGRTMIN+4 asks systemd for an orderly poweroff.
    if [ "$boot" ]; then
        if leads; then kill -s RTMIN+4 "$leader"; else kill "$boot"; fi 2>/dev/null || :
        wait "$boot" || :
    fi
    rm -rf "$machine"
    exit $code
}

make_tree() {
    if [ ! -e "$machines/base/.whole" ]; then
        rm -rf "$machines/base"
        debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,libssl3,ca-certificates,procps,curl \
            bookworm "$machines/base" >"$machines/log"
        touch "$machines/base/.whole"
    fi
    rm -rf "$machine"
    cp -a "$machines/base" "$machine"
    for version in 0.0.1 0.0.2; do
        doc/service/deb/build "$program" "$machines/deb" $version
        mv "$machines"/deb/*.deb "$machine/srv/$version.deb"
    done
}

start_machine() {
    setsid systemd-nspawn --quiet --register=no --keep-unit --private-network --directory="$machine" --boot \
        >"$machines/console" 2>&1 </dev/null &
    boot=$!
    until_true is_up
}
# The first child only prepares the container and makes way for its process 1, so each look asks anew.
leads() { leader=$(cat "/proc/$boot/task/$boot/children" 2>/dev/null | tr -d ' ') && [ "$leader" ]; }
is_up() { leads && inside systemctl --quiet is-active multi-user.target 2>/dev/null; }

# Asks for sessions over and over, 100 at a time, and notes what each got.
crowd() {
    inside sh -c 'seq 1 100000 | xargs -P 100 -n 1 sh -c "[ -e /srv/over ] && exit 255
        curl --silent --max-time 10 --output /dev/null --write-out \"%{http_code} %{exitcode}\n\" \
            http://127.0.0.1:15000/v2/sync/users/111" >/srv/answers 2>/dev/null' || :
}

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
step "A fresh Debian with systemd as process 1"
make_tree
start_machine
inside systemctl --version | head -1
inside cat /proc/1/comm

step "Installed"
inside dpkg -i /srv/0.0.1.deb
expect "the service" "$(inside systemctl is-active swob-gateway.service)" active
expect "the service at boot" "$(inside systemctl is-enabled swob-gateway.service)" enabled
expect "the socket" "$(inside systemctl is-active swob-gateway.socket)" active
serves
inside systemctl status --no-pager --lines=4 swob-gateway.service
inside systemd-analyze security --no-pager --threshold=20 swob-gateway.service | tail -1
inside stat -c '%A %U %G %n' /etc/swob-gateway /etc/swob-gateway/gateway.ini /etc/swob-gateway/tls /var/lib/swob-gateway /var/lib/swob-gateway/server.key
key=$(inside sha256sum /var/lib/swob-gateway/server.key)

step "A password handed over by LoadCredential="
inside sh -c 'install -d -m 700 /etc/credstore && echo secret | install -m 600 /dev/stdin /etc/credstore/swob-gateway.mysql.password'
inside systemctl restart swob-gateway.service
pid=$(property MainPID)
folder=$(inside sh -c "tr '\\0' '\\n' </proc/$pid/environ | sed -n 's/^CREDENTIALS_DIRECTORY=//p'")
inside ls -l "$folder"
expect "what the server's account reads" "$(inside nsenter --target "$pid" --mount setpriv --reuid=swob-gateway --clear-groups cat "$folder/swob-gateway.mysql.password")" secret

step "A frozen server is killed by the watchdog and comes back"
inside sh -c 'mkdir -p /run/systemd/system/swob-gateway.service.d && printf "[Service]\nWatchdogSec=9\n" >/run/systemd/system/swob-gateway.service.d/soon.conf && systemctl daemon-reload && systemctl restart swob-gateway.service'
sleep 11
expect "restarts while it lives" "$(property NRestarts)" 0
inside kill -STOP "$(property MainPID)"
until_true is NRestarts 1
until_true serves
inside journalctl --no-pager -o cat -u swob-gateway.service | grep -i watchdog

step "kill -9 is mended as well"
inside kill -KILL "$(property MainPID)"
until_true is NRestarts 2
until_true serves

step "Restarts while 100 ask"
crowd &
crowd=$!
sleep 1
for _ in 1 2 3; do
    inside systemctl restart swob-gateway.service
    sleep 0.5
done
inside touch /srv/over
wait $crowd
inside sh -c 'sort /srv/answers | uniq -c; rm /srv/over'
expect "who was refused" "$(inside sh -c 'grep -vc "^200 0$" /srv/answers || :')" 0

step "Upgraded while 100 ask, with settings edited"
inside sh -c 'echo "# mine" >>/etc/swob-gateway/gateway.ini'
before=$(property MainPID)
crowd &
crowd=$!
sleep 1
inside dpkg -i --force-confold /srv/0.0.2.deb
until_true serves
inside touch /srv/over
wait $crowd
inside sh -c 'sort /srv/answers | uniq -c; rm /srv/over'
expect "who was refused" "$(inside sh -c 'grep -vc "^200 0$" /srv/answers || :')" 0
[ "$(property MainPID)" != "$before" ] || die "the upgrade left the old server running"
expect "the version" "$(inside dpkg-query -W -f '${Version}' swob-gateway)" 0.0.2
expect "my line in gateway.ini" "$(inside tail -1 /etc/swob-gateway/gateway.ini)" "# mine"
expect "the key" "$(inside sha256sum /var/lib/swob-gateway/server.key)" "$key"

step "Removed"
inside dpkg -r swob-gateway
expect "who listens" "$(inside sh -c 'grep -c " 0100007F:3A98 00000000:0000 0A " /proc/net/tcp || :')" 0
inside test -e /etc/swob-gateway/gateway.ini
expect "the key" "$(inside sha256sum /var/lib/swob-gateway/server.key)" "$key"

step "Purged"
inside dpkg -P swob-gateway
inside sh -c '! test -e /etc/swob-gateway/gateway.ini'
expect "the key" "$(inside sha256sum /var/lib/swob-gateway/server.key)" "$key"
expect "what is left elsewhere" "$(inside sh -c 'find / -xdev -name "*swob*gateway*" -not -path "/var/lib/swob-gateway*" -not -path "/etc/credstore/*" -not -path "/var/lib/systemd/*" | sort')" ""

step "Installed again, with the old key"
inside dpkg -i /srv/0.0.2.deb
until_true serves
expect "the key" "$(inside sha256sum /var/lib/swob-gateway/server.key)" "$key"
step "All of it holds"
