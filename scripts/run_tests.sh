#!/usr/bin/env bash
# All tests, in two processes side by side: those of real servers and of faults, which mostly wait, and all others.
# PYTHON is the interpreter to run them with. What the first process says is shown when the second is done.
#
# What fails is run once more: 4,500 tests of processes, sockets and kills share a busy machine, and one of them that
# the machine had kept waiting says nothing of the change at hand. Each is named as RERUN at the end, and is a bug of the
# test or of what it tests: `RERUNS=0 make test` forgives none.
set -uo pipefail

said="$(mktemp)"
trap 'kill "$servers" 2>/dev/null; rm -f "$said"' EXIT
once_more=(--reruns "${RERUNS:-1}" --reruns-delay 5 -raR)
"$PYTHON" -m pytest "${once_more[@]}" -m "vllm or faults" >"$said" 2>&1 &
servers=$!
"$PYTHON" -m pytest "${once_more[@]}" -m "not vllm and not faults"
others=$?
wait "$servers"
with_servers=$?
cat "$said"
((others == 0 && with_servers == 0))
