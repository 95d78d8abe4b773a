#!/bin/sh
# What is left to do once the files are in their places: account, folders, limits, units, a first
# key. `make install` and the package run it; a machine without systemd has to do the like by itself.
set -eu
command -v systemd-sysusers >/dev/null || exit 0
systemd-sysusers /usr/local/lib/sysusers.d/swob-gateway.conf
systemd-tmpfiles --create /usr/local/lib/tmpfiles.d/swob-gateway.conf
# A container may not set them; the server says at its start what it lacks.
sysctl --quiet --load=/usr/local/lib/sysctl.d/60-swob-gateway.conf 2>/dev/null || :
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
# Only where there has never been a key: the ring would tell of one that is lost.
keys=/var/lib/swob-gateway
if grep -q "^private_key = $keys/server.key\$" /etc/swob-gateway/gateway.ini && [ -z "$(ls -A "$keys")" ]; then
    setpriv --reuid=swob-gateway --regid=swob-gateway --clear-groups \
        /usr/local/bin/swob-gateway --config /etc/swob-gateway/gateway.ini keys generate
fi
