#!/usr/bin/env bash
# Show the state of each vLLM server: port, GPUs, pid, model, requests, KV cache. 查看各 vLLM 实例的状态。
#
# Usage: ./check_vllm.sh [--json] [--wait SECONDS] [--lang en|zh]
#
#   --json          JSON instead of a table
#   --wait SECONDS  wait so long for all servers to be ready
#
# States: ready (answers) · starting (runs, does not answer yet) · dead (was started, works no more) ·
#         foreign (something that is no vLLM holds the port) · down (nothing there)
# Exit code: 0 all ready · 1 some are · 3 none is

set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/environment.sh
source "$root/scripts/environment.sh"
case "${1:-}" in -h | --help) show_help "$0" && exit ;; esac
load_preset

# ---- settings -------------------------------------------------------------------------------------------------
: "${VLLM_PORTS:=8001,8002,8003,8004}" # the ports to look at
: "${VLLM_LOG_DIR:=$root/vllm_logs}"   # where the pid files are
# ---------------------------------------------------------------------------------------------------------------

export VLLM_PORTS VLLM_LOG_DIR
use_any_python
exec "$PYTHON" -m analyze.servers check "$@"
