# Each target sets up what it needs, by itself. `make help` lists them.
SHELL := /bin/sh
BIN := .venv/bin
# The whole system is many short processes. Where the environment forbids it, each would compile every module anew.
export PYTHONDONTWRITEBYTECODE :=
# More at once than there are cores: most of a test's time is waiting for deadlines and other processes.
TESTS := $(BIN)/pytest -q -n 4 --dist loadfile --no-loadscope-reorder tests --ignore=tests/unit

SECONDS := 300

.PHONY: help setup demo test test-long check fuzz bench catalogues lock clean

help:            ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile | expand -t 18

setup:           ## the virtual environment in .venv, from requirements.lock
	@build/setup.sh

demo:            ## the whole system on this machine, with its real data; goes on running (auxilio demo --stop)
	@build/setup.sh demo
	@$(BIN)/auxilio demo

check:           ## format, lint, types, import rules, unit tests: in a minute
	@build/setup.sh
	@build/check.sh

test:            ## check, and all other tests in their short form
	@build/setup.sh tests
	@build/check.sh
	@$(TESTS)

test-long:       ## check, and all other tests in their long form: for a night
	@build/setup.sh tests
	@build/check.sh
	@AUXILIO_LONG=1 $(TESTS)

fuzz:            ## every decoder that faces the network, fuzzed by coverage; SECONDS=300
	@build/setup.sh
	@$(BIN)/python -m tests.fuzz $(SECONDS)

bench:           ## measurements, each as a ratio to a peer in the same run; JSON in var/bench.json
	@build/setup.sh bench
	@$(BIN)/python -m tests.bench

catalogues:      ## bring the texts' translations in step: guidance/locale
	@build/setup.sh
	@$(BIN)/python build/catalogues.py

lock:            ## resolve pyproject.toml anew into requirements.lock
	@build/lock.sh

clean:           ## remove what the other targets made; ends a demo that still runs
	@[ ! -x $(BIN)/auxilio ] || [ ! -d var/demo ] || $(BIN)/auxilio demo --stop
	rm -rf .venv var dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find agent build console protocol relay tests transport -name __pycache__ -prune -exec rm -rf {} +
