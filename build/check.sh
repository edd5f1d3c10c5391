#!/bin/sh
# Format, lint, types, import rules and unit tests, side by side; each one's output in full where it fails.
set -u
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
bin=.venv/bin

start() { # name, command...
    name=$1
    shift
    {
        "$@" >"$out/$name.log" 2>&1
        echo $? >"$out/$name.status"
    } &
}

start format $bin/ruff format --check --diff .
start lint $bin/ruff check .
start types $bin/mypy
start imports $bin/lint-imports --cache-dir var/import-linter
start unit $bin/pytest -q tests/unit -p no:cacheprovider
wait

failed=0
for name in format lint types imports unit; do
    if [ "$(cat "$out/$name.status" 2>/dev/null || echo 1)" = 0 ]; then
        printf '%-8s ok    %s\n' "$name" "$(tail -n 1 "$out/$name.log")"
    else
        printf '%-8s FAILED\n' "$name"
        tail -n "${CHECK_LINES:-200}" "$out/$name.log"
        failed=1
    fi
done
exit $failed
