#!/bin/sh
# Says what tells this guest from every other one, one "name value" a line; changes nothing.
#
# The host compares the answers of a golden's build and of two clones of it: a value that two of them share means that
# the golden was not sealed. Secrets leave only as SHA-256. Plain sh, so that it runs in the smallest guest.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

say() {
    [ -z "${2-}" ] || printf '%s %s\n' "$1" "$2"
}

first_line() {
    [ ! -r "$1" ] || head -n 1 "$1"
}

digest() {
    [ ! -r "$1" ] || sha256sum <"$1" | cut -d ' ' -f 1
}

say machine-id "$(first_line /etc/machine-id)"
say hostname "$(hostname)"
say boot-id "$(first_line /proc/sys/kernel/random/boot_id)"
for key in /etc/ssh/ssh_host_*_key.pub; do
    [ ! -r "$key" ] || say host-key "$(cut -d ' ' -f 1,2 "$key" | tr ' ' ':')"
done
say instance-id "$(first_line /var/lib/cloud/data/instance-id)"
say random-seed "$(digest /var/lib/systemd/random-seed)"
say credential-secret "$(digest /var/lib/systemd/credential.secret)"
for card in /sys/class/net/*/device; do
    [ ! -e "$card" ] || say mac "$(first_line "${card%/device}/address")"
done
