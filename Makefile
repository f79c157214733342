# make setup | test | lint | bench        Each installs what it needs, into the active environment or .venv.

SHELL := /bin/bash
.PHONY: setup test lint bench

PYTHON = source scripts/environment.sh && use_environment dev

setup:
	@$(PYTHON)

test: lint
	@$(PYTHON) && install_browser && "$$PYTHON" -m pytest

lint:
	@$(PYTHON) && "$$PYTHON" -m ruff check . && "$$PYTHON" -m ruff format --check . && "$$PYTHON" -m mypy \
	  && "$$(dirname "$$PYTHON")/shellcheck" -x ./*.sh scripts/*.sh .ci/run

bench:
	@$(PYTHON) && "$$PYTHON" -m benchmarks
