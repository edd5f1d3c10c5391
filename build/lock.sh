#!/bin/sh
# Resolve pyproject.toml into requirements.lock: for every platform, by hash, naming no index. For maintainers.
# What the lock holds already stays; `build/lock.sh --upgrade` takes the newest of everything.
set -eu
cd "$(dirname "$0")/.."
build/setup.sh
tools=var/lock-tools
[ -x $tools/bin/uv ] || {
    .venv/bin/python -m venv $tools
    $tools/bin/pip install -q --disable-pip-version-check uv
}
$tools/bin/uv pip compile -q --universal --generate-hashes --all-extras --no-emit-index-url --no-header \
    --python-version 3.11 -o requirements.lock "$@" pyproject.toml
