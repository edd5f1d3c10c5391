#!/bin/sh
# Make .venv from requirements.lock: the same versions everywhere, by hash. Safe to run again, to interrupt, and to run
# twice at once. Says nothing where there is nothing to do, and then takes a tenth of a second.
#
#   build/setup.sh          the virtual environment
#   build/setup.sh demo     ... and the programs that the demo runs (build/debian-packages.txt)
#   build/setup.sh tests    ... and those that the tests run
#   build/setup.sh bench    ... and those that the measurements are taken beside
#
# AUXILIO_PYTHON names the Python to use, where the first `python3` of 3.11 or later is not the one.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd -P)

say() { printf '%s\n' "$*" >&2; }

can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }

apt_install() { # packages...
    say "installing by apt: $*"
    # Without descriptor 9: a service that a package starts would hold our lock for as long as it lives.
    { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 \
        install --no-install-recommends "$@"; } >var/apt.log 2>&1 </dev/null 9>&- || {
        tail -n 20 var/apt.log >&2
        say "apt-get failed; var/apt.log has all it said"
        return 1
    }
}

# -- Python ------------------------------------------------------------------------------------------------------------

find_python() {
    for candidate in "${AUXILIO_PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] || continue
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        command -v "$candidate"
        return 0
    done
    return 1
}

# The environment's own account: of this folder (it does not survive being moved), of a Python that is still there.
is_environment() {
    .venv/bin/python - "$root/.venv" 2>/dev/null <<-'END'
	import os, sys, pip
	sys.exit(os.path.realpath(sys.prefix) != os.path.realpath(sys.argv[1]) or sys.version_info < (3, 11))
	END
}

make_environment() {
    python=$(find_python) || {
        say "Auxilio needs Python 3.11 or later: apt install python3 python3-venv"
        exit 1
    }
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then # Debian keeps them in a package of their own
        package=$("$python" -c 'import sys; print("python{}.{}-venv".format(*sys.version_info))')
        { can_apt && apt_install "$package"; } || {
            say "Python's venv module is missing: apt install $package"
            exit 1
        }
    fi
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
}

pip_install() {
    .venv/bin/python -m pip install -q --disable-pip-version-check --no-input "$@" || {
        say "pip could not install what requirements.lock names; it needs a package index, by its own configuration"
        exit 1
    }
}

# Copies of what was installed lie in the environment, written last: what was interrupted is done again.
is_installed() { # file
    cmp -s "$1" ".venv/installed-$1"
}

is_ready() {
    is_installed requirements.lock && is_installed pyproject.toml &&
        [ "$(cat .venv/installed-in 2>/dev/null)" = "$root" ] && .venv/bin/python -c 'import msgspec' 2>/dev/null
}

set_up() {
    is_environment || make_environment
    if ! is_installed requirements.lock || ! .venv/bin/python -c 'import msgspec' 2>/dev/null; then
        say "installing the packages of requirements.lock"
        rm -f .venv/installed-*
        pip_install --require-hashes -r requirements.lock
        cp requirements.lock .venv/installed-requirements.lock
    fi
    pip_install --no-deps --no-build-isolation -e .
    cp pyproject.toml .venv/installed-pyproject.toml
    printf '%s\n' "$root" >.venv/installed-in
}

# -- programs ----------------------------------------------------------------------------------------------------------

missing_packages() { # demo|tests|bench
    while read -r package program users; do
        case "$package" in '' | '#'*) continue ;; esac
        case " $users " in *" $1 "*) command -v "$program" >/dev/null 2>&1 || printf '%s ' "$package" ;; esac
    done <build/debian-packages.txt
}

programs() { # demo|tests|bench
    missing=$(missing_packages "$1")
    [ -n "$missing" ] || return 0
    # shellcheck disable=SC2086  # a list of words
    if can_apt; then
        apt_install $missing
        return
    fi
    say "the $1 need programs that are not here: apt install $missing"
    # What the demo needs, no test of the whole system does without. The rest is skipped, and said; but not in CI.
    [ -z "$(missing_packages demo)" ] && [ "${CI:-}" != true ] || exit 1
}

# -- one at a time -----------------------------------------------------------------------------------------------------

lock() {
    mkdir -p var
    exec 9>>var/setup.lock
    if command -v flock >/dev/null 2>&1; then
        flock -n 9 && return
        say "another set-up is at work here; waiting for it"
        flock 9
    elif python=$(find_python); then # no util-linux: the lock is the descriptor's, which stays open
        "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
    fi
}

is_ready || {
    lock
    is_ready || set_up
}
case "${1:-}" in
demo | tests | bench) [ -z "$(missing_packages "$1")" ] || {
    lock
    programs "$1"
} ;;
esac
