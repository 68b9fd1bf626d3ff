#!/bin/sh
# The work in a guest right after its memory came back: time, randomness, stale connections, proof of identity.
#
#   printf '%s %s %s %s\n' EPOCH NONCE BOOT_ID SEED | after-molt.sh
#
# EPOCH is the host's time with a fraction, NONCE and BOOT_ID what must be found ("-" when nothing is expected), SEED
# fresh random bytes as hexadecimal digits, at least 64 of them. They come by standard input, because a seed in argv
# would be everybody's. Prints one line of JSON, and exits 1 when any part of it is not as it should be.
# Plain sh with few processes: on an emulated CPU that was just restored, each costs 20 to 100 ms.
set -u
PATH=${MOLTFLEET_PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
run=${MOLTFLEET_RUN:-/run/moltfleet}
library=${MOLTFLEET_LIB:-/usr/local/lib/moltfleet}
urandom=${MOLTFLEET_URANDOM:-/dev/urandom}
proc=${MOLTFLEET_PROC:-/proc}
ok=true

# GNU date takes the fraction; busybox only whole seconds, and then the nearest one.
set_clock() {
    date -s "@$1" >/dev/null 2>&1 && return
    case ${1#*.} in [5-9]*) nearest=$((${1%%.*} + 1)) ;; *) nearest=${1%%.*} ;; esac
    date -s "@$nearest" >/dev/null 2>&1
}

read_clock() {
    clock=$(date +%s.%N)
    case $clock in *[!0-9.]* | *.) clock=$(date +%s) ;; esac
}

# Writing to urandom mixes the seed in, but only the ioctls make the generator use it at once (a restored generator
# would repeat itself for up to a minute): RNDADDENTROPY 0x40085203, RNDRESEEDCRNG 0x5207, linux/random.h.
# A program named reseed beside this one is asked first; perl is in every Debian and starts faster than Python.
reseed() {
    printf '%s' "$1" >"$urandom" || return 1
    if [ -p "$run/seed" ] && read -r waiting <"$run/reseeder" && kill -0 "$waiting" 2>/dev/null; then
        ask_reseeder "$1"
    elif [ -x "$library/reseed" ]; then
        printf '%s' "$1" | "$library/reseed"
    elif command -v perl >/dev/null; then
        # shellcheck disable=SC2016 # the dollars are perl's
        printf '%s' "$1" | perl -e '
            my $seed = pack("H*", <STDIN>);
            open(my $pool, "+<", $ARGV[0]) or die "$ARGV[0]: $!";
            ioctl($pool, 0x40085203, pack("ii", 8 * length $seed, length $seed) . $seed) or die "RNDADDENTROPY: $!";
            ioctl($pool, 0x5207, 0) or die "RNDRESEEDCRNG: $!";' "$urandom"
    else
        printf '%s' "$1" | python3 -I -S "$library/reseed.py" "$urandom"
    fi
}

# before-save.sh left a program that waits for one seed; a second run finds it gone.
ask_reseeder() {
    printf '%s\n' "$1" >"$run/seed" && read -r said <"$run/seeded" && rm -f "$run/seed" "$run/seeded" && [ "$said" = ok ]
}

# Compare $2, expected, with $1, found: ok, missing, differs, or unchecked.
compare() {
    if [ "$2" = - ]; then
        verdict=unchecked
    elif [ -z "$1" ]; then
        verdict=missing
        ok=false
    elif [ "$1" = "$2" ]; then
        verdict=ok
    else
        verdict=differs
        ok=false
    fi
}

# Peers of restored connections are long gone. Loopback ones are whole, and so is the login that carries this script.
drop_connections() {
    command -v ss >/dev/null || return 1
    set -- not dst 127.0.0.0/8 and not dst '[::1]'
    [ -z "${SSH_CONNECTION-}" ] || { rest=${SSH_CONNECTION#* } && set -- "$@" and not dport = ":${rest%% *}"; }
    ss --kill --tcp state connected "$@" >/dev/null 2>&1
}

# before-save.sh stopped the timers; their last run counts as now, or the jump of the clock would fire all at once.
# Later, in the background: whoever waits for the guest now needs its processors.
start_timers() {
    [ -s "$run/timers" ] || return 0
    timers=$(cat "$run/timers")
    true >"$run/timers"
    (
        sleep 20
        for timer in $timers; do
            [ ! -e "/var/lib/systemd/timers/stamp-$timer" ] || touch "/var/lib/systemd/timers/stamp-$timer"
        done
        # shellcheck disable=SC2086 # one word per timer
        systemctl start --no-block $timers
    ) </dev/null >/dev/null 2>&1 &
}

epoch='' nonce=- boot_id=- seed=''
read -r epoch nonce boot_id seed
case $epoch in *[!0-9.]* | '' | .* | *.*.*) printf '{"error":"no epoch on standard input"}\n' && exit 2 ;; esac
case $seed in *[!0-9a-fA-F]*) seed='' ;; esac

found=''
[ ! -r "$run/nonce" ] || read -r found <"$run/nonce"
compare "$found" "${nonce:--}" && nonce_verdict=$verdict
read -r found <"$proc/sys/kernel/random/boot_id" || found=''
compare "$found" "${boot_id:--}" && boot_verdict=$verdict

# Another guest than the expected one, or no guest at all, is left as it is.
stepped=false reseeded=false neighbours=false connections=false
if [ "$ok" = true ]; then
    if set_clock "$epoch"; then stepped=true; else ok=false; fi
    if [ ${#seed} -ge 64 ] && reseed "$seed" 2>/dev/null; then reseeded=true; else ok=false; fi
    ! ip neigh flush all >/dev/null 2>&1 || neighbours=true
    ! drop_connections || connections=true
    start_timers
fi
read -r uptime _ <"$proc/uptime" || uptime=0
read_clock
printf '{"ok":%s,"clock":%s,"clock_set":%s,"reseeded":%s,"nonce":"%s","boot":"%s","boot_id":"%s",' \
    "$ok" "$clock" "$stepped" "$reseeded" "$nonce_verdict" "$boot_verdict" "$found"
printf '"neighbours_dropped":%s,"connections_dropped":%s,"uptime":%s}\n' "$neighbours" "$connections" "$uptime"
[ "$ok" = true ]
