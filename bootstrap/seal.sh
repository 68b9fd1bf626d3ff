#!/bin/sh
# Seals a guest's disk before it becomes a golden: nothing on it may tell one clone from another, or let anybody in.
#
#   seal.sh [--root DIR] [--keep-lists]   seal; idempotent; the last thing done before the shutdown
#   seal.sh [--root DIR] --check          exit 1 and name what is not sealed
#
# Refuses a running system that moltfleet has not set up. There (root /) services that would write their identity back at shutdown are stopped first. With
# --root only files are touched. The clone's own seed brings the keys, the host name and the network again.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
root='' keep_lists=false act=seal failed=''

usage() {
    printf 'usage: seal.sh [--root DIR] [--keep-lists | --check]\n' >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
    --root)
        [ -d "${2-}" ] || usage
        root=$(cd "$2" && pwd)
        [ "$root" != / ] || root=''
        shift
        ;;
    --keep-lists) keep_lists=true ;;
    --check) act=check ;;
    *) usage ;;
    esac
    shift
done

is_live() { [ -z "$root" ]; }
has() { command -v "$1" >/dev/null 2>&1; }

# Removes everything below the given directories, and keeps them. Never crosses into another file system, as rm -rf
# would; busybox has no -delete.
empty() {
    for directory in "$@"; do
        [ -d "$directory" ] || continue
        find "$directory" -xdev -mindepth 1 ! -type d -exec rm -f {} + || return 1
        find "$directory" -xdev -mindepth 1 -depth -type d -exec rmdir {} + || return 1
    done
}

homes() {
    for home in "$root"/root "$root"/home/*; do
        [ ! -d "$home" ] || printf '%s\n' "$home"
    done
}

# systemd-random-seed would save a seed again when it is stopped by the shutdown; fail2ban its database; journald and
# rsyslog their logs. Stopped now, they stay quiet: journald goes on in memory, which the shutdown takes with it.
quiet_services() {
    is_live && has systemctl && [ -d /run/systemd/system ] || return 0
    for unit in unattended-upgrades.service fail2ban.service rsyslog.service systemd-random-seed.service; do
        ! systemctl --quiet is-active "$unit" || systemctl stop "$unit" || return 1
    done
    mkdir -p /run/systemd/journald.conf.d
    printf '[Journal]\nStorage=volatile\n' >/run/systemd/journald.conf.d/zz-moltfleet-seal.conf
    systemctl restart systemd-journald.service
}

# An empty file, not "uninitialized": that would make the first boot of every clone run preset-all, machine-id(5).
machine_id() {
    true >"$root/etc/machine-id" || return 1
    [ -d "$root/var/lib/dbus" ] || return 0
    rm -f "$root/var/lib/dbus/machine-id" && ln -s /etc/machine-id "$root/var/lib/dbus/machine-id"
}

host_keys() {
    rm -f "$root"/etc/ssh/ssh_host_*
}

random_seeds() {
    rm -f "$root/var/lib/systemd/random-seed" "$root/var/lib/systemd/credential.secret" \
        "$root/var/lib/urandom/random-seed" "$root/var/lib/misc/random-seed"
}

leases() {
    empty "$root/var/lib/dhcp" "$root/var/lib/dhcpcd" "$root/var/lib/systemd/network" || return 1
    rm -f "$root"/var/lib/NetworkManager/*.lease "$root/var/lib/NetworkManager/secret_key" \
        "$root/var/lib/NetworkManager/timestamps" "$root/etc/dhcpcd.duid"
}

# The DHCP identifier follows the MAC address, which libvirt knows beforehand, and not the machine-id.
dhcp_identifier() {
    if [ -d "$root/etc/systemd" ]; then
        mkdir -p "$root/etc/systemd/networkd.conf.d" || return 1
        printf '[DHCPv4]\nDUIDType=link-layer\n\n[DHCPv6]\nDUIDType=link-layer\n' \
            >"$root/etc/systemd/networkd.conf.d/moltfleet.conf" || return 1
    fi
    dhclient=$root/etc/dhcp/dhclient.conf
    if [ -f "$dhclient" ] && ! grep -q '^send dhcp-client-identifier' "$dhclient"; then
        printf 'send dhcp-client-identifier = hardware;\n' >>"$dhclient" || return 1
    fi
    [ -d "$root/etc/NetworkManager/conf.d" ] || return 0
    printf '[connection]\nipv4.dhcp-client-id=mac\n' >"$root/etc/NetworkManager/conf.d/moltfleet.conf"
}

# What cloud-init itself does not take back (before 23.4 not the network files) goes by name. The sudo rule of
# the user stays: it is no identity, and the shutdown after this may need it.
cloud_init() {
    if is_live && has cloud-init; then cloud-init clean --logs --seed >/dev/null || return 1; fi
    empty "$root/var/lib/cloud" || return 1
    rm -f "$root"/var/log/cloud-init*.log "$root/etc/cloud/cloud-init.disabled" \
        "$root/etc/netplan/50-cloud-init.yaml" "$root"/etc/network/interfaces.d/50-cloud-init* \
        "$root"/etc/systemd/network/10-cloud-init-* "$root"/run/systemd/network/10-netplan-* \
        "$root/etc/ssh/sshd_config.d/50-cloud-init.conf" \
        "$root"/etc/udev/rules.d/70-persistent-net.rules
}

# Files that a program holds open are emptied, rotated ones and the journal removed.
logs() {
    [ -d "$root/var/log" ] || return 0
    empty "$root/var/log/journal" "$root/var/log/moltfleet" "$root/var/crash" || return 1
    find "$root/var/log" -xdev -type f \( -name '*.gz' -o -name '*.[0-9]' -o -name '*.old' \) -exec rm -f {} + ||
        return 1
    find "$root/var/log" -xdev -type f -exec sh -c 'for file; do true >"$file" || exit 1; done' sh {} +
}

# The build's own ways in, and the traces of people; the clone's seed writes its authorized keys anew.
people() {
    homes | while IFS= read -r home; do
        rm -f "$home/.ssh/authorized_keys" "$home/.ssh/authorized_keys2" "$home/.ssh/known_hosts" \
            "$home/.bash_history" "$home/.zsh_history" "$home/.ash_history" "$home/.python_history" \
            "$home/.node_repl_history" "$home/.lesshst" "$home/.viminfo" "$home/.wget-hsts" \
            "$home/.sudo_as_admin_successful" || exit 1
        rm -rf "$home/.npm/_logs" || exit 1
    done || return 1
    empty "$root/var/lib/sudo/ts" "$root/var/lib/sudo/lectured" "$root/run/sudo/ts" "$root/var/mail"
}

# Identities and histories of services.
services() {
    empty "$root/var/lib/moltfleet/watchdog" || return 1
    rm -f "$root/var/lib/fail2ban/fail2ban.sqlite3" "$root/var/lib/docker/engine-id" "$root/etc/docker/key.json" \
        "$root"/var/lib/systemd/timers/stamp-*
}

package_caches() {
    rm -f "$root/etc/apt/apt.conf.d/95moltfleet-build" || return 1
    empty "$root/var/cache/apt/archives" "$root/root/.npm" "$root/root/.cache" || return 1
    rm -f "$root"/var/cache/apt/*.bin || return 1
    [ ! -d "$root/var/cache/apt/archives" ] || mkdir -p "$root/var/cache/apt/archives/partial" || return 1
    [ "$keep_lists" = true ] || empty "$root/var/lib/apt/lists"
}

temporary() {
    empty "$root/tmp" "$root/var/tmp"
}

give_back() {
    is_live || return 0
    fstrim --all >/dev/null 2>&1 || fstrim / >/dev/null 2>&1 || printf 'seal: nothing trimmed\n' >&2
    sync
}

seal() {
    for part in quiet_services machine_id host_keys random_seeds leases dhcp_identifier cloud_init logs people \
        services package_caches temporary give_back; do
        "$part" || { failed=yes && printf 'seal: %s failed\n' "$part" >&2; }
    done
    [ -z "$failed" ]
}

complain() {
    printf 'seal: %s\n' "$1" >&2
    failed=yes
}

# The inventory of what must not be there. Names with a star are patterns.
check() {
    [ "$(wc -c 2>/dev/null <"$root/etc/machine-id")" = 0 ] || complain '/etc/machine-id is not empty'
    [ ! -f "$root/var/lib/dbus/machine-id" ] || [ -L "$root/var/lib/dbus/machine-id" ] ||
        complain '/var/lib/dbus/machine-id is a file of its own'
    for pattern in '/etc/ssh/ssh_host_*' /var/lib/systemd/random-seed /var/lib/systemd/credential.secret \
        '/var/lib/dhcp/*.lease*' '/var/lib/cloud/instances/*' /var/log/cloud-init.log /etc/cloud/cloud-init.disabled \
        /etc/netplan/50-cloud-init.yaml '/etc/network/interfaces.d/50-cloud-init*' '/var/log/journal/*' \
        '/home/*/.ssh/authorized_keys' /root/.ssh/authorized_keys '/home/*/.bash_history' /root/.bash_history \
        /etc/apt/apt.conf.d/95moltfleet-build; do
        # The pattern is to expand, the root is not: it may hold spaces.
        (cd "${root:-/}" && for found in .$pattern; do [ ! -e "$found" ] || exit 1; done) ||
            complain "$pattern is there"
    done
    [ -z "$failed" ]
}

# A slip of the hand on a workstation would cost its host keys and logs.
if is_live && [ "$act" = seal ] && [ ! -d /usr/local/lib/moltfleet ]; then
    printf 'seal: this is no guest of moltfleet: there is no /usr/local/lib/moltfleet\n' >&2
    exit 2
fi
"$act"
