#!/bin/sh
# Installs what the build, `make dev` and `make test` need on Debian. Silent and instant when all of it is there.
#
# The -core packages of MariaDB hold the programs alone: no service is made or started.
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
# shellcheck disable=SC2086 # a list of words
apt install --yes --no-install-recommends $packages
