# shellcheck shell=bash
# Packages and virtual environments for scripts/test and scripts/quickstart. To be sourced; does nothing by itself.

# The distribution's own interpreter: one in somebody's home could not be run by the lab's users.
PYTHON=/usr/bin/python3
# What it takes to install the wheel, as PACKAGE or PACKAGE:COMMAND; pip builds libvirt-python from source.
# shellcheck disable=SC2034 # for those who source this
WHEEL_PACKAGES=(python3-venv python3-dev libvirt-dev pkg-config:pkg-config gcc:gcc libc6-dev ca-certificates)
POLICY=/usr/sbin/policy-rc.d

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH
umask 022
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_INPUT=1

as_root() {
    if ((EUID == 0)); then "$@"; else sudo -- "$@"; fi
}

# Prints the packages whose command is not there, or, when none is given, that dpkg does not have installed.
find_missing() {
    local item
    for item; do
        if [[ $item == *:* ]]; then
            command -v "${item#*:}" >/dev/null || echo "${item%%:*}"
        elif [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$item" 2>/dev/null) != installed ]]; then
            echo "$item"
        fi
    done
}

# Installs packages, and neither starts nor enables any service of theirs. A subshell, for the sake of its trap.
install_packages() (
    set -e
    if [[ ! -e $POLICY ]] || grep -q moltfleet "$POLICY"; then
        trap 'as_root rm -f "$POLICY"' EXIT
        printf '#!/bin/sh\n# moltfleet: start nothing\nexit 101\n' | as_root tee "$POLICY" >/dev/null
        as_root chmod 755 "$POLICY"
    fi # else it is somebody else's, who has already decided
    as_root apt-get --quiet update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes --no-install-recommends \
        --option DPkg::Lock::Timeout=300 install "$@"
    [[ ! -d /run/systemd/system ]] || disable_services "$@"
)

# Keeps what was just installed from starting at the next boot.
disable_services() {
    local package
    for package; do
        case $package in
        openssh-server) as_root systemctl disable --quiet ssh.service ssh.socket ;;
        cron | prometheus | prometheus-node-exporter) as_root systemctl disable --quiet "$package.service" ;;
        esac
    done
}

# install_wheel DIRECTORY SOURCE [EXTRAS]: builds the wheel of SOURCE and installs it, such as with EXTRAS "[dev]", in a
# virtual environment, which is made anew when it is broken. The rest is fetched only when pyproject.toml changed.
install_wheel() {
    local python=$1/bin/python wheels=$1/wheels stamp=$1/complete digest wheel
    digest=$(sha256sum "$2/pyproject.toml")
    "$python" -c 'import pip' 2>/dev/null || "$PYTHON" -m venv --clear "$1"
    rm -rf "$wheels"
    "$python" -m pip wheel --quiet --no-deps --wheel-dir "$wheels" "$2"
    wheel=$(echo "$wheels"/*.whl)
    [[ -e $stamp && $(<"$stamp") == "$digest" ]] || "$python" -m pip install --quiet "$wheel${3-}"
    "$python" -m pip install --quiet --force-reinstall --no-deps "$wheel"
    echo "$digest" >"$stamp"
}
