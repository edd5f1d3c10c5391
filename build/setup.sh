#!/bin/sh
# Make .venv from requirements.lock: the same versions everywhere, by hash. Safe to run again, to interrupt, and to
# run twice at once. Prints nothing when there is nothing to do.
#
#   build/setup.sh          the virtual environment
#   build/setup.sh tests    also Debian's packages that the tests run against (build/debian-test-packages.txt)
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

as_root() { [ "$(id -u)" = 0 ]; }

apt_install() { # packages...
    say "installing by apt: $*"
    mkdir -p var
    { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "$@"; } \
        >var/apt.log 2>&1 </dev/null || { tail -n 20 var/apt.log >&2; say "apt-get failed; see var/apt.log"; return 1; }
}

find_python() {
    for candidate in "${AUXILIO_PYTHON:-}" python3 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] || continue
        command -v "$candidate" >/dev/null 2>&1 || continue
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        command -v "$candidate"
        return 0
    done
    return 1
}

make_venv() {
    python=$(find_python) || {
        say "Auxilio needs Python 3.11 or later. Install it with: apt install python3 python3-venv"
        exit 1
    }
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        package=$("$python" -c 'import sys; print(f"python{sys.version_info[0]}.{sys.version_info[1]}-venv")')
        as_root && apt_install "$package" || {
            say "Python's venv module is missing. Install it with: apt install $package"
            exit 1
        }
    fi
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
    .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
    .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
}

wanted_stamp() { # the environment is what these files say
    cat requirements.lock pyproject.toml | sha256sum | cut -d' ' -f1
}

setup() {
    stamp=$(wanted_stamp)
    [ "$(cat .venv/auxilio-stamp 2>/dev/null)" = "$stamp" ] && return 0
    make_venv
    printf '%s\n' "$stamp" >.venv/auxilio-stamp
}

missing_test_packages() {
    grep -v '^#' build/debian-test-packages.txt | while read -r package program; do
        [ -z "$package" ] || PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null 2>&1 || printf '%s ' "$package"
    done
}

test_packages() {
    missing=$(missing_test_packages)
    [ -n "$missing" ] || return 0
    # shellcheck disable=SC2086  # a list of words
    if as_root && command -v apt-get >/dev/null 2>&1; then
        apt_install $missing
    else
        say "the tests need: apt install $missing"
        exit 1
    fi
}

mkdir -p var
exec 9>var/setup.lock
if command -v flock >/dev/null 2>&1; then flock 9; fi
setup
[ "${1:-}" != tests ] || test_packages
