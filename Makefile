# Every target sets up what it needs in .venv; all that is asked of the machine is Python >= 3.10.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2
DATA ?=
LOOPS := $(wildcard ecogsource/buffers/storage/csrc/*)
# Without a compiler there are no loops in C, and no way to run the lines that call them.
COVERED = $(shell $(BIN)/python -c 'from ecogsource.buffers.storage import loops; print(100 if loops.available() else 95)')

.PHONY: demo test lint types suite smoke bench docs clean

demo: $(VENV)/.installed-plot
	$(BIN)/ecogsource demo demo $(if $(DATA),--data $(DATA))

test: lint types smoke suite

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

smoke: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks --smoke

suite: $(VENV)/.installed-test
	rm -f .coverage .coverage.*
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --cov --cov-report=
	$(BIN)/coverage report --include='ecogsource/indexing/*,ecogsource/buffers/*' --fail-under=$(COVERED)

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf $(VENV) demo docs/_build build dist *.egg-info .coverage .coverage.*

# One stamp per extra: reinstalled only when the packaging files or the loops in C change.
$(VENV)/.installed-%: setup.cfg setup.py pyproject.toml $(LOOPS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	touch $@

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "ecogsource needs Python 3.10 or newer")'
	$(PYTHON) -m venv $(VENV)
