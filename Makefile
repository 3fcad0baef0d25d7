# One command each; `make` alone says which.  Needs Python 3.11 or later, and for the tests that
# run on a real Apache Kafka also Java 17 or later and Maven.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The first of these that is really there: a shim of a version manager may name one that is not.
PYTHONS := python3.11 python3.12 python3.13 python3.14 python3
IS_GOOD := import sys, venv, ensurepip; raise SystemExit(sys.version_info < (3, 11))

.PHONY: help install demo unit fast test peers chaos families soak lint format check lock clean

help: ## Show the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

install: $(READY) ## The environment in .venv; every other target makes it as well
	@echo "Ready.  Next:"
	@echo "  make demo                     a market to look at, with all it needs"
	@echo "  $(BIN)/honcho start        an embedded broker and a worker (Procfile)"
	@echo "  $(BIN)/barstream --help    all commands"

demo: $(READY) ## Broker, topics, schedule, feed and worker in one go; Ctrl-C ends all of it
	@exec $(BIN)/barstream demo

unit: $(READY) ## The quick tests, which need neither a broker nor a browser
	@$(BIN)/python -m pytest -q -n 2 -m "not kafka and not browser and not slow" \
	  tests/unit tests/property $(ARGS)

fast: $(READY) ## Lint, and the quick tests on few examples: a minute and a half
	@$(MAKE) lint
	@BARSTREAM_TEST_EXAMPLES=0.05 $(MAKE) unit

test: $(READY) ## The whole suite; says what was skipped and why
	@for tool in java mvn; do command -v $$tool >/dev/null || \
	  echo "note: $$tool is not installed, so the tests on a real Apache Kafka cannot run" >&2; done
	@if [ "$${CI:-}" = true ]; then export BARSTREAM_REQUIRE_KAFKA=1; fi; \
	  $(BIN)/python -m pytest -rfEs -n 3 --durations=30 --durations-min=10 $(ARGS)

peers: $(READY) ## The peers of the benchmark, built and held to one exact expectation
	@BARSTREAM_PEERS=1 BARSTREAM_REQUIRE_KAFKA=1 $(BIN)/python -m pytest -rfEs \
	  tests/integration/test_bench_peers.py $(ARGS)

chaos: $(READY) ## The long fault drills and 200 fault runs, two hours; RUNS=n SEED=n for others
	@BARSTREAM_CHAOS=1 BARSTREAM_REQUIRE_KAFKA=1 $(BIN)/python -m pytest -rfEs -m chaos tests/chaos tests/upgrade $(ARGS)
	@$(BIN)/python -m tests.chaos.runs --runs $${RUNS:-200} --seed $${SEED:-1} --chosen

families: $(READY) ## 50 fault runs of each family, hours; RUNS=n SEED=n FAMILIES="limits idle"
	@$(BIN)/python -m tests.chaos.runs --family $${FAMILIES:-} --runs $${RUNS:-50} --seed $${SEED:-1}

soak: $(READY) ## An hour at 20,000 ticks a second and a kill every five minutes; MINUTES=n REPORT=page
	@$(BIN)/python -m tests.chaos.soak --minutes $${MINUTES:-60} $${REPORT:+--report "$$REPORT"}

lint: $(READY) ## Style, formatting, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY) ## Format the code and mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

check: lint test ## What CI runs

# What a worker runs on is a part of what is developed and tested with, at the same versions.
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header
lock: ## Resolve the dependencies anew into requirements*.lock; KEEP=1 only what is new
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	@upgrade=--upgrade; [ -z "$${KEEP:-}" ] || upgrade=; \
	$(COMPILE) $$upgrade --extra dev pyproject.toml --output-file requirements-dev.lock; \
	$(COMPILE) --constraint requirements-dev.lock --no-annotate pyproject.toml \
	  --output-file requirements.lock; \
	$(COMPILE) $$upgrade --group audit --output-file .ci/audit.lock; \
	$(COMPILE) $$upgrade --no-annotate bench/peers/quix.in --output-file bench/peers/quix.lock

clean: ## Remove everything that can be made again, also the data of the demo
	@rm -rf $(VENV) build dist .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	  .import_linter_cache barstream-data *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements-dev.lock pyproject.toml
	@python=""; \
	for candidate in $(PYTHONS); do \
	  if $$candidate -c '$(IS_GOOD)' >/dev/null 2>&1; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "barstream needs Python 3.11 or later with its venv module." >&2; \
	  echo "None of $(PYTHONS) is one; on Debian: apt-get install python3 python3-venv" >&2; \
	  exit 1; \
	fi; \
	$$python tools/environment.py $(VENV)
	@touch $@
