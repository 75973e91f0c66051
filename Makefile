# Every target sets itself up: `make run` on a fresh clone makes .venv first. Only Python, pip and git are needed.
PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test test-all test-cluster lint types check docs ui clean

# Offline and silent by default; what is set already wins. The flows set the same themselves (flows/env.py).
export HF_HUB_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY ?= 1
export HF_HUB_DISABLE_PROGRESS_BARS ?= 1
export TOKENIZERS_PARALLELISM ?= false
export DO_NOT_TRACK ?= true
export PREFECT_SERVER_ANALYTICS_ENABLED ?= false
export PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT ?= false
export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS ?= 120
export MLFLOW_DISABLE_TELEMETRY ?= true
export DVC_NO_ANALYTICS ?= 1
export DVC_STUDIO_OFFLINE ?= 1

# The stamp counts only for a venv that still runs and was made in this folder (a venv cannot be moved).
ifneq ($(shell $(BIN)/python -c 'import pip' 2>/dev/null && cat $(READY) 2>/dev/null),$(CURDIR))
$(shell rm -f $(READY))
endif

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: $(READY)  ## .venv with the proven versions of constraints.txt (about 3 minutes, 3 GB, once)

# An install that was interrupted leaves .unfinished behind: then start from nothing instead of trusting what is there.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1). preflow needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 2; }
	@if [ -e $(VENV)/.unfinished ] || ! $(BIN)/python -c 'import pip' 2>/dev/null; then \
	  echo "making $(VENV)"; $(PYTHON) -m venv --clear $(VENV); fi
	@touch $(VENV)/.unfinished
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]' | awk '!/already satisfied|^  /'
	@rm $(VENV)/.unfinished && printf '%s' '$(CURDIR)' > $@

run: $(READY)  ## the whole pass on this machine: feedback -> policy -> evaluation -> registry
	$(BIN)/preflow run align

test: $(READY)  ## the test suite, without the slow tests
	$(BIN)/python -m pytest -n $(JOBS) --dist loadscope -rs

test-all: $(READY)  ## every test that this machine can run
	$(BIN)/python -m pytest -n $(JOBS) --dist loadscope -rs -m 'not cluster'

test-cluster: $(READY)  ## steps as Jobs on a real control plane (see tests/flows/kubernetes/lab.py; needs root and kubectl)
	$(BIN)/python -m pytest -rs -m cluster tests/flows/kubernetes

lint: $(READY)  ## ruff: rules and format
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

types: $(READY)  ## mypy
	$(BIN)/python -m mypy

check: $(READY)  ## specs, params.yaml, dvc.yaml, flows, profiles and generated docs agree
	$(BIN)/python -m components check

docs: $(READY)  ## rewrite the generated docs
	$(BIN)/python -m components check --write

ui: $(READY)  ## the Prefect and MLflow dashboards on this machine
	$(BIN)/preflow ui

clean:  ## remove .venv and caches; keep data, artifacts and .preflow
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find components flows tests -name __pycache__ -type d -prune -exec rm -rf {} +
