# Everything a person or CI needs. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# The tests start hundreds of programs: each reads bytecode where it may be kept, and else compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEEDS ?= 200
SECONDS ?= 600
RUNBOOK_URL ?=
TO ?= build/deploy
RUNTIME := $(VENV)/.runtime-installed
TESTING := $(VENV)/.testing-installed
FUZZING := $(VENV)/.fuzzing-installed
SOURCES := enactord planner_stub bench grafana tests

.PHONY: help setup run test test-long lint types unit integration sim mutants attacks small stored naive model states alerts runbook chaos fuzz bench bench-quick micro \
	docs deploy-files mistakes conformance lock clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(RUNTIME): requirements/runtime.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/runtime.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(TESTING): requirements/test.txt requirements/bench.txt $(RUNTIME)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/test.txt -r requirements/bench.txt
	touch $@

$(FUZZING): requirements/fuzz.txt $(TESTING)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/fuzz.txt
	touch $@

setup: $(TESTING) ## Install all that tests need: the locked venv, and Debian packages of the servers
	./scripts/debian-packages

run: $(RUNTIME) ## Everything on one machine: store, DNS server, three enactors, planner
	$(BIN)/enactord dev

test: setup lint types ## Lint, types and the everyday suite, file by file on four processes (most tests wait for servers)
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not long"

test-long: setup ## The tests that the everyday suite leaves out: longer forms, and each server where a suite takes one
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m long

lint: $(TESTING) ## ruff and the direction of imports
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/lint-imports

types: $(TESTING) ## mypy --strict
	$(BIN)/mypy

unit: $(TESTING) ## The tests that need no server
	$(BIN)/python -m pytest tests/unit tests/property

integration: setup ## The tests against real etcd and DNS servers
	$(BIN)/python -m pytest tests/contract tests/integration tests/e2e tests/doctor

sim: $(TESTING) ## The engine in hostile worlds: make sim SEEDS=2000, or SEED=n for one again
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

mutants: $(TESTING) ## Each safety mechanism switched off in turn: which seed notices, and by what
	$(BIN)/python -m tests.simulation --mutants --seeds $(SEEDS)

attacks: setup ## What a planner's attacks leave served, with the guards as they were and as they are: docs/guards.png
	$(BIN)/python -m tests.simulation.attacks .attacks.json
	$(BIN)/python -m tests.simulation.attacks --picture docs/guards.png tests/simulation/attacks-before.json .attacks.json

small: $(TESTING) ## Small worlds in every order of their calls
	$(BIN)/python -m tests.simulation.small

stored: $(TESTING) ## Every kind of stored thing, lost, damaged and of a newer format: a table of what becomes of it
	$(BIN)/python -m tests.stored

naive: $(TESTING) ## The naive enactor in the same hostile worlds, and its shortest way into the outage
	$(BIN)/python -m tests.simulation.naive --seeds $(SEEDS)
	$(BIN)/python -m tests.simulation.naive_shortest

model: setup ## The design and the naive enactor under the model checker: variants and verdicts
	$(BIN)/python -m tests.model

alerts: setup ## Single faults on real scopes: what people are told first, docs/alerts.md; half an hour
	$(BIN)/python -m tests.alerts

states: setup ## Every bad state on real servers: readyz, status, page and API against what dig sees
	BAD_STATES=all $(BIN)/python -m pytest tests/browser/test_bad_states.py -n 2

runbook: setup ## Every command of the runbook, typed on real servers in which its section's fault was made
	RUNBOOK=all $(BIN)/python -m pytest tests/runbook -n 2

chaos: setup ## Real etcd, Knot, BIND and enactors under real faults: make chaos SECONDS=600 SEED=7
	$(BIN)/python -m tests.chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

fuzz: $(FUZZING) ## The parsers under a coverage-guided fuzzer: make fuzz SECONDS=600
	$(BIN)/python -m tests.hostile.fuzz --seconds $(SECONDS)

bench: setup ## Every benchmark in full, with pictures and a report, in under half an hour
	$(BIN)/python -W ignore -m bench --full

bench-quick: setup ## The same, small, in under three minutes
	$(BIN)/python -W ignore -m bench --quick

micro: $(TESTING) ## Encoding, decoding, diff, guard: each alone
	$(BIN)/python -m pytest bench/micro --benchmark-only

docs: $(TESTING) ## Write what is generated: the reference in docs/, dashboards, Kubernetes' copy of the rules
	$(BIN)/python -m grafana.generate
	$(BIN)/python -m tests.docs

deploy-files: ## deploy/ and dashboards with absolute links to the runbook: RUNBOOK_URL=https://…, TO=build/deploy
	@./scripts/deploy-files "$(RUNBOOK_URL)" "$(TO)"

mistakes: setup ## Make each mistake of the list, and write what is said of it: docs/mistakes.md
	$(BIN)/python -m tests.mistakes

conformance: setup ## Try BIND, Knot, PowerDNS and the embedded server: README's table of servers, docs/conformance.md
	$(BIN)/python -m tests.doctor

lock: ## Resolve pyproject.toml anew into requirements/
	./scripts/lock

clean: ## Remove what was built here
	find $(SOURCES) -name __pycache__ -prune -exec rm -rf {} +
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .enactord dist build
