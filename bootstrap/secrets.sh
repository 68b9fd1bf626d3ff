#!/bin/sh
# Names files of a guest that hold credentials, one path a line and nothing of what is in them: none may go into a
# golden, whose every clone would have them.
#
#   secrets.sh [--root DIR]        exit 0 and names, or none; exit 1 when it could not look
#
# Looked for are the files in which known programs keep logins, and the shapes of known tokens in what else lies in
# homes and in the places where settings of all users are. Other people's programs are passed over: they come with
# keys to be tested by.
set -u
LC_ALL=C
export LC_ALL
root=''
if [ "${1-}" = --root ]; then
    [ -d "${2-}" ] || exit 1
    root=$2
fi
# A golden with thousands of them does not need all to be named.
most=200
largest=1025k

homes() {
    for home in "$root"/root "$root"/home/*; do
        [ ! -d "$home" ] || [ -L "$home" ] || printf '%s\n' "$home"
    done
}

# Files that hold a login whenever they are there.
is_login() {
    case $1 in
    */.claude/.credentials.json | */.codex/auth.json | */.gemini/oauth_creds.json | */.git-credentials | \
        */.config/git/credentials | */.netrc | */.pypirc | */.pgpass | */.vault-token | */.aws/credentials | \
        */.aws/sso/cache/*.json | */.azure/msal_token_cache.* | */.config/gcloud/credentials.db | \
        */.config/gcloud/access_tokens.db | */.config/gcloud/application_default_credentials.json | \
        */.config/github-copilot/apps.json | */.config/github-copilot/hosts.json | */.config/hub | \
        */.copilot/auth.json | */.local/share/opencode/auth.json | */.local/share/opencode/mcp-auth.json | \
        */.config/moltfleet/git-signing | */.ssh/moltfleet_signing | */.gnupg/private-keys-v1.d/*.key | \
        */.config/rclone/rclone.conf | */.terraform.d/credentials.tfrc.json | */.cargo/credentials | \
        */.cargo/credentials.toml | */.gem/credentials | */.config/doctl/config.yaml | */.fly/config.yml | \
        */.local/share/keyrings/*.keyring) return 0 ;;
    */.docker/config.json) grep -qE '"(auth|identitytoken)"' -- "$1" && return 0 ;;
    esac
    return 1
}

# The shapes of tokens and of private keys; a key in a variable counts, however it is called.
shapes='-----BEGIN ([A-Z]+ )*PRIVATE KEY( BLOCK)?-----
(^|[^A-Za-z0-9_])(gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}|glpat-[A-Za-z0-9_-]{20,})
(^|[^A-Za-z0-9_])(sk-(ant|proj|svcacct|or)-[A-Za-z0-9_-]{20,}|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,})
(^|[^A-Za-z0-9_])(AKIA|ASIA)[A-Z0-9]{16}([^A-Za-z0-9]|$)
(^|[^A-Za-z0-9_])(xox[abprs]-[A-Za-z0-9-]{20,}|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{50,}|hf_[A-Za-z0-9]{30,})
_authToken[[:space:]]*=[[:space:]]*[^[:space:]$]
oauth_token:[[:space:]]*[^[:space:]]
"(refresh_token|access_token|refreshToken|accessToken|id_token)"[[:space:]]*:[[:space:]]*"[^"]{20,}"
(^|[^A-Za-z0-9_])[A-Z0-9_]*(API_KEY|API_TOKEN|AUTH_TOKEN|OAUTH_TOKEN|ACCESS_KEY|GH_TOKEN|GITHUB_TOKEN)=["'"'"']?[A-Za-z0-9_./+-]{16,}'

# Runs find on what is to be looked through; $@ says what to do with a file.
each_file() {
    homes | while IFS= read -r home; do
        # Not installed programs and their caches.
        find "$home" -xdev \( -name node_modules -o -name site-packages -o -name dist-packages -o -name .cache -o \
            -name .rustup -o -path "$home/.cargo/registry" -o -path "$home/go/pkg" -o -path "$home/.npm/_cacache" -o \
            -path "$home/.nvm" -o -path "$home/.local/lib" -o -path "$home/.local/share/claude" \) -prune -o \
            -type f "$@" || exit 1
    done || return 1
    for place in /etc/environment /etc/profile /etc/profile.d /etc/environment.d /etc/default /etc/gitconfig \
        /etc/git-credentials /etc/npmrc /etc/netrc /etc/docker /etc/sudoers.d /etc/systemd/system /etc/cron.d \
        /etc/apt/auth.conf /etc/apt/auth.conf.d /var/spool/cron /opt /srv /usr/local/etc; do
        [ ! -e "$root$place" ] ||
            find "$root$place" -xdev \( -name node_modules -o -name site-packages -o -name dist-packages \) -prune -o \
                -type f "$@" || return 1
    done
}

# By the name alone; no program is started for each of what may be very many.
by_name() {
    printf '%s\n' "$1" | while IFS= read -r file; do
        if is_login "$file" && [ -s "$file" ]; then printf '%s\n' "$file"; fi
    done
}

# That grep finds nothing, or cannot read one that has just gone, is no failure of find.
# shellcheck disable=SC2016 # Expanded by that shell.
by_shape() {
    each_file -size "-$largest" -exec sh -c 'grep -lE -e "$0" -- "$@" 2>/dev/null; true' "$shapes" {} +
}

for program in find grep head sort; do
    command -v "$program" >/dev/null || { printf 'secrets: there is no %s\n' "$program" >&2 && exit 1; }
done
all=$(each_file -print) && shaped=$(by_shape) || exit 1
{ by_name "$all" && printf '%s\n' "$shaped"; } | sort -u | head -n "$most" | while IFS= read -r file; do
    [ -z "$file" ] || printf '%s\n' "${file#"$root"}"
done
