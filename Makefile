# Everything here sets itself up: a .venv with the pinned versions of constraints.txt, then the job.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_OUT ?= demo

.PHONY: demo test test-slow ray check format clean

demo: $(READY)  ## train the embedded world's models, unlearn with four methods, draw the trade-off
	$(BIN)/unlearnkit demo --out $(DEMO_OUT)

test: $(READY)  ## the fast suite, doctests included
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-slow: $(READY)  ## kill tests, process groups, fuzzing, browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup -m slow

ray: $(READY)  ## the extra for clusters: with it the slow suite tests a local one too
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray]'

check: $(READY)  ## format, lint, types, layers, and what the README says of the tree and the claims
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layers.py
	$(BIN)/python docs/generate.py --check

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# torch is named alone first: where a CPU build lies at hand, pip takes it and nothing larger
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV)
