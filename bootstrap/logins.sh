#!/bin/sh
# Login files of the user who runs this, below the home and by name: read, put, taken away. Contents go over standard
# input and output only.
#
#   logins.sh look LIMIT PATH...   one line for each that is there: its number from 1, time of change, base64
#   logins.sh put PATH...          reads a line for each: time of change in seconds, base64
#   logins.sh remove PATH...
set -u
umask 077
cd || exit 1
LC_ALL=C
export LC_ALL

# No link is followed, not even that of a directory on the way.
is_plain() {
    rest=$1 way=''
    while :; do
        part=${rest%%/*}
        way=$way$part
        [ ! -L "$way" ] || return 1
        [ "$rest" != "$part" ] || break
        rest=${rest#*/} way=$way/
    done
    [ -f "$1" ]
}

state() {
    stat -c '%i %s %Y %y' -- "$1" 2>/dev/null
}

# Until nobody wrote to it meanwhile.
look_at() {
    for attempt in 1 2 3 4 5; do
        before=$(state "$1") || return 1
        content=$(head -c "$limit" -- "$1" | base64 | tr -d '\n') || return 1
        [ "$(state "$1")" != "$before" ] || break
        [ "$attempt" = 5 ] || sleep 0.2
    done
    when=${before#* } when=${when#* } seconds=${when%% *} fraction=${when##*.}
    [ "$fraction" != "$when" ] || fraction=0
    printf '%s %s.%s %s\n' "$2" "$seconds" "${fraction%% *}" "$content"
}

look() {
    limit=$1 number=0
    shift
    for path; do
        number=$((number + 1))
        ! is_plain "$path" || look_at "$path" "$number"
    done
    return 0
}

# Written beside and renamed, so that no program ever reads half of one. printf is part of every sh: no other program
# sees the content as an argument.
put() {
    for path; do
        IFS=' ' read -r seconds content || return 1
        case $path in */*) mkdir -p -- "${path%/*}" || return 1 ;; esac
        [ ! -d "$path" ] || return 1
        new=$path.moltfleet-$$
        rm -f -- "$new"
        if printf '%s' "$content" | base64 -d >"$new" && touch -d "@$seconds" -- "$new" && mv -f -- "$new" "$path"; then
            continue
        fi
        rm -f -- "$new"
        return 1
    done
}

# shellcheck disable=SC2088 # It is git that knows whose home ~ is.
# git reads ours last, so that it wins over what the golden has.
include() {
    command -v git >/dev/null || return 0
    for path; do
        case $path in
        .config/moltfleet/git-*)
            git config --global --get-all include.path | grep -qxF "~/$path" ||
                git config --global --add include.path "~/$path" || return 1
            ;;
        esac
    done
}

exclude() {
    for path; do
        case $path in
        .config/moltfleet/git-*)
            ! command -v git >/dev/null ||
                git config --global --unset-all include.path "^~/$path\$" || [ $? = 5 ] || return 1
            ;;
        esac
    done
}

act=$1
shift
case $act in
look) look "$@" ;;
put) put "$@" && include "$@" ;;
remove) rm -f -- "$@" && exclude "$@" ;;
*) exit 2 ;;
esac
