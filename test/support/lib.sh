# shellcheck shell=sh
# Words that the scripts of this folder share. To be sourced.

# Debian gives an ordinary user no /usr/sbin, where mariadbd lives, and a CI's shell may not know rustup's folder.
PATH=$PATH:${HOME:-}/.cargo/bin:/usr/sbin:/sbin

# Ends the script with a sentence on stderr.
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# export_line NAME VALUE: prints a line that a shell may source, whatever the value holds.
export_line() {
    printf "export %s='%s'\n" "$1" "$(printf %s "$2" | sed "s/'/'\\\\''/g")"
}

# Prints a port of 127.0.0.1 that the kernel has free. Perl belongs to every Debian.
free_port() {
    perl -MIO::Socket::INET -e \
        'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport'
}
