# What is left to do once the files are in their places: account, folders, limits, units. The
# package and `make install` run it; a machine without systemd has to do the like by itself.
set -eu
command -v systemctl >/dev/null || exit 0
systemd-sysusers /usr/local/lib/sysusers.d/swob-gateway.conf
systemd-tmpfiles --create /usr/local/lib/tmpfiles.d/swob-gateway.conf
# A container may not set them; the server says at its start what it lacks.
sysctl --quiet --load=/usr/local/lib/sysctl.d/60-swob-gateway.conf 2>/dev/null || :
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
