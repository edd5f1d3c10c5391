#!/bin/sh
# Format, lint, types, import rules and unit tests, side by side; each one's output in full where it fails.
# CHECK_LINES=40 build/check.sh shows only the last 40 lines of each.
set -u
cd "$(dirname "$0")/.." || exit
bin=.venv/bin
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

start() { # name, command...
    name=$1
    shift
    {
        "$@" >"$out/$name.log" 2>&1
        echo $? >"$out/$name.status"
    } &
}

began=$(date +%s)
start format $bin/ruff format --check --diff .
start lint $bin/ruff check .
start types $bin/mypy
start imports $bin/lint-imports --no-logo --cache-dir var/import-linter
start unit $bin/pytest -q tests/unit
wait

failed=
for name in format lint types imports unit; do
    if [ "$(cat "$out/$name.status" 2>/dev/null || echo 1)" = 0 ]; then
        printf '%-8s ok      %s\n' "$name" "$(tail -n 1 "$out/$name.log")"
    else
        printf '%-8s FAILED\n' "$name"
        tail -n "${CHECK_LINES:-+1}" "$out/$name.log" | sed 's/^/    /'
        failed="$failed $name"
    fi
done
seconds=$(($(date +%s) - began))
if [ -n "$failed" ]; then
    echo "check: failed in $seconds s:$failed"
    exit 1
fi
echo "check: ok in $seconds s"
