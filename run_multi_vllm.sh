#!/usr/bin/env bash
# Do everything: install what is missing, start the servers, run the pipeline on them, stop them. 一键运行全流程。
#
# Usage: ./run_multi_vllm.sh [-p PRESET] [--lang en|zh] [-- COMMAND …]
#
#   -p PRESET   settings of the servers from presets/PRESET.env
#   COMMAND     what to run instead of `python -m analyze.pipeline`; it finds the servers by VLLM_PORTS and VLLM_HOST
#
# Servers that answer on the ports already are used and left running; only those started here are stopped, however
# this ends. Their settings are in start_vllm.sh. ANALYZE_ENGINE=measured takes no servers at all.
#
# Exit code: that of the command; 1 or 2 if the servers cannot be started · 130 interrupted

set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=scripts/environment.sh
source "$root/scripts/environment.sh"
export ANALYZE_COMMAND="$0 $*" # what the job says to continue with, if it is interrupted
take_language "$@"
set -- "${rest[@]}"
while (($#)); do
  case "$1" in
    -h | --help) show_help "$0" && exit ;;
    -p | --preset) export VLLM_PRESET="${2:?-p needs the name of a preset}" && shift 2 ;;
    --) shift && break ;;
    *) abort "unknown argument $1; --help shows the usage" "未知参数 $1；用法见 --help" ;;
  esac
done

use_environment
if (($# == 0)); then
  set -- "$PYTHON" -m analyze.pipeline
  # From another folder the defaults still mean the project's own data and outputs.
  [[ . -ef $root ]] || export INPUT_JSONL="${INPUT_JSONL:-$root/data/tasks.jsonl}" OUTPUT_DIR="${OUTPUT_DIR:-$root/outputs}"
fi
[[ ${ANALYZE_ENGINE:-} != measured ]] || exec "$@"
exec "$root/start_vllm.sh" --then "$@"
