# The two commands of the README are `make simulate` and `make test`.
# They need Python 3.11 or newer and make what is missing; a stamp file says what is there.
# Another interpreter: make PYTHON=python3.12 simulate

PYTHON = python3
VENV = .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: simulate test lint docs bench bench-executor demo-train clean

simulate: $(VENV)/.simulator
	$(BIN)/spdsim simulate scenarios/h100x8.yaml

# Real processes that measure time have the machine to themselves; all else runs two at a time.
ALONE = $(wildcard tests/test_executor*.py) tests/test_calibrate_cli.py
TOGETHER = $(filter-out $(ALONE),$(wildcard tests/test_*.py))

test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(TOGETHER)
	$(BIN)/python -m pytest $(ALONE)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The reference pages and the pictures, generated from the code.
docs: $(VENV)/.dev
	$(BIN)/python -m tools.reference

bench: $(VENV)/.simulator
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python -m benchmarks.fast
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/choice.py

# Some minutes, on an idle machine. What needs a GPU: benchmarks/gpu.sh
bench-executor: $(VENV)/.dev
	$(BIN)/python benchmarks/executor.py
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.trees acceptance
	$(BIN)/python -m benchmarks.trees cycles

# A language model, its draft modules, and what they reach: about twenty minutes on two cores; goes on where it was.
demo-train: $(VENV)/.dev
	$(BIN)/spdsim-exec demo-train --out demo-train

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find spdsim executor tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "spdsim needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.simulator: $(VENV)/.python pyproject.toml constraints.txt
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[dev,executor]'
	@touch $(VENV)/.simulator $@
