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
urandom=${MOLTFLEET_URANDOM:-/dev/urandom}

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

# A program that runs already need not be started after the restore, where that takes 0.2 s on an emulated CPU: this one
# waits for the seed, passes it on as after-molt.sh would, and says how that went. The guest that goes on without a
# restore does not keep it for long.
await_seed() {
    command -v perl >/dev/null && command -v mkfifo >/dev/null || return 1
    rm -f "$run/seed" "$run/seeded" && mkfifo -m 0600 "$run/seed" "$run/seeded" || return 1
    # shellcheck disable=SC2016 # the dollars are perl's
    perl -e '
        my ($urandom, $asked, $answered) = @ARGV;
        alarm 300;
        open(my $in, "<", $asked) or die;
        my $seed = pack("H*", <$in> =~ s/\s+//r);
        my $pool;
        my $done = eval {
            length $seed >= 32 && open($pool, "+<", $urandom)
                && ioctl($pool, 0x40085203, pack("ii", 8 * length $seed, length $seed) . $seed)
                && ioctl($pool, 0x5207, 0);
        };
        open(my $out, ">", $answered) or die;
        print $out $done ? "ok\n" : "failed\n";' "$urandom" "$run/seed" "$run/seeded" </dev/null >/dev/null 2>&1 &
    printf '%s\n' "$!" >"$run/reseeder"
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
if await_seed; then reseeder=true; else reseeder=false; fi
sync
if trim; then trimmed=true; else trimmed=false; fi
sync
if { echo 3 >"$proc/sys/vm/drop_caches"; } 2>/dev/null; then dropped=true; else dropped=false; fi
read -r boot_id <"$proc/sys/kernel/random/boot_id" || boot_id=''
read -r uptime _ <"$proc/uptime" || uptime=0
printf '{"ok":true,"boot_id":"%s","uptime":%s,"timers_stopped":%s,"reseeder":%s,"trimmed":%s,"caches_dropped":%s}\n' \
    "$boot_id" "$uptime" "$timers" "$reseeder" "$trimmed" "$dropped"
