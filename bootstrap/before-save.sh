#!/bin/sh
# The work in a guest right before its clean point is taken: little in memory, little on disk, nothing about to fire.
#
#   printf '%s\n' NONCE | before-save.sh
#
# The nonce goes into memory (/run is a tmpfs): finding it again proves that a restore brought back this very state.
# Prints one line of JSON, and exits 1 when the nonce could not be left; an unsupported trim is only said.
set -u
PATH=${MOLTFLEET_PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
run=${MOLTFLEET_RUN:-/run/moltfleet}
proc=${MOLTFLEET_PROC:-/proc}

fail() {
    printf '{"ok":false,"error":"%s"}\n' "$1"
    exit 1
}

# A restored guest finds itself hours later: every calendar timer would be due at once. after-molt.sh starts them again.
stop_timers() {
    [ -d /run/systemd/system ] || return 0
    systemctl list-units --type=timer --state=active --plain --no-legend 2>/dev/null | cut -d ' ' -f 1 >"$run/timers"
    # shellcheck disable=SC2046 # one word per timer
    [ ! -s "$run/timers" ] || systemctl stop $(cat "$run/timers")
}

# busybox knows no --all; it has one disk anyway.
trim() {
    fstrim --all >/dev/null 2>&1 || fstrim / >/dev/null 2>&1
}

nonce=''
read -r nonce
case $nonce in *[!0-9A-Za-z._-]* | '') fail 'no nonce on standard input' ;; esac
umask 022
{ mkdir -p "$run" && printf '%s\n' "$nonce" >"$run/nonce"; } || fail "nonce not written to $run"
if stop_timers; then timers=true; else timers=false; fi
sync
if trim; then trimmed=true; else trimmed=false; fi
sync
if { echo 3 >"$proc/sys/vm/drop_caches"; } 2>/dev/null; then dropped=true; else dropped=false; fi
read -r boot_id <"$proc/sys/kernel/random/boot_id" || boot_id=''
read -r uptime _ <"$proc/uptime" || uptime=0
printf '{"ok":true,"boot_id":"%s","uptime":%s,"timers_stopped":%s,"trimmed":%s,"caches_dropped":%s}\n' \
    "$boot_id" "$uptime" "$timers" "$trimmed" "$dropped"
