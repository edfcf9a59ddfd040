# Every target makes .venv first if it has to. Commands are quiet until something fails.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help demo test check faults bench format clean build venv lint types
.SILENT:

# Run a command; show what it printed only if it failed.
quiet = out=$$($(1) 2>&1) || { printf '%s\n' "$$out"; exit 1; }

help: ## this list
	sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | awk -F'\t' '{printf "  make %-8s %s\n", $$1, $$2}'

demo: .venv/.demo ## the whole story in a minute: no server, no question
	dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && cd "$$dir" && "$(CURDIR)/$(BIN)/surefoot" demo

test: lint types ## everything a change must pass: lint, types, the whole suite
	$(BIN)/pytest -n auto

check: .venv/.stamp ## the inner loop, about 20 seconds: format, lint, types, the fast tests
	$(BIN)/ruff format --check -q . && $(BIN)/ruff check -q .
	$(call quiet,$(BIN)/mypy)
	$(call quiet,$(BIN)/pyright)
	$(BIN)/pytest -n auto $(wildcard tests/architecture tests/unit tests/conformance)

faults: .venv/.stamp ## the whole suite in full: every kill, every seed, large examples; takes long
	$(BIN)/pytest -n auto --full

bench: .venv/.stamp ## one table of speeds
	$(BIN)/python benchmarks/bench.py

format: .venv/.stamp ## rewrite the source in the house's format
	$(BIN)/ruff check -q --fix-only . && $(BIN)/ruff format -q .

build: .venv/.stamp ## wheel and source archive in dist/
	$(call quiet,$(BIN)/hatchling build)
	ls dist

clean: ## remove caches and dist/; .venv stays
	rm -rf dist build .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

venv: .venv/.stamp

lint: .venv/.stamp
	$(BIN)/ruff format --check -q . && $(BIN)/ruff check -q .
	$(call quiet,$(BIN)/vulture)
	$(call quiet,$(BIN)/deptry --no-ansi src)

types: .venv/.stamp
	$(call quiet,$(BIN)/mypy)
	$(call quiet,$(BIN)/pyright)

# Two stamps: what the demo needs, and what a contributor needs, which holds the first. A fresh environment may hold a pip
# that knows no --group: it is upgraded before.
.venv/.demo: pyproject.toml | $(BIN)/python
	echo "Installing what the demo needs into .venv ..."
	$(PIP) install -qq -e '.[demo]'
	touch $@

.venv/.stamp: pyproject.toml | $(BIN)/python
	echo "Installing what a contributor needs into .venv ..."
	$(PIP) install -qq --upgrade 'pip>=25.1'
	$(PIP) install -qq -e '.[demo]' --group dev
	touch .venv/.demo $@

$(BIN)/python:
	command -v "$(PYTHON)" >/dev/null || { echo "There is no $(PYTHON) here: install Python 3.11 or newer, or say make PYTHON=/path/to/python." >&2; exit 1; }
	"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "surefoot needs Python 3.11 or newer and $(PYTHON) is older: say make PYTHON=/path/to/python." >&2; exit 1; }
	"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make environments: on Debian and Ubuntu run apt install python3-venv, or say make PYTHON=/path/to/python." >&2; exit 1; }
	"$(PYTHON)" -m venv .venv
