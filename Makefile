# Two commands for a newcomer: `make demo` and `make test`. Nothing here needs root.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=

# The first python3 that is new enough; `make PYTHON=/path/to/python3 ...` chooses another.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$name >/dev/null 2>&1 || continue; \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	echo $$name; break; done)

# How unit and component tests are spread over processes, and e2e tests.
UNIT_WORKERS ?= 2
E2E_WORKERS ?= 2

# $(call stage,NAME,COMMAND): COMMAND, and with TIMINGS set a line "NAME seconds status" in it.
stage = @began=$$(date +%s); status=0; ( $(2) ) || status=$$?; \
	if [ -n "$${TIMINGS:-}" ]; then \
	printf '%s\t%s\t%s\n' '$(1)' $$(( $$(date +%s) - began )) $$status >> "$$TIMINGS"; fi; \
	exit $$status

.PHONY: help demo test lint unit e2e bench servers environment fmt clean

help: ## show this list
	@echo 'konduktor-health: GPU-node health controller for Kubernetes'
	@echo
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)/  make \1@\2/p' $(MAKEFILE_LIST) | \
	while IFS=@ read -r name text; do printf '%-20s %s\n' "$$name" "$$text"; done
	@echo
	@echo 'Variables: ARGS (demo, bench), PYTHON, UNIT_WORKERS, E2E_WORKERS, CI=true (build missing'
	@echo 'servers; a skipped test is a failure), KONDUKTOR_HEALTH_CACHE (where built servers lie).'

demo: $(STAMP) ## a small cluster in this terminal: watch a GPU fault become a taint (ARGS=--exit)
	$(call stage,demo,$(BIN)/konduktor-health demo $(ARGS))

test: lint unit e2e ## everything that a change has to pass

lint: $(STAMP) ## ruff, mypy --strict, import layers
	$(call stage,lint,$(BIN)/ruff check . && $(BIN)/ruff format --check . \
	&& $(BIN)/mypy && $(BIN)/lint-imports)

unit: $(STAMP) ## unit, component and contract tests: no servers needed
	$(call stage,unit and component,$(BIN)/pytest -m 'not e2e' -n $(UNIT_WORKERS) $(ARGS))

ifeq ($(CI),true)
e2e: servers
endif
e2e: $(STAMP) ## tests on a real kube-apiserver, etcd, kwok and Loki (after make servers)
	$(call stage,e2e,if [ "$${CI:-}" != true ] && ! $(BIN)/python tests/servers/build.py --check; \
	then echo 'e2e tests skipped: the real servers are not built (make servers)'; \
	else $(BIN)/pytest -m e2e -n $(E2E_WORKERS) $(ARGS); fi)

bench: $(STAMP) ## measure; a table here and build/bench.json
	$(call stage,bench,mkdir -p build && $(BIN)/python -m benchmarks $(ARGS))

servers: python ## build the real servers for e2e, once (15 to 20 minutes on 2 cores)
	$(call stage,servers,$(PYTHON) tests/servers/build.py)

environment: ## the development environment in .venv (made by the others as needed)
	$(call stage,environment,$(MAKE) --no-print-directory $(STAMP))

fmt: $(STAMP) ## format, and fix what ruff can fix
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

clean: ## remove what is generated here (not the built servers)
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	.import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: python
python:
	@if [ -z '$(PYTHON)' ]; then \
	echo 'error: Python 3.11 or newer is needed and none is on PATH: install one, or name it' \
	'with make PYTHON=/path/to/python3' >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	found=$$($(PYTHON) --version 2>/dev/null || echo 'not there'); \
	echo "error: Python 3.11 or newer is needed and $(PYTHON) is $$found: name another with" \
	'make PYTHON=/path/to/python3' >&2; exit 1; }

# A changed setup.cfg installs anew; an environment whose Python is gone is made anew.
$(STAMP): setup.cfg pyproject.toml | python
	@if ! $(BIN)/python -c 'import pip' 2>/dev/null; then \
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	echo "error: $(PYTHON) cannot make virtual environments (no ensurepip): on Debian and Ubuntu" \
	"install $$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; \
	exit 1; }; \
	echo 'making $(VENV) ...'; $(PYTHON) -m venv --clear $(VENV); fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@
