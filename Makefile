# Everything lives in .venv and nothing needs activating. Each target sets up what it needs; a second run is instant.
#
#   make demo                    a first run from phantoms to a scored prediction
#   make test                    style, types, layers and tests: what CI runs
#   make test PYTHON=python3.12  with another interpreter (read only when .venv is made)

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH ?= torch==2.13.0
EXTRAS ?= plans,sweeps,factory,notebooks,dev
SUPPORTED = import sys; sys.exit(sys.version_info < (3, 11))
# The first of these that is Python 3.11 or newer; empty when none is.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(SUPPORTED)' >/dev/null 2>&1 && { echo $$p; break; }; done)

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types bench clean distclean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   //p' Makefile
	@echo "others: setup lint types bench clean distclean"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || { \
		test -n "$(PYTHON)" || { echo "Dosewright needs Python 3.11 or newer: found no python3, python3.13, python3.12 or python3.11 that is. Install one, or name yours: make $(MAKECMDGOALS) PYTHON=/path/to/python"; exit 1; }; \
		$(PYTHON) -c '$(SUPPORTED)' || { echo "Dosewright needs Python 3.11 or newer; PYTHON=$(PYTHON) is not"; exit 1; }; \
		echo "Making $(VENV) with $(PYTHON)"; \
		$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make virtual environments; on Debian or Ubuntu install python3-venv"; exit 1; }; \
	}
	@$(BIN)/python -c '$(SUPPORTED)' || { echo "$(VENV) was made with a Python older than 3.11: run make distclean first"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@echo "Installing Dosewright and its pinned dependencies into $(VENV): some minutes the first time"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)' -e '.[$(EXTRAS)]' -c constraints.txt
	@touch $@

demo: $(STAMP)
	$(BIN)/dosewright demo

test: lint types
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy

# One table per benchmark: speed against a named peer, measured in the same run.
bench: $(STAMP)
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

# Caches and builds; results (outputs/, multirun/, demo/) and .venv stay.
clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
