#!/bin/sh
# Puts moltfleet's tools into a guest, and installs the packages that were asked for beside the profile's.
#
#   provision.sh VERSION [PACKAGE...]
#
# Run as root from the directory that the tools were copied to; repeating it completes it. Each act is a named step
# (see step), so a failure is found in /var/log/moltfleet/steps.log; the exit status is 1 when one of them failed.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
source=$(cd "$(dirname "$0")" && pwd)
library=${MOLTFLEET_LIB:-/usr/local/lib/moltfleet}
export DEBIAN_FRONTEND=noninteractive

# The tools that a guest keeps; the list is here so that a forgotten file fails the build and not a molt.
tools='step seal.sh before-save.sh after-molt.sh reseed.py identity.sh verify.py failures.py'

# Beside, then renamed: an interrupted copy leaves the old file. busybox has no install(1).
put() {
    cp "$1" "$2.new" && chmod 0755 "$2.new" && mv "$2.new" "$2"
}

install_tools() {
    mkdir -p "$library" || return 1
    for tool in $tools; do
        [ "$source" = "$library" ] || put "$source/$tool" "$library/$tool" || return 1
    done
    printf '%s\n' "$1" >"$library/version"
}

# The timers of a fresh guest may hold dpkg's lock.
install_packages() {
    apt-get --option DPkg::Lock::Timeout=300 --assume-yes --quiet --no-install-recommends \
        --option Dpkg::Options::=--force-confold install -- "$@"
}

# A function cannot be run by step; this script is, as its own command.
case ${1-} in
--tools) install_tools "$2" && exit ;;
--packages) shift && install_packages "$@" && exit ;;
'' | -*) printf 'usage: provision.sh VERSION [PACKAGE...]\n' >&2 && exit 2 ;;
*)
    version=$1
    shift
    status=0
    "$source/step" tools sh "$source/provision.sh" --tools "$version" || status=1
    if [ $# -gt 0 ]; then
        "$source/step" apt-update apt-get --option DPkg::Lock::Timeout=300 --quiet update || status=1
        "$source/step" extra-packages sh "$source/provision.sh" --packages "$@" || status=1
    fi
    exit "$status"
    ;;
esac
exit 1
