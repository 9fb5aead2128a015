# Two commands do everything on a machine with Python 3.11, pip and make:
#   make demo   installs sodkit into .venv and runs the whole pipeline on data it makes
#   make test   installs it with the test tools, then lints, checks types, builds the site of docs/
#               and runs the tests
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types unit docs pages coverage mutation versions clean

demo: $(VENV)/installed
	$(BIN)/sodkit demo --out demo

test: lint types docs unit

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-test
	$(BIN)/mypy

unit: $(VENV)/installed-test
	$(BIN)/python -m pytest -n auto --maxprocesses 4

docs: $(VENV)/installed-test
	$(BIN)/zensical build --strict

pages: $(VENV)/installed-test
	$(BIN)/python tools/pages.py

coverage: $(VENV)/installed-test
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest --uncompiled
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

mutation: $(VENV)/installed-test
	$(BIN)/python benchmarks/mutation.py --csv benchmarks/results/mutation.csv

versions: $(VENV)/installed-test
	$(BIN)/python benchmarks/versions.py --csv benchmarks/results/versions.csv

$(VENV)/installed: pyproject.toml $(shell find sodkit -type f -not -name '*.pyc')
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet .
	touch $@

$(VENV)/installed-test: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build site .cache *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache demo
