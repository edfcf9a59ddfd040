# Every target makes .venv first if it has to. Commands are quiet until something fails.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Most tests wait for a lease, a lock or a process: two for each processor use it better than one.
PYTEST := $(BIN)/pytest -n $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help demo test check faults matrix simulate soak versions bench docs format clean build venv lint types
.SILENT:

# Run a command; show what it printed only if it failed.
quiet = out=$$($(1) 2>&1) || { printf '%s\n' "$$out"; exit 1; }

help: ## this list
	sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | awk -F'\t' '{printf "  make %-8s %s\n", $$1, $$2}'

# URL and REDIS are common names: what the environment calls so is not meant for us, but for a plain REDIS=1.
ifeq ($(origin URL),command line)
demo: .venv/.demo
	cd / && exec "$(CURDIR)/$(BIN)/surefoot" demo --redis "$$URL"
else ifeq ($(REDIS),1)
demo: .venv/.server
	exec $(BIN)/python -m tests.servers --set appendonly=yes "$(CURDIR)/$(BIN)/surefoot" demo --redis '{url}'
else ifeq ($(origin REDIS),command line)
demo:
	echo "REDIS=1 starts a server for the demo; for a server of yours say make demo URL=redis://..." >&2; exit 1
else
demo: .venv/.demo ## the whole story in a minute: no server, no question (REDIS=1 or URL=redis://...: on a server)
	cd / && exec "$(CURDIR)/$(BIN)/surefoot" demo
endif

test: lint types ## everything a change must pass: lint, types, the whole suite
	$(PYTEST)

check: .venv/.stamp ## the inner loop, about a minute: format, lint, types, the fast tests
	$(BIN)/ruff format --check -q . && $(BIN)/ruff check -q .
	$(call quiet,$(BIN)/mypy)
	$(call quiet,$(BIN)/pyright)
	$(BIN)/pytest -n auto $(wildcard tests/architecture tests/unit tests/conformance)

faults: .venv/.matrix ## the whole suite in full: every kill, every seed, large examples; takes long
	$(PYTEST) --full

# What of the long form is a kind of server, in the short profile: a run of minutes, not of hours.
OTHERS := valkey-8 or redis-8 or redis-6.2 or redis-system
matrix: .venv/.matrix ## every server there is a wheel for (and redis-server of the machine): alone, by sentinels, as cluster
	$(PYTEST) --full --hypothesis-profile fast -m faults_full -k "$(OTHERS)" tests/test_servers.py tests/conformance tests/faults/redis

SOAK_S := $(if $(filter command,$(origin SECONDS)),$(SECONDS),60)
SOAK_MORE := $(foreach word,LEASE SEED STORE,$(if $(filter command,$(origin $(word))),--$(shell echo $(word) | tr A-Z a-z) $($(word)))) $(if $(filter command,$(origin URL)),--url "$(URL)")
soak: .venv/.stamp ## all that can go wrong at once, for SECONDS=60 a store (LEASE=10, SEED=7, STORE=sqlite, URL=...: yours)
	$(BIN)/python -m tests.soak $(SOAK_S) $(SOAK_MORE)

simulate: .venv/.stamp ## many lives on virtual time with faults drawn from seeds, on all cores (SEEDS=10000)
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),10000)

versions: .venv/.stamp ## the tests on every Python here, with the lowest and the newest dependencies (nox)
	$(PIP) install -qq --group nox
	$(BIN)/nox

BENCH := $(if $(filter command,$(origin PEERS)),$(if $(filter-out 0,$(PEERS)),--peers)) \
	$(if $(filter command,$(origin AXIS)),--axis "$(AXIS)") $(if $(filter command,$(origin PAGE)),--page)
bench: .venv/.stamp ## one table of speeds (PEERS=1: other queues too, hours; AXIS=drain,idle; PAGE=1: writes it into docs/)
	$(BIN)/python benchmarks/bench.py $(BENCH)

docs: .venv/.stamp ## the pages as a site in docs/_build
	$(call quiet,$(BIN)/python -m sphinx -W -n --keep-going -q -b html -d docs/_build/trees docs docs/_build/html)
	echo docs/_build/html/index.html

format: .venv/.stamp ## rewrite the source in the house's format
	$(BIN)/ruff check -q --fix-only . && $(BIN)/ruff format -q .

build: .venv/.stamp ## wheel and source archive in dist/
	$(call quiet,$(BIN)/hatchling build)
	ls dist

clean: ## remove caches and dist/; .venv stays
	rm -rf dist build docs/_build .hypothesis .mypy_cache .nox .pytest_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

venv: .venv/.stamp

lint: .venv/.stamp
	$(BIN)/ruff format --check -q . && $(BIN)/ruff check -q .
	$(call quiet,$(BIN)/vulture)
	$(call quiet,$(BIN)/deptry --no-ansi src)

types: .venv/.stamp
	$(call quiet,$(BIN)/mypy)
	$(call quiet,$(BIN)/pyright)

# Four stamps, each holding those before it: what the demo needs; a server for it; what a contributor needs; more servers
# for make faults. A fresh environment may hold a pip that knows no --group: it is upgraded before.
.venv/.demo: pyproject.toml | $(BIN)/python
	echo "Installing what the demo needs into .venv ..."
	$(PIP) install -qq -e '.[demo,redis]'
	touch $@

.venv/.server: pyproject.toml | $(BIN)/python
	echo "Installing what the demo and a server for it need into .venv ..."
	$(PIP) install -qq --upgrade 'pip>=25.1'
	$(PIP) install -qq -e '.[demo,redis]' --group test
	touch .venv/.demo $@

.venv/.stamp: pyproject.toml | $(BIN)/python
	echo "Installing what a contributor needs into .venv ..."
	$(PIP) install -qq --upgrade 'pip>=25.1'
	$(PIP) install -qq -e '.[demo,redis,dashboard,django,reload,metrics,otel,sentry]' --group dev
	touch .venv/.demo .venv/.server $@

.venv/.matrix: .venv/.stamp
	echo "Installing the servers of the matrix into .venv ..."
	$(PIP) install -qq --group matrix
	touch $@

$(BIN)/python:
	command -v "$(PYTHON)" >/dev/null || { echo "There is no $(PYTHON) here: install Python 3.11 or newer, or say make PYTHON=/path/to/python." >&2; exit 1; }
	"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "surefoot needs Python 3.11 or newer and $(PYTHON) is older: say make PYTHON=/path/to/python." >&2; exit 1; }
	"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make environments: on Debian and Ubuntu run apt install python3-venv, or say make PYTHON=/path/to/python." >&2; exit 1; }
	"$(PYTHON)" -m venv .venv
