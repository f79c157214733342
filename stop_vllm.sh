#!/usr/bin/env bash
# Stop the vLLM servers that start_vllm.sh started, and no others. 停止由 start_vllm.sh 启动的实例。
#
# Usage: ./stop_vllm.sh [--lang en|zh]
#
# Requests in flight are waited for, then each server gets SIGTERM and time to end; what is left of it is killed,
# engine processes included. A second call finds nothing to stop and says so.
#
# Exit code: 0 nothing of ours runs any more · 1 something could not be ended

set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/environment.sh
source "$root/scripts/environment.sh"
case "${1:-}" in -h | --help) show_help "$0" && exit ;; esac

# ---- settings -------------------------------------------------------------------------------------------------
: "${VLLM_LOG_DIR:=$root/vllm_logs}" # where the pid files are
: "${DRAIN_TIMEOUT_S:=30}"           # seconds that requests in flight are waited for; 0: not at all
# ---------------------------------------------------------------------------------------------------------------

export VLLM_LOG_DIR DRAIN_TIMEOUT_S
use_any_python
exec "$PYTHON" -m analyze.servers stop "$@"
