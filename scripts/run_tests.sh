#!/usr/bin/env bash
# All tests, in two processes side by side: those of real servers and of faults, which mostly wait, and all others.
# PYTHON is the interpreter to run them with. What the first process says is shown when the second is done.
set -uo pipefail

said="$(mktemp)"
trap 'kill "$servers" 2>/dev/null; rm -f "$said"' EXIT
"$PYTHON" -m pytest -m "vllm or faults" >"$said" 2>&1 &
servers=$!
"$PYTHON" -m pytest -m "not vllm and not faults"
others=$?
wait "$servers"
with_servers=$?
cat "$said"
((others == 0 && with_servers == 0))
