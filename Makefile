# Two commands on a fresh clone: `make demo` and `make test`. Each makes its own .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test quick faults check format bench clean

help:  ## Show what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $(READY)

setup: $(READY)  ## Make the virtual environment with everything in it

demo: $(READY)  ## The census of the standard library: two workers, one of them killed
	$(BIN)/python examples/$(or $(NAME),library_census)/run.py $(ARGS)

test: $(READY)  ## The whole suite but the long fault matrix
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m "not faults" tests

quick: $(READY)  ## The suites that start no worker
	$(BIN)/python -m pytest -q -m "not slow and not faults" tests/unit tests/lua tests/integration tests/properties

faults: $(READY)  ## The long fault matrix and the full crash exploration
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m "faults" tests
	$(BIN)/python -m pytest -q -m "not faults" tests/faults tests/properties

check: $(READY)  ## Static checks: format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/make_tables.py --check
	$(BIN)/python .ci/make_twins.py --check

format: $(READY)  ## Put the code into form
	$(BIN)/python .ci/make_twins.py
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## Side by side with plain Celery and the peers; writes benchmarks/RESULTS.md
	$(BIN)/python benchmarks/run.py $(ARGS)

clean:  ## Remove what was made
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .dispatch
