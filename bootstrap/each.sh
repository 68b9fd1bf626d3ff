#!/bin/sh
# One command in one of many guests: each.sh SECONDS DIRECTORY BRANCH CLONE TASK COMMAND
#
# In DIRECTORY, where BRANCH is checked out, made if need be, with MOLTFLEET_CLONE, MOLTFLEET_BRANCH and MOLTFLEET_TASK in
# the environment; ended after SECONDS where there is timeout(1). Empty words and 0 are none. COMMAND is for the login
# shell. Ends with its status, or with 125 and a reason when it was not begun.
set -u
seconds=$1 directory=$2 branch=$3
MOLTFLEET_CLONE=$4 MOLTFLEET_BRANCH=$3 MOLTFLEET_TASK=$5
export MOLTFLEET_CLONE MOLTFLEET_BRANCH MOLTFLEET_TASK

# shellcheck disable=SC2088 # the tilde is text here
case $directory in
/*) ;;
'~') directory=$HOME ;;
'~/'*) directory=$HOME/${directory#??} ;;
*) directory=$HOME/$directory ;;
esac
cd -- "$directory" || exit 125
if [ -n "$branch" ]; then
    command -v git >/dev/null || { printf 'there is no git in the guest\n' >&2 && exit 125; }
    git checkout --quiet -b "$branch" 2>/dev/null || git checkout --quiet "$branch" -- >&2 || exit 125
fi
set -- "${SHELL:-/bin/sh}" -c "$6"
[ "$seconds" -eq 0 ] || ! command -v timeout >/dev/null || set -- timeout -k 5 "$seconds" "$@"
exec "$@"
