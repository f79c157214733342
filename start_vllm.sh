#!/usr/bin/env bash
# Start the vLLM servers, one per GPU group, and wait until each answers. 启动各 vLLM 实例并等待就绪。
#
# Usage: ./start_vllm.sh [--dry-run] [--lang en|zh] [--then COMMAND …]
#
#   --dry-run       print the exact commands, start nothing
#   --then COMMAND  run COMMAND on the servers, then stop those that were started for it
#
# Each setting below can be edited there, or set by an environment variable of the same name. A preset
# (VLLM_PRESET=NAME reads presets/NAME.env) comes between the two. Without any NVIDIA card and without MODEL, the
# same servers run on the CPU with a tiny random model, to try everything out: its answers are noise.
#
# Logs: vllm_logs/vllm_01.log … (the start before: ….log.1)   Process ids: vllm_logs/vllm_01.pid …
# Exit code: 0 all ready · 1 a server failed (the end of its log is shown) · 2 wrong settings · 130 interrupted

set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/environment.sh
source "$root/scripts/environment.sh"
case "${1:-}" in -h | --help) show_help "$0" && exit ;; esac
take_language "$@"
load_preset

# ---- settings -------------------------------------------------------------------------------------------------
: "${MODEL:=}"                         # path or Hugging Face name; empty: the seed's Qwen3-30B, or the tiny model
: "${VLLM_PORTS:=8001,8002,8003,8004}" # one instance a port
: "${GPU_GROUPS:=}"                    # "0,1 2,3 4,5 6,7"; empty: groups of TENSOR_PARALLEL_SIZE, from GPU 0 on
: "${TENSOR_PARALLEL_SIZE:=}"          # GPUs an instance; empty: 2, or 1 where there is only one
: "${MAX_NUM_SEQS:=6}"                 # requests that one instance works on at a time
: "${GPU_MEMORY_UTILIZATION:=0.96}"    # share of each GPU's memory; out of memory: 0.90
: "${MAX_MODEL_LEN:=8192}"             # tokens, prompt and answer together
: "${VLLM_EXTRA_ARGS:=}"               # more flags for every `vllm serve`, as in a shell
: "${TRUST_REMOTE_CODE:=}"             # 1: run code that comes with the model
: "${VLLM_BIND:=127.0.0.1}"            # 0.0.0.0: reachable from other machines (then set VLLM_API_KEY)
: "${VLLM_DEVICE:=auto}"               # cpu: serve on the CPU even where there are GPUs, or a MODEL without them
: "${VLLM_API_KEY:=EMPTY}"             # what clients must send; EMPTY: nothing
: "${VLLM_LOG_DIR:=$root/vllm_logs}"   # logs and pid files
: "${STARTUP_TIMEOUT_S:=}"             # seconds a server may take; empty: 1800, tiny model 300
# ---------------------------------------------------------------------------------------------------------------

export MODEL VLLM_PORTS GPU_GROUPS TENSOR_PARALLEL_SIZE MAX_NUM_SEQS GPU_MEMORY_UTILIZATION MAX_MODEL_LEN
export VLLM_EXTRA_ARGS TRUST_REMOTE_CODE VLLM_BIND VLLM_DEVICE VLLM_API_KEY VLLM_LOG_DIR STARTUP_TIMEOUT_S

use_environment
if [[ " ${rest[*]} " != *" --dry-run "* ]]; then
  missing="$("$PYTHON" -m analyze.servers needs)"
  [[ -z $missing ]] || install "$missing"
fi
exec "$PYTHON" -m analyze.servers start "${rest[@]}"
