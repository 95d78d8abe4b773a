#!/bin/sh
# Installs what is missing on Debian. Silent and instant when all of it is there.
#
#   setup.sh           for the build and `make dev`
#   setup.sh tests     for `make test` too: the proxies of doc/proxy, a browser, a scanner, fail2ban, a wrong clock,
#                      Prometheus
#
# No service is started, now or at a boot: MariaDB's -core and Apache's -bin packages hold the programs alone, and
# the services of the others are kept still.
set -eu
. "$(dirname "$0")/lib.sh"

packages=

# need PACKAGE COMMAND…: the package is missing when the command fails.
need() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 || packages="$packages $package"
}

need make command -v make
need gcc command -v cc
need pkg-config command -v pkg-config
need libssl-dev test -e /usr/include/openssl/ssl.h
need mariadb-server-core command -v mariadbd
need mariadb-client-core command -v mariadb
need curl command -v curl
need jq command -v jq
need openssl command -v openssl
need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
if [ "${1:-}" = tests ]; then
    need caddy command -v caddy
    need nginx-light command -v nginx
    need apache2-bin command -v apache2
    need haproxy command -v haproxy
    need libfaketime sh -c 'ls /usr/lib/*/faketime/libfaketime.so.1'
    need chromium command -v chromium
    need zbar-tools command -v zbarimg
    need npm command -v npm
    need mariadb-client command -v mariadb-dump
    need fail2ban command -v fail2ban-regex
    need systemd command -v systemd-analyze
    need prometheus command -v promtool
    # Without any font Chromium draws boxes, in which no test sees a mistake.
    need fonts-dejavu-core test -d /usr/share/fonts/truetype
fi

command -v cargo >/dev/null || die "Rust is missing: install it as https://rustup.rs says, then try again"
[ "$packages" ] || exit 0
command -v apt-get >/dev/null || die "missing (by Debian's names):$packages; install them, then try again"

if [ "$(id -u)" = 0 ]; then
    sudo=
elif command -v sudo >/dev/null; then
    sudo=sudo
else
    die "missing:$packages; neither root nor sudo here: let root run \`apt-get install$packages\`, then try again"
fi

apt() {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" </dev/null
}

echo "installing$packages"
apt update
# Some of the packages would start services of the system, on its ports: this forbids it
# (invoke-rc.d(8)), unless the machine has a policy of its own.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap '$sudo rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
    $sudo chmod 755 $policy
fi
# shellcheck disable=SC2086 # a list of words
apt install --yes --no-install-recommends $packages
for service in caddy nginx haproxy fail2ban prometheus; do
    case $packages in
    *" $service"*) if command -v systemctl >/dev/null; then $sudo systemctl disable --quiet $service; fi ;;
    esac
done
