#!/bin/sh
# What a guest gives of its work before a molt throws it away: looks for it, or writes one piece to standard output.
#
#   rescue.sh look WORD...          what there is, as fields that each end in NUL; a WORD is r:ROOT or t:PATH
#   rescue.sh commits REPOSITORY    what no remote has: commits, tags, stashes, as a git bundle
#   rescue.sh staged|unstaged REPOSITORY    patches: from HEAD to the index, and from there to the files
#   rescue.sh files REPOSITORY      tar of all files that are changed or new, and not ignored
#   rescue.sh tree PATH             tar of a file, or of all files below a directory
#   rescue.sh screen SOCKET PANE    what a tmux pane shows and has shown
#   rescue.sh logs                  recordings of kills and crashes, and the kernel's last lines
#
# Paths come in the escapes of printf %b, behind "~/" or "/". Runs as the user who works in the guest; writes nothing
# there, as its disk may be full, and holds nothing back, as its memory may be. RESCUE is this text, for find to run.
# RESCUE_LARGEST is in bytes: what is larger stays, and is named on standard error.
set -u
# No locks, no questions, no network, not even for what a partial clone lacks.
LC_ALL=C GIT_OPTIONAL_LOCKS=0 GIT_TERMINAL_PROMPT=0 GIT_NO_LAZY_FETCH=1 GIT_PAGER=cat GIT_ALLOW_PROTOCOL=
GIT_NO_REPLACE_OBJECTS=1
export LC_ALL GIT_OPTIONAL_LOCKS GIT_TERMINAL_PROMPT GIT_NO_LAZY_FETCH GIT_ALLOW_PROTOCOL GIT_PAGER
export GIT_NO_REPLACE_OBJECTS
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_EXTERNAL_DIFF GIT_OBJECT_DIRECTORY GIT_DIFF_OPTS

fields() { printf '%s\0' "$@"; }

# The path of a word; a sentinel keeps newlines at its end.
decode() {
    path=$(printf '%b.' "$1")
    path=${path%.}
    # shellcheck disable=SC2088 # the tilde is text here
    case $path in '~/'*) path=$HOME/${path#??} ;; '~') path=$HOME ;; esac
}

# git without what a repository's settings would make of it, and with little memory.
quiet_git() {
    git -c core.fsmonitor=false -c core.hooksPath=/dev/null -c core.quotePath=true -c color.ui=false \
        -c pack.threads=1 -c pack.windowMemory=32m -c core.bigFileThreshold=32m -c gc.auto=0 "$@" 2>/dev/null
}

# Patches that git apply takes, whatever the settings say about how people like to see them.
difference() {
    quiet_git diff --no-color --no-ext-diff --no-textconv --no-renames --no-relative --submodule=short \
        --ignore-submodules=dirty --src-prefix=a/ --dst-prefix=b/ --unified=3 --inter-hunk-context=0 "$@"
}

# Goes into a repository; a name in .git that is broken must not make git find another one further up.
enter() {
    cd -- "$1" 2>/dev/null || return 1
    if [ -e .git ]; then
        export GIT_DIR=.git GIT_WORK_TREE=.
    else
        export GIT_DIR=.
    fi
    quiet_git rev-parse --git-dir >/dev/null
}

is_bare() { [ "$GIT_DIR" = . ]; }
head_commit() { quiet_git rev-parse --quiet --verify 'HEAD^{commit}'; }

# What no remote has, of all refs but stashes, which are told apart. Of a worktree beside its repository only its own HEAD: the rest comes with that.
unpushed() {
    if [ -f .git ] && [ -f "$(quiet_git rev-parse --git-dir)/commondir" ]; then
        quiet_git rev-list "$@" HEAD --not --remotes
    else
        quiet_git rev-list "$@" --exclude=refs/stash --all --not --remotes
    fi
}

repository() (
    enter "$1" || { fields trouble "$1" "git does not take it for a repository" && return; }
    head=$(head_commit) branch=$(quiet_git symbolic-ref --quiet HEAD) kind=work staged=0 unstaged=0 new=0
    commits=$(unpushed --count) || { commits=0 && [ -z "$head" ]; } || fields trouble "$1" "git cannot list its commits"
    stashes=$(quiet_git rev-list --walk-reflogs --count refs/stash) ||
        { stashes=0 && ! quiet_git rev-parse --quiet --verify refs/stash >/dev/null; } ||
        fields trouble "$1" "git cannot list its stashes"
    if is_bare; then
        kind=bare
    else
        quiet_git status --porcelain --ignore-submodules=all >/dev/null || fields trouble "$1" "git cannot compare its files"
        difference --diff-filter=u --cached --quiet || staged=1
        difference --quiet || unstaged=1
        ! quiet_git ls-files --others --exclude-standard | grep -q '[^/]$' || new=1
    fi
    remote=$(quiet_git config --get remote.origin.url) ||
        remote=$(quiet_git config --get-regexp '^remote\..*\.url$' | sed -n '1s/^[^ ]* //p')
    fields repository "$1" "$kind" "$head" "$branch" "$commits" "$stashes" "$staged" "$unstaged" "$new" "$remote"
)

# A guest without memory may kill any of this.
told() { repository "$1" || fields trouble "$1" "git could not be asked about it"; }

repositories() { for found; do told "${found%/.git}"; done; }

bare_repositories() {
    for found; do
        found=${found%/HEAD}
        [ ! -d "$found/objects" ] || [ ! -d "$found/refs" ] || told "$found"
    done
}

look_for_repositories() {
    [ -n "$(find -H "$1" -xdev -mindepth 1 2>/dev/null | head -c 1)" ] || return 0
    command -v git >/dev/null || { fields trouble "$1" "there is no git in the guest" && return; }
    # shellcheck disable=SC2016 # the dollars are those shells'; this text itself holds what find would fill in
    find -H "$1" -xdev -maxdepth 8 -name node_modules -prune -o \
        -name .git -prune -exec sh -c 'exec sh -c "$RESCUE" rescue repositories "$@"' sh {} + -o \
        -type f -name HEAD -exec sh -c 'exec sh -c "$RESCUE" rescue bare_repositories "$@"' sh {} + 2>/dev/null
}

look_for_files() {
    [ -e "$1" ] || return 0
    [ -z "$(find -H "$1" -xdev -name .git -prune -o \( -type f -o -type l \) -print 2>/dev/null | head -c 1)" ] ||
        fields tree "$1"
}

# A tmux server that is stopped would answer never.
brief_tmux() {
    if command -v timeout >/dev/null; then timeout 10 tmux "$@"; else tmux "$@"; fi
}

# Each agent session has a server of its own.
look_for_screens() {
    command -v tmux >/dev/null || return 0
    for socket in "${TMUX_TMPDIR:-/tmp}/tmux-$(id -u)"/*; do
        [ -S "$socket" ] || continue
        brief_tmux -S "$socket" list-panes -a -F '#{pane_id} #{session_name}' 2>/dev/null |
            while read -r pane session; do fields screen "$socket" "$pane" "$session"; done
    done
}

recordings() {
    for found in "${MOLTFLEET_ROOT-}"/var/lib/moltfleet/watchdog/kill-*.jsonl "${MOLTFLEET_ROOT-}"/var/crash/*; do
        [ ! -f "$found" ] || [ ! -r "$found" ] || printf '%s\n' "$found"
    done
}

# The kernel counts what it killed for want of memory.
has_crashed() {
    [ -n "$(recordings)" ] || grep -q '^oom_kill [1-9]' "${MOLTFLEET_ROOT-}/proc/vmstat" 2>/dev/null
}

look() {
    for word; do
        decode "${word#?:}"
        case $word in
        r:*) look_for_repositories "$path" ;;
        t:*) look_for_files "$path" ;;
        esac
    done
    look_for_screens
    ! has_crashed || fields logs
    fields end
}

# Lines "OBJECT REF" of what is to come along. A stash is a ref for its newest entry only, so each gets one of ours.
tips() {
    known=$(unpushed)
    quiet_git for-each-ref \
        --format='%(objectname) %(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end) %(refname)' |
        { [ -z "$known" ] || { printf '%s\n' "$known" && printf '\n' && cat; }; } |
        awk '!NF { listed = 1; next }
            !listed { known[$1] = 1; next }
            ($2 in known) && $3 !~ /^refs\/(remotes\/|stash$)/ { print $1, $3 }'
    head=$(head_commit) || head=
    case "$known" in *"${head:-none}"*) printf '%s HEAD\n%s refs/rescue/HEAD\n' "$head" "$head" ;; esac
    quiet_git rev-list --walk-reflogs --max-count=100 refs/stash | awk '{ print $1, "refs/rescue/stash/" NR - 1 }'
}

# A bundle as gitformat-bundle(5) has it, not by git bundle: that one leaves out older stashes, and packs against
# commits that whoever checks it does not have.
commits() {
    enter "$1" || exit 1
    tips=$(tips)
    [ -n "$tips" ] || exit 3
    objects=$(printf '%s\n' "$tips" | cut -d ' ' -f 1 | sort -u)
    needed=$(printf '%s\n' "$objects" | quiet_git rev-list --boundary --stdin --not --remotes |
        sed -n 's/^-//p' | sort -u)
    if [ "$(quiet_git rev-parse --show-object-format)" = sha256 ]; then
        printf '# v3 git bundle\n@object-format=sha256\n'
    else
        printf '# v2 git bundle\n'
    fi
    [ -z "$needed" ] || printf '%s\n' "$needed" | sed 's/^/-/'
    printf '%s\n\n' "$tips"
    { printf '%s\n' "$objects" && printf '%s' "${needed:+$needed
}" | sed 's/^/^/'; } |
        quiet_git pack-objects --revs --stdout --delta-base-offset --window=0 --quiet
}

# Names that end in NUL, without those of directories, devices and whatever is too large.
small_enough() {
    # shellcheck disable=SC2016 # the dollars are those shells'
    xargs -0 -r sh -c 'exec find "$@" -maxdepth 0 \
        -type f -size +"$RESCUE_LARGEST"c -exec sh -c '\''printf "too large: %s\n" "$@" >&2'\'' sh {} + \
        -o \( -type f -o -type l \) -print0' sh
}

pack() {
    tar --create --file=- --format=gnu --no-recursion --hard-dereference --owner=0 --group=0 --numeric-owner \
        --ignore-failed-read --null --files-from=-
    status=$?
    # 1 says that a file changed while it was read.
    [ $status -le 1 ]
}

has_gnu_tar() {
    case $(tar --version 2>/dev/null) in *GNU*) return ;; esac
    return 1
}

changed_files() {
    if head_commit >/dev/null; then
        difference --name-only -z --diff-filter=d HEAD
    else
        quiet_git ls-files -z --cached
    fi
    quiet_git ls-files -z --others --exclude-standard
}

files() {
    enter "$1" || exit 1
    has_gnu_tar || { printf 'there is no GNU tar in the guest\n' >&2 && exit 1; }
    # shellcheck disable=SC2016 # the dollar is that shell's
    changed_files | xargs -0 -r sh -c 'printf "./%s\0" "$@"' sh | small_enough | pack
}

tree() {
    if [ -d "$1" ]; then
        cd -- "$1" && set -- .
    else
        cd -- "$(dirname -- "$1")" && set -- "./${1##*/}"
    fi || exit 1
    # busybox knows neither names that end in NUL nor a limit; the host has one.
    has_gnu_tar || exec tar -c -f - "$1"
    find "$1" -xdev -name .git -prune -o \( -type f -o -type l \) -print0 | small_enough | pack
}

screen() { brief_tmux -S "$1" capture-pane -p -J -S -20000 -t "$2"; }

logs() {
    recordings | while IFS= read -r found; do
        printf '==> %s\n' "$found"
        tail -c 131072 -- "$found"
    done
    printf '==> kernel\n'
    journalctl --dmesg --lines=500 --no-pager --output=short-iso 2>/dev/null || dmesg 2>/dev/null | tail -n 500
}

act=$1
shift
case $act in
look | repositories | bare_repositories | logs) "$act" "$@" ;;
staged) decode "$1" && enter "$path" && difference --binary --full-index --diff-filter=u --cached ;;
# In the middle of a merge: from what HEAD has, as that is what git apply will find.
unstaged) decode "$1" && enter "$path" && difference --binary --full-index --ours ;;
commits | files | tree) decode "$1" && "$act" "$path" ;;
screen) decode "$1" && socket=$path && decode "$2" && screen "$socket" "$path" ;;
*) exit 2 ;;
esac
