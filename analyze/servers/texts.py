"""What the server commands say, in English and Chinese, and the console they say it on. Knows nothing of servers."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import IO, Literal

from analyze.lang import Lang

Mark = Literal["ready", "starting", "queued"]
"""How far an instance is, in a progress line."""

QUIET_PROGRESS_S = 30.0
"""How often progress is said again where there is no terminal to rewrite a line on."""

TEXTS: Mapping[Lang, Mapping[str, str]] = {
    "en": {
        "already_ready": "✓ port {port}: already running, serves {model}",
        "foreign_used": "✓ port {port}: a server not started here answers ({model}); it is used and left running",
        "other_settings": "  port {port} runs with other settings than these; ./stop_vllm.sh first to apply them",
        "already_starting": "… port {port}: another start has launched it (pid {pid}); waiting for it",
        "launched": "▶ instance {number}: port {port}, {place}, pid {pid}, log {log}",
        "orphans": "  port {port}: {count} processes are left of a server that died; ending them first",
        "progress": "⏳ {seconds} s  {marks}",
        "mark_ready": "{port} ready",
        "mark_starting": "{port} starting",
        "mark_queued": "{port} queued",
        "all_ready": "✅ {count} instance(s) ready after {seconds:.0f} s: ports {ports}",
        "next_steps": "   ./check_vllm.sh shows them, ./stop_vllm.sh stops them",
        "fewer_instances": "ℹ {gpus} GPU(s) here: {instances} instance(s), not {wanted}; nothing starts on {ports}",
        "idle_gpus": "ℹ GPU {gpus} stay idle; more VLLM_PORTS make more instances",
        "demo": "⚠ tiny-random: a tiny model with random weights, to try the whole chain. Its verdicts are noise.",
        "making_model": "  writing the tiny model to {path} (about 5 s)",
        "draining": "… waiting up to {seconds:.0f} s for {requests} requests in flight",
        "drain_over": "  {requests} requests still in flight after {seconds:.0f} s; ending the servers anyway",
        "killing": "  port {port}: killed {count} processes that did not end by themselves",
        "stopping": "■ stopping the servers on ports {ports}",
        "stopped": "✅ stopped",
        "nothing_to_stop": "Nothing to stop: no server started by these scripts is running (pid files: {folder})",
        "left_running": "ℹ port {port} still answers: a server that these scripts did not start; left running",
        "elsewhere": "ℹ {setting} names servers elsewhere: they are asked, none is started here",
        "columns": "PORT|GPUS|PID|STATE|MODEL|RUNNING|WAITING|KV USE",
        "state_ready": "ready",
        "state_starting": "starting",
        "state_dead": "dead",
        "state_foreign": "foreign",
        "state_down": "down",
        "not_ours": "(not ours)",
    },
    "zh": {
        "already_ready": "✓ 端口 {port}: 已在运行，模型 {model}",
        "foreign_used": "✓ 端口 {port}: 已有服务在应答（{model}），并非由本脚本启动；直接使用，结束后保持运行",
        "other_settings": "  端口 {port} 的运行参数与当前设置不同；要生效请先 ./stop_vllm.sh",
        "already_starting": "… 端口 {port}: 另一次启动正在进行 (pid {pid})，等待其就绪",
        "launched": "▶ 实例 {number}: 端口 {port}，{place}，pid {pid}，日志 {log}",
        "orphans": "  端口 {port}: 上次的服务已死，残留 {count} 个进程，先行清理",
        "progress": "⏳ {seconds} 秒  {marks}",
        "mark_ready": "{port} 就绪",
        "mark_starting": "{port} 启动中",
        "mark_queued": "{port} 排队",
        "all_ready": "✅ {count} 个实例就绪，用时 {seconds:.0f} 秒: 端口 {ports}",
        "next_steps": "   ./check_vllm.sh 查看状态，./stop_vllm.sh 停止",
        "fewer_instances": "ℹ 可用 GPU {gpus} 张: 启动 {instances} 个实例（而非 {wanted} 个）；端口 {ports} 不启动",
        "idle_gpus": "ℹ GPU {gpus} 空闲；在 VLLM_PORTS 中增加端口即可增加实例",
        "demo": "⚠ tiny-random: 微型随机权重模型，仅用于试跑全流程，其评判结果只是噪声，没有意义。",
        "making_model": "  正在生成微型模型 {path}（约 5 秒）",
        "draining": "… 等待 {requests} 个进行中的请求，最多 {seconds:.0f} 秒",
        "drain_over": "  {seconds:.0f} 秒后仍有 {requests} 个请求未完成；仍然停止服务",
        "killing": "  端口 {port}: 强制结束了 {count} 个未自行退出的进程",
        "stopping": "■ 正在停止端口 {ports} 的服务",
        "stopped": "✅ 已停止",
        "nothing_to_stop": "无需停止: 没有由本脚本启动的服务在运行（pid 文件目录: {folder}）",
        "left_running": "ℹ 端口 {port} 仍有服务应答: 并非由本脚本启动，保持运行",
        "elsewhere": "ℹ {setting} 指向其他地址的服务: 直接使用，本机不启动新服务",
        "columns": "端口|GPU|PID|状态|模型|运行|等待|KV 占用",
        "state_ready": "就绪",
        "state_starting": "启动中",
        "state_dead": "已死",
        "state_foreign": "被占用",
        "state_down": "未启动",
        "not_ours": "(外部)",
    },
}


class Console:
    """Says sentences of the catalogue in one language. On a terminal progress rewrites one line."""

    def __init__(self, lang: Lang, stream: IO[str]) -> None:
        self.lang = lang
        self._stream = stream
        self._texts = TEXTS[lang]
        self._on_terminal = stream.isatty()
        self._line_open = False
        self._said: tuple[dict[int, Mark], float] = ({}, float("-inf"))

    def say(self, key: str, **values: object) -> None:
        self.end_progress()
        print(self._texts[key].format(**values), file=self._stream, flush=True)

    def progress(self, seconds: float, marks: Mapping[int, Mark]) -> None:
        """Say how far a start is. Without a terminal: when something changed, and every 30 s."""
        words = " · ".join(self._texts["mark_" + mark].format(port=port) for port, mark in marks.items())
        line = self._texts["progress"].format(seconds=f"{seconds:.0f}", marks=words)
        if self._on_terminal:
            print(f"\r{line}\x1b[K", end="", file=self._stream, flush=True)
            self._line_open = True
        elif marks != self._said[0] or time.monotonic() - self._said[1] > QUIET_PROGRESS_S:
            self._said = (dict(marks), time.monotonic())
            print(line, file=self._stream, flush=True)

    def end_progress(self) -> None:
        if self._line_open:
            print(file=self._stream, flush=True)
            self._line_open = False


class _Silent(Console):
    """For callers that want no words: private fleets, tests."""

    def __init__(self) -> None:
        super().__init__("en", sys.stderr)

    def say(self, key: str, **values: object) -> None:
        return

    def progress(self, seconds: float, marks: Mapping[int, Mark]) -> None:
        return


SILENT: Console = _Silent()
