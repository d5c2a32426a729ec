# Everything a person or CI needs. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEEDS ?= 200
SECONDS ?= 600
RUNTIME := $(VENV)/.runtime-installed
TESTING := $(VENV)/.testing-installed

.PHONY: help setup run test lint types unit integration sim mutants small chaos bench lock clean

help: ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(RUNTIME): requirements/runtime.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/runtime.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(TESTING): requirements/test.txt $(RUNTIME)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/test.txt
	touch $@

setup: $(TESTING) ## Install all that tests need: the locked venv, and Debian packages of the servers
	./scripts/debian-packages

run: $(RUNTIME) ## Everything on one machine: store, DNS server, three enactors, planner
	$(BIN)/enactord dev

test: setup lint types ## Lint, types and the whole everyday suite
	$(BIN)/python -m pytest

lint: $(TESTING) ## ruff and the direction of imports
	$(BIN)/ruff check enactord planner_stub bench tests
	$(BIN)/ruff format --check enactord planner_stub bench tests
	$(BIN)/lint-imports

types: $(TESTING) ## mypy --strict
	$(BIN)/mypy

unit: $(TESTING) ## The tests that need no server
	$(BIN)/python -m pytest tests/unit tests/property

integration: setup ## The tests against real etcd, BIND and Knot
	$(BIN)/python -m pytest tests/contract tests/integration tests/e2e

sim: $(TESTING) ## The engine in hostile worlds: make sim SEEDS=2000, or SEED=n for one again
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

mutants: $(TESTING) ## Each safety mechanism switched off in turn: which seed notices, and by what
	$(BIN)/python -m tests.simulation --mutants --seeds $(SEEDS)

small: $(TESTING) ## Small worlds in every order of their calls
	$(BIN)/python -m tests.simulation.small

chaos: setup ## Real etcd, Knot, BIND and enactors under real faults: make chaos SECONDS=600 SEED=7
	$(BIN)/python -m tests.chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

bench: setup ## Publish to seen served, beside the bare updates, on a real Knot and a real BIND
	$(BIN)/python -W ignore -m bench apply --server knot
	$(BIN)/python -W ignore -m bench apply --server bind

lock: ## Resolve pyproject.toml anew into requirements/
	./scripts/lock

clean: ## Remove what was built here
	find enactord planner_stub tests -name __pycache__ -prune -exec rm -rf {} +
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .enactord dist
