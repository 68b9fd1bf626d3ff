#!/bin/sh
# Into a guest's agent session, with one line about who works there; or what that line says, as records.
#
#   agent.sh facts                                  lines of fields between tabs; "-" is an empty one:
#                                                     cli NAME VERSION yes|no|absent
#                                                     gh yes|no|absent USER
#                                                     git IDENTITY ssh|openpgp|x509|off|no-key
#   agent.sh start CLONE DIRECTORY COMMAND          start the session unless it runs, and type COMMAND into it; ends
#                                                   with 9 where there is no agent-session or no tmux
#   agent.sh connect CLONE DIRECTORY COMMAND        the line, then the same, then attach; without a terminal do not.
#                                                   Where there are no sessions, a plain shell
#
# Runs as the user who works in the guest. Reads no secret: of a login only whether it is there. Versions come from the
# files of a program, as starting one takes seconds; only of one that has none is it asked, and not for long.
set -u
LC_ALL=C.UTF-8
export LC_ALL
session=agent
tab=$(printf '\t')
PATH=$PATH:/usr/local/lib/moltfleet/current/bin

# The program itself, not the wrapper of that name.
program() {
    old=$IFS IFS=:
    for folder in $HOME/.local/bin $HOME/.npm-global/bin $PATH; do
        case $(readlink "$folder/$1") in */contained-agent) continue ;; esac
        [ -x "$folder/$1" ] && [ ! -d "$folder/$1" ] && IFS=$old && printf '%s\n' "$folder/$1" && return
    done
    IFS=$old
    return 1
}

is_version() { case $1 in *[!0-9A-Za-z.+-]* | '' | [!0-9]*) return 1 ;; *.*) return 0 ;; *) return 1 ;; esac; }

# Of an npm package by its package.json, of one that keeps its versions side by side by its name.
version() {
    path=$(readlink -f "$1")
    is_version "${path##*/}" && printf '%s\n' "${path##*/}" && return
    folder=${path%/*}
    for _ in 1 2 3; do
        if [ -f "$folder/package.json" ]; then
            found=$(sed -n 's/^[[:space:]]*"version":[[:space:]]*"\([^"]*\)".*/\1/p' "$folder/package.json" | head -n 1)
            is_version "$found" && printf '%s\n' "$found" && return
        fi
        folder=${folder%/*}
    done
    command -v timeout >/dev/null || { printf '?\n' && return; }
    for word in $(timeout 2 "$1" --version </dev/null 2>/dev/null | head -c 200 | head -n 1); do
        is_version "${word#v}" && printf '%s\n' "${word#v}" && return
    done
    printf '?\n'
}

# cli NAME VARIABLE FILE...: one of its files or its variable means that it is logged in.
cli() {
    name=$1 key=$2
    shift 2
    path=$(program "$name") || { printf 'cli\t%s\t-\tabsent\n' "$name" && return; }
    login=no
    [ -z "$key" ] || login=yes
    for file; do [ ! -s "$HOME/$file" ] || login=yes; done
    printf 'cli\t%s\t%s\t%s\n' "$name" "$(version "$path")" "$login"
}

github() {
    program gh >/dev/null || { printf 'gh\tabsent\t-\n' && return; }
    hosts=${GH_CONFIG_DIR:-$HOME/.config/gh}/hosts.yml
    user=$(sed -n 's/^[[:space:]]*user:[[:space:]]*//p' "$hosts" 2>/dev/null | head -n 1)
    if [ -n "${GH_TOKEN-}${GITHUB_TOKEN-}$user" ] || grep -q oauth_token "$hosts" 2>/dev/null; then
        printf 'gh\tyes\t%s\n' "${user:--}"
    else
        printf 'gh\tno\t-\n'
    fi
}

setting() { git config --get "$@" 2>/dev/null; }

identity() {
    command -v git >/dev/null || { printf 'git\t-\toff\n' && return; }
    who=$(setting user.name) email=$(setting user.email)
    [ -z "$email" ] || who="$who <$email>"
    signing=off
    if [ "$(setting --type=bool commit.gpgSign)" = true ]; then
        signing=$(setting gpg.format) || signing=openpgp
        key=$(setting --type=path user.signingKey) || key=''
        case $signing in ssh) case $key in key::*) ;; *) [ -s "$key" ] || signing=no-key ;; esac ;; esac
    fi
    printf 'git\t%s\t%s\n' "$(printf '%s' "${who:--}" | tr "$tab" ' ')" "$signing"
}

facts() {
    cli claude "${ANTHROPIC_API_KEY-}${CLAUDE_CODE_OAUTH_TOKEN-}" .claude/.credentials.json
    cli codex "${OPENAI_API_KEY-}" .codex/auth.json
    cli gemini "${GEMINI_API_KEY-}${GOOGLE_API_KEY-}" .gemini/oauth_creds.json
    github
    identity
}

# One line for a person; nothing in it drives a terminal.
line() {
    facts | awk -F '\t' -v ORS='' -v clone="$1" '
        BEGIN { print clone ": " }
        $1 == "cli" && $4 == "absent" { print "no " $2 ", " }
        $1 == "cli" && $4 != "absent" { print $2 " " $3 ($4 == "no" ? " (no login), " : ", ") }
        $1 == "gh" { print $2 == "absent" ? "no gh, " : $2 == "no" ? "gh (no login), " : "gh" ($3 == "-" ? "" : " as " $3) ", " }
        $1 == "git" { print $2 == "-" ? "git has no identity" : "git as " $2 }
        $1 == "git" { print $3 == "off" ? ", commits unsigned" : $3 == "no-key" ? ", signing key is missing" : ", commits signed (" $3 ")" }
    ' | tr -d '\000-\037\177' | cut -c 1-400
}

go_to() {
    # shellcheck disable=SC2088 # the tilde is text here
    case $1 in
    '' | /*) directory=$1 ;;
    '~') directory=$HOME ;;
    '~/'*) directory=$HOME/${1#??} ;;
    *) directory=$HOME/$1 ;;
    esac
    [ -z "$1" ] || [ -d "$directory" ] || { printf 'there is no directory %s in the guest\n' "$1" >&2 && exit 3; }
}

has_sessions() { command -v agent-session >/dev/null && command -v tmux >/dev/null; }
of_session() { tmux -L "$session" "$@"; }

# A command is typed, so that the shell below it stays when it ends; where somebody may be at work, in a new window.
start() {
    is_new=yes
    ! of_session has-session -t "=$session" 2>/dev/null || is_new=no
    agent-session --detached "$session" ${directory:+"$directory"} >/dev/null || exit
    if [ $is_new = no ] && [ -n "$1$directory" ]; then
        of_session new-window -t "=$session:" ${directory:+-c "$directory"} || exit
    fi
    [ -z "$1" ] || { of_session send-keys -t "=$session:" -l -- "$1" && of_session send-keys -t "=$session:" Enter; }
}

fit_terminal() {
    [ -z "${TERM-}" ] || ! command -v infocmp >/dev/null || infocmp "$TERM" >/dev/null 2>&1 || TERM=xterm-256color
    export TERM
}

attach() {
    if ! [ -t 0 ] || ! [ -t 1 ]; then
        printf 'Session %s runs in %s; from a terminal: moltfleet agent %s\n' "$session" "$1" "$1"
        return
    fi
    fit_terminal
    # The screen is tmux's now: the line is shown in its last row for a while.
    case $(tmux -V) in
    'tmux '[012].* | 'tmux 3.'[01]*) set -- ;;
    *) set -- ';' display-message -d 8000 "$(printf '%s' "$2" | sed 's/[#%]/&&/g')" ;;
    esac
    exec tmux -u -L "$session" attach-session -t "=$session" "$@"
}

shell() {
    [ -z "$directory" ] || cd -- "$directory" || exit 3
    [ -z "$1" ] || exec "${SHELL:-/bin/sh}" -l -c "$1"
    exec "${SHELL:-/bin/sh}" -l
}

act=$1
shift
case $act in
facts) facts ;;
start)
    has_sessions || exit 9
    go_to "$2"
    start "$3"
    ;;
connect)
    go_to "$2"
    said=$(line "$1")
    printf '%s\n' "$said"
    has_sessions || { printf 'No agent-session in %s: this is a plain shell\n' "$1" >&2 && shell "$3"; }
    start "$3"
    attach "$1" "$said"
    ;;
*) exit 2 ;;
esac
