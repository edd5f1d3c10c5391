# Each target sets up what it needs. `make help` lists them.
SHELL := /bin/sh
PY := .venv/bin/python
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help setup demo test test-long check bench lock clean

help:            ## this list
	@sed -n 's/^\([a-z-]*\): .*## /  make \1	/p' Makefile

setup:           ## the virtual environment in .venv, from requirements.lock
	@build/setup.sh

demo: setup      ## the whole system on this machine, with real data; leaves it running
	@.venv/bin/auxilio demo

check: setup     ## format, lint, types, import rules, unit tests: under a minute
	@build/check.sh

test: check      ## everything, in its short form
	@build/setup.sh tests
	@.venv/bin/pytest -q tests --ignore=tests/unit

test-long: check ## everything, in its long form
	@build/setup.sh tests
	@AUXILIO_LONG=1 .venv/bin/pytest -q tests --ignore=tests/unit

bench: setup     ## measurements, as ratios against a peer in the same run; JSON in var/
	@build/setup.sh tests
	@$(PY) -m tests.bench

lock: setup      ## resolve pyproject.toml anew into requirements.lock (needs uv)
	@uv pip compile -q --universal --generate-hashes --all-extras --no-emit-index-url --no-header \
		--python-version 3.11 -o requirements.lock pyproject.toml

clean:           ## everything that the other targets made
	rm -rf .venv var .mypy_cache .ruff_cache .pytest_cache .hypothesis
