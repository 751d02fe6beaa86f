# Everything a fresh machine needs: python3 (3.11 or newer, with venv and pip) and make.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PACKAGES := codegen datasets costmodel search scripts
OUTPUTS := outputs/run

.DEFAULT_GOAL := help
.PHONY: help setup run test check format clean

help: ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: ## create .venv from requirements.lock (skipped when the lock has not changed)
	@cmp -s requirements.lock $(VENV)/installed.lock || { \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "looprank needs Python 3.11 or newer; name one with: make setup PYTHON=python3.11" >&2; exit 2; }; \
	  { [ -x $(RUN) ] || $(PYTHON) -m venv $(VENV); } \
	  && $(RUN) -m pip install --disable-pip-version-check --requirement requirements.lock \
	  && cp requirements.lock $(VENV)/installed.lock; }

run: setup ## train on the shipped measurements, then tune, verify and time one operator beside torch
	rm -rf $(OUTPUTS)
	$(RUN) scripts/train.py hydra.run.dir=$(OUTPUTS)/train
	$(RUN) scripts/tune.py task=resnet18_c6 search.trials=96 checkpoint=$(OUTPUTS)/train/checkpoint.safetensors \
	  hydra.run.dir=$(OUTPUTS)/tune
	$(RUN) scripts/explain.py $(OUTPUTS)

test: setup ## the tests that need neither a GPU nor patience
	$(RUN) -m pytest -q

check: setup ## lint, strict types, tests with coverage
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy $(PACKAGES)
	$(RUN) -m pytest -q --cov --cov-report=term

format: setup ## rewrite the sources as the linter wants them
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

clean: ## remove outputs and caches, keep the environment
	rm -rf outputs multirun .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
