# make run    the demonstration (VIDEO=PATH shows your own file)
# make test   every check and every test
# make check  format, lint, types and the direction of imports
# make bench  the benchmarks, with the limit beside each figure

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
VIDEO  ?=

.PHONY: run test check bench clean
.DEFAULT_GOAL := run

run: $(VENV)/.installed
	$(BIN)/adainfd demo $(VIDEO)

test: check
	$(BIN)/pytest

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/branches.py
	$(BIN)/python benchmarks/pipeline.py

clean:
	rm -rf $(VENV)

# About 6 GB with the CUDA build of torch that PyPI gives on x86-64; README says how to get the smaller CPU build.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --editable '.[demo,dev]'
	touch $@
