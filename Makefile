# Everything sets itself up: `make demo` runs the whole path on the embedded model, `make test` all checks and tests.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check format

demo: .venv/installed
	$(BIN)/debate demo

test: check
	$(BIN)/pytest

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,openai,calibration,data,postgresql,dev]'
	touch $@
