# One verb per action; each sets up all it needs. `make help` lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.stamp
LOCK   := uv pip compile --quiet --no-header --universal --python-version 3.11 --generate-hashes --no-annotate

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench gen wheel lock clean

help: ## list the verbs
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## fill .venv with everything the other verbs need, and build the C core

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): requirements/dev.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## run the whole thing on this machine: Envoy, four simulated engines, the picker (ONCE=1: unattended)
	$(BIN)/epp demo $(if $(ONCE),--once)

test: $(STAMP) ## run every test (EPP_REQUIRE_ALL=1: a missing component fails instead of skipping)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(STAMP) ## lint, formats, types, import contracts, generated files fresh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports
	find cabi tests docs/examples \( -name generated -o -name CMakeFiles \) -prune -o -name '*.[ch]' -print | xargs $(BIN)/clang-format --dry-run -Werror

bench: $(STAMP) ## measure; BENCH=picker (default)|frontend|core|pick|idle|pods|tokenize|policy|embedding|dynamo, ARGS="...", JSON lines
	@$(BIN)/python -m tests.bench $(or $(BENCH),picker) $(ARGS)

wheel: $(STAMP) ## build dist/*.whl
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .

lock: ## renew requirements/*.txt from requirements/*.in
	$(LOCK) -o requirements/dev.txt pyproject.toml requirements/dev.in --extra demo --extra hub --extra otel
	$(LOCK) -o requirements/runtime.txt -c requirements/dev.txt pyproject.toml --extra hub --extra otel
	$(LOCK) -o requirements/build.txt -c requirements/dev.txt requirements/build.in

clean: ## remove what the other verbs made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
