# Two commands for a newcomer: `make run` and `make test`. Both set everything up in .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
THREADS ?= 2

.PHONY: run test setup lint pretrain clean help

run: setup  ## run the quickstart experiment
	@$(BIN)/ifedpriv run configs/quickstart.yaml

test: setup  ## run the default test suite
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(THREADS)

lint: setup  ## style, types and import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

pretrain: setup  ## train the embedded model anew (about an hour on two cores)
	@$(BIN)/ifedpriv pretrain

setup: $(READY)  ## make the virtual environment

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ifedpriv needs Python 3.11 or newer; say which: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	@echo "setting up $(VENV) (once; this downloads a few hundred MB)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt torch==2.13.0
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:  ## remove the virtual environment and caches, never runs/
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'
