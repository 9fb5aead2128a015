# Two commands do everything on a machine with Python 3.11, pip and make:
#   make demo   installs sodkit into .venv and runs the whole pipeline on data it makes
#   make test   installs it with the test tools, then lints, checks types and runs the tests
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types unit clean

demo: $(VENV)/installed
	$(BIN)/sodkit demo --out demo

test: lint types unit

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-test
	$(BIN)/mypy

unit: $(VENV)/installed-test
	$(BIN)/python -m pytest

$(VENV)/installed: pyproject.toml $(shell find sodkit -type f -not -name '*.pyc')
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet .
	touch $@

$(VENV)/installed-test: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache demo
