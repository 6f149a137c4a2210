# Two commands for a newcomer: `make demo` and `make test`. Only `make e2e-node` needs root (and
# `make images ARGS=--plain`, which it uses).

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

# CI compiles the CUDA programs too.
CUDA := $(if $(filter true,$(CI)),cuda,cuda-host)

# $(call stage,NAME,COMMAND): COMMAND, and with TIMINGS set a line "NAME seconds status" in it.
stage = @began=$$(date +%s); status=0; ( $(2) ) || status=$$?; \
	if [ -n "$${TIMINGS:-}" ]; then \
	printf '%s\t%s\t%s\n' '$(1)' $$(( $$(date +%s) - began )) $$status >> "$$TIMINGS"; fi; \
	exit $$status

.PHONY: help demo test lint cuda cuda-host gpu-bench unit e2e node e2e-node bench fuzz images \
	generate servers packages debs \
	environment fmt clean

help: ## show this list
	@echo 'konduktor-health: GPU-node health controller for Kubernetes'
	@echo
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1@\2/p' $(MAKEFILE_LIST) | \
	while IFS=@ read -r name text; do printf '%-20s %s\n' "$$name" "$$text"; done
	@echo
	@echo 'Variables: ARGS (demo, bench), PYTHON, UNIT_WORKERS, E2E_WORKERS, CI=true (build missing'
	@echo 'servers; a skipped test is a failure), KONDUKTOR_HEALTH_CACHE (where built servers lie).'

demo: $(STAMP) ## a small cluster in this terminal: watch a GPU fault become a taint (ARGS=--exit)
	$(call stage,demo,$(BIN)/konduktor-health demo $(ARGS))

test: lint $(CUDA) unit e2e node ## everything that a change has to pass

lint: $(STAMP) ## ruff, mypy --strict, import layers
	$(call stage,lint,$(BIN)/ruff check . && $(BIN)/ruff format --check . \
	&& $(BIN)/mypy && $(BIN)/lint-imports)

# Tests between network namespaces need packages too; where they are missing, they are skipped.
ifeq ($(CI),true)
unit: packages
endif

cuda: $(STAMP) ## compile the CUDA programs (fetches nvcc once), test them without a GPU
	$(call stage,cuda,nvcc=$$($(BIN)/python cuda/toolkit.py) && $(BIN)/python cuda/cached.py restore \
	&& $(MAKE) --no-print-directory -C cuda -j2 NVCC="$$nvcc" programs host-tests emulated sizes \
	&& $(BIN)/python cuda/cached.py store)

# What of the CUDA programs needs no nvcc.
cuda-host:
	$(call stage,cuda-host,if command -v g++ >/dev/null; \
	then $(MAKE) --no-print-directory -C cuda -j2 host-tests emulated; \
	else echo 'tests of the CUDA programs skipped: g++ is not here'; fi)

gpu-bench: cuda ## on a machine with a GPU: measure it, add the figures to docs/reference
	$(call stage,gpu-bench,$(BIN)/python cuda/measure.py $(ARGS))

unit: $(STAMP) ## unit, component and contract tests: no servers needed
	$(call stage,unit and component,$(BIN)/pytest -m 'not e2e and not node' -n $(UNIT_WORKERS) $(ARGS))

ifeq ($(CI),true)
e2e: servers
endif
e2e: $(STAMP) ## tests on a real kube-apiserver, etcd, kwok and Loki (after make servers)
	$(call stage,e2e,if [ "$${CI:-}" != true ] \
	&& ! $(BIN)/python tests/servers/build.py --check --suite e2e; \
	then echo 'e2e tests skipped: the real servers are not built (make servers)'; \
	else $(BIN)/pytest -m e2e -n $(E2E_WORKERS) $(ARGS); fi)

# Packages, servers and images come first; outside CI only where all that is there already.
node: $(STAMP)
	@if [ "$${CI:-}" = true ] || { [ "$$(id -u)" = 0 ] \
	&& bash tests/servers/packages.sh --check \
	&& $(BIN)/python tests/servers/build.py --check && $(BIN)/python tests/servers/debs.py --check; }; \
	then $(MAKE) --no-print-directory e2e-node; \
	else echo 'tests on a real node skipped: make e2e-node runs them (as root)'; fi

# In namespaces of its own (network, mounts, processes): what a node leaves behind ends with them.
# Whoever asks for it wants it run: a skip is a failure, as in CI.
e2e-node: as-root packages $(STAMP) servers debs cuda ## images and chart on a real kubelet (root; builds all)
	$(call stage,images,$(BIN)/python deploy/docker/build.py --plain)
	$(call stage,e2e-node,CI=true tests/servers/node/namespaces.sh $(BIN)/pytest -m node $(ARGS))

images: $(STAMP) ## both container images as OCI archives in build/images (ARGS=--help)
	$(call stage,images,$(BIN)/python deploy/docker/build.py $(ARGS))

generate: $(STAMP) ## bring generated files up to date: docs/reference, chart schema, manifests
	@$(BIN)/python docs/generate.py && $(BIN)/python deploy/generate.py

bench: $(STAMP) ## measure; a table here and build/bench.json
	$(call stage,bench,mkdir -p build && $(BIN)/python -m benchmarks $(ARGS))

fuzz: $(STAMP) ## hostile input for parsers and readers, 10 CPU minutes (ARGS='--seconds 60')
	$(call stage,fuzz,$(BIN)/python -m tests.fuzz --seconds 600 $(ARGS))

# libfaketime comes along; where apt has no Debian archive, its tests are skipped.
servers: python ## build the real servers for e2e, once (about 20 minutes on 2 cores)
	$(call stage,servers,$(PYTHON) tests/servers/build.py \
	&& { $(PYTHON) tests/servers/debs.py --suite e2e || [ "$${CI:-}" != true ]; })

packages: ## Debian packages that the real node, the images and network tests need (root)
	$(call stage,packages,bash tests/servers/packages.sh)

debs: python
	$(call stage,debs,$(PYTHON) tests/servers/debs.py)

environment: ## the development environment in .venv (made by the others as needed)
	$(call stage,environment,$(MAKE) --no-print-directory $(STAMP))

fmt: $(STAMP) ## format, and fix what ruff can fix
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

clean: ## remove what is generated here (not the built servers)
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	.import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: as-root
as-root:
	@[ "$$(id -u)" = 0 ] && [ "$$(uname -s)" = Linux ] || { \
	echo 'error: a real node needs root on Linux (namespaces, containers)' >&2; exit 1; }

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
