# Two commands on a fresh clone: `make demo` and `make test`. Each makes its own .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test quick faults explore check format bench clean

help:  ## Show what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $(READY)

setup: $(READY)  ## Make the virtual environment with everything in it

demo: $(READY)  ## The census of the standard library, or NAME=; FLOWER=1 ends with Flower on its data
	FLOWER=$(FLOWER) $(BIN)/python examples/$(or $(NAME),library_census)/run.py $(ARGS)

test: $(READY)  ## The whole suite but the long fault matrix, by three processes (N=)
	$(BIN)/python -m pytest -q -n $(or $(N),3) --dist loadgroup -m "not faults and not explore" tests

quick: $(READY)  ## The suites that start no worker
	$(BIN)/python -m pytest -q -m "not slow and not faults and not explore" tests/unit tests/lua tests/integration tests/properties

faults: $(READY)  ## The long fault matrix: half an hour and more on two cores
	$(BIN)/python -m pytest -q -n $(or $(N),3) --dist loadgroup -m "faults" tests

explore: $(READY)  ## Every world of the crash explorer, 95,000 of them: hours
	$(BIN)/python -m pytest -q -n $(or $(N),2) -m "explore" tests

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
