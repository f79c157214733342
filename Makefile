# make setup | test | lint | bench        Each installs what it needs, into the active environment or .venv.

SHELL := /bin/bash
.PHONY: setup test lint bench

# Real vLLM servers on the CPU are part of the tests; where there is a card, vLLM's CPU build would be in its way.
USE_ENVIRONMENT = source scripts/environment.sh && \
  use_environment dev $$(command -v nvidia-smi >/dev/null || echo cpu)

setup:
	@$(USE_ENVIRONMENT)

test: lint
	@$(USE_ENVIRONMENT) && install_browser && PYTHON="$$PYTHON" scripts/run_tests.sh

lint:
	@$(USE_ENVIRONMENT) && "$$PYTHON" -m ruff check . && "$$PYTHON" -m ruff format --check . && "$$PYTHON" -m mypy && \
	  "$$(dirname "$$PYTHON")/shellcheck" -x ./*.sh scripts/*.sh .ci/run

# 40 minutes. One part again: .venv/bin/python -m benchmarks cost (or rate, fit, trace, slow, prefixes, faults, gone, soak,
# journaling, resume, first-request, memory, scale, coverage, agreement, folding, report, classification, infer, annotate)
bench:
	@$(USE_ENVIRONMENT) && "$$PYTHON" -m benchmarks
