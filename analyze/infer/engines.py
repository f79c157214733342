"""Who answers: servers that run, servers of our own on W x P GPUs, or W processes with transformers.

Arithmetic of GPUs is done before anything is started. Knows no task and no row.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from analyze.console import printable
from analyze.errors import ServerError, UsageError
from analyze.infer.workers import WorkersAsker, WorkerSpec
from analyze.lang import Lang
from analyze.runs.askers import ClientAsker, FleetAsker, connected_asker
from analyze.servers.hardware import Gpu, cpus, find_gpus
from analyze.servers.private import PrivateFleet, write_tiny_model
from analyze.servers.settings import ServerSettings
from analyze.servers.texts import Console
from analyze.tiny_model import DEMO_MODEL_NAME, folder_name

if TYPE_CHECKING:
    from analyze.hf import Device

ModelType = Literal["vllm", "hf", "server"]

DEFAULTS = {"gpu_memory_utilization": 0.9, "max_num_seqs": 256, "max_model_len": 8192}

TEXTS: dict[Lang, dict[str, str]] = {
    "en": {
        "fleet": "starting {count} server(s) of our own, {gpus} GPU(s) each ({logs})",
        "fleet_cpu": "starting {count} server(s) of our own on the CPU ({logs})",
        "workers": "starting {count} worker(s) with transformers on {device} ({logs})",
        "loaded": "{count} worker(s) ready: {batch} rows at a time each; prompt and answer: {context:,} tokens at most",
        "died": "the server on port {port} died; it is started again",
        "back": "the server on port {port} is back",
        "stays": "the server on port {port} died again, and is not started a second time",
        "problem": "the server on port {port} could not be started again: {problem}",
        "demo": "⚠️  the tiny random model answers: what it says is noise, good for trying things out and nothing else",
    },
    "zh": {
        "fleet": "正在启动 {count} 个自有服务器，每个 {gpus} 张 GPU（{logs}）",
        "fleet_cpu": "正在 CPU 上启动 {count} 个自有服务器（{logs}）",
        "workers": "正在用 transformers 启动 {count} 个工作进程，设备 {device}（{logs}）",
        "loaded": "{count} 个工作进程就绪: 每个每批 {batch} 行；提示与回答合计最多 {context:,} 个 token",
        "died": "端口 {port} 的服务器已退出，正在重新启动",
        "back": "端口 {port} 的服务器已恢复",
        "stays": "端口 {port} 的服务器再次退出，不再重新启动",
        "problem": "端口 {port} 的服务器未能重新启动: {problem}",
        "demo": "⚠️  回答来自微型随机模型: 内容只是噪声，仅供试跑",
    },
}


Answering = FleetAsker | ClientAsker | WorkersAsker


@dataclass(frozen=True, slots=True)
class Engine:
    """What is to answer. `urls`: servers that run; None: what is started here, `workers` of `tensor_parallel_size`."""

    model_type: ModelType
    model: str | None
    urls: tuple[str, ...] | None
    api_key: str
    workers: int
    tensor_parallel_size: int
    use_cpu: bool
    gpu_memory_utilization: float | None
    max_num_seqs: int | None
    max_model_len: int | None
    logs: Path

    @property
    def kind(self) -> str:
        return "hf" if self.model_type == "hf" else "fleet"

    def check(self, environ: Mapping[str, str]) -> None:
        """Raise UsageError where what is to be started cannot be, for lack of GPUs."""
        if self.urls is not None or self.is_on_cpu(environ):
            return
        gpus = find_gpus(environ)
        if not gpus:
            here = environ.get("CUDA_VISIBLE_DEVICES")
            seen = "" if here is None else f" (CUDA_VISIBLE_DEVICES={here!r})"
            raise UsageError(
                f"--model_type {self.model_type} needs a GPU, and there is no sign of one here{seen}",
                cure="--model_type hf --use_cpu; or VLLM_DEVICE=cpu for vLLM on the CPU",
            )
        needed = self.workers * self.tensor_parallel_size
        if needed > len(gpus):
            raise UsageError(
                f"workers * tensor_parallel_size = {self.workers} * {self.tensor_parallel_size} = {needed} GPUs, "
                f"but {len(gpus)} can be used here ({told_gpus(gpus, environ)})",
                cure=_fewer(len(gpus), self.tensor_parallel_size),
            )

    def is_on_cpu(self, environ: Mapping[str, str]) -> bool:
        """Whether what is started here is to be on the CPU, as asked; the tiny model is wherever there is no GPU."""
        asked = self.use_cpu or environ.get("VLLM_DEVICE") == "cpu"
        return asked or (self.model == DEMO_MODEL_NAME and not find_gpus(environ))

    def fleet(self, lang: Lang) -> PrivateFleet | None:
        """Return the servers that are to be started here; None where none is."""
        if self.model_type != "vllm" or self.urls is not None:
            return None
        chosen: dict[str, Any] = {name: getattr(self, name) or DEFAULTS[name] for name in DEFAULTS}
        is_on_cpu, is_demo = self.is_on_cpu(os.environ), self.model == DEMO_MODEL_NAME
        settings = ServerSettings(
            **chosen,
            model=self.model,
            tensor_parallel_size=self.tensor_parallel_size,
            device="cpu" if is_on_cpu else "auto",
            log_dir=self.logs,
        )
        if is_demo and is_on_cpu:
            settings = replace(settings, model=None)  # the servers of the scripts have it as their own demo
        elif is_demo:
            served = ("--served-model-name", DEMO_MODEL_NAME)
            settings = replace(settings, model=str(self._tiny_model), extra_args=served)
        return PrivateFleet(settings, Console(lang, sys.stdout), instances=self.workers)

    async def asker(self, fleet: PrivateFleet | None, lang: Lang, in_flight: int | None) -> Answering:
        """Return who is asked, once it is up. Raises NoServerError, UsageError, ServerError."""
        asker: Answering
        if self.model_type == "hf":
            asker = await self._workers(lang, in_flight)
        elif fleet is not None:
            asker = await self._own_servers(fleet, lang, in_flight)
        else:
            asker = await connected_asker(urls=self.urls, api_key=self.api_key, model=self.model, in_flight=in_flight)
        if asker.model == DEMO_MODEL_NAME:
            print(TEXTS[lang]["demo"], flush=True)
        return asker

    @property
    def _tiny_model(self) -> Path:
        return (self.logs / folder_name()).absolute()

    async def _write_tiny_model(self, lang: Lang) -> None:
        await asyncio.to_thread(write_tiny_model, self._tiny_model, Console(lang, sys.stdout))

    async def _own_servers(self, fleet: PrivateFleet, lang: Lang, in_flight: int | None) -> FleetAsker:
        told = {"count": self.workers, "gpus": self.tensor_parallel_size, "logs": self.logs}
        print(TEXTS[lang]["fleet_cpu" if self.is_on_cpu(os.environ) else "fleet"].format(**told), flush=True)
        if self.model == DEMO_MODEL_NAME:
            await self._write_tiny_model(lang)
        fleet.guard()
        urls = await _started(fleet)
        asker = KeptAlive(fleet, urls, api_key=self.api_key, in_flight=in_flight, lang=lang)
        try:
            await asker.connect()
        except BaseException:
            await asker.aclose()
            raise
        return asker

    async def _workers(self, lang: Lang, in_flight: int | None) -> WorkersAsker:
        texts = TEXTS[lang]
        device: Device = "cpu" if self.is_on_cpu(os.environ) else "cuda"
        print(texts["workers"].format(count=self.workers, device=device, logs=self.logs), flush=True)
        model, name = str(self.model), str(self.model)
        if self.model == DEMO_MODEL_NAME:
            model = str(self._tiny_model)
            await self._write_tiny_model(lang)
        told = {
            "model": model,
            "name": name,
            "device": device,
            "batch_size": self.max_num_seqs,
            "max_model_len": self.max_model_len,
        }
        gpus = find_gpus(os.environ) if device == "cuda" else []
        specs = [
            WorkerSpec(f"worker-{n + 1}", told, self._worker_env(n, gpus), self.logs / f"worker_{n + 1}.log")
            for n in range(self.workers)
        ]
        asker = WorkersAsker(specs, in_flight=in_flight, lang=lang)
        await asker.start()
        ready = asker.workers[0].ready
        said = texts["loaded"].format(count=len(specs), batch=ready["batch_size"], context=ready["context"])
        print(said, flush=True)
        return asker

    def _worker_env(self, number: int, gpus: Sequence[Gpu]) -> dict[str, str]:
        if gpus:
            return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": gpus[number].index}
        # As many threads as there are processors, each waiting for the others, take 20 times as long on a busy machine.
        threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cpus() // self.workers))
        return {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": threads}


def _fewer(gpus: int, tensor_parallel_size: int) -> str:
    """Return what would fit on so many GPUs."""
    if (workers := gpus // tensor_parallel_size) == 0:
        return f"--tensor_parallel_size {gpus}, or less"
    return f"--workers {workers}, or a smaller --tensor_parallel_size"


def told_gpus(gpus: Sequence[Gpu], environ: Mapping[str, str]) -> str:
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    return "GPU " + ",".join(gpu.index for gpu in gpus) if visible is None else f"CUDA_VISIBLE_DEVICES={visible}"


async def _started(fleet: PrivateFleet) -> list[str]:
    try:
        return await fleet.start()
    except ServerError as error:
        if "out of memory" not in error.message.lower() and "Free memory on device" not in error.message:
            raise
        cure = "take less of the GPU: --gpu_memory_utilization 0.7, or a smaller --max_num_seqs or --max_model_len"
        raise ServerError(error.message, cure=cure) from error


class KeptAlive(FleetAsker):
    """Servers of our own: while they are asked, one that dies is started again, once."""

    def __init__(self, fleet: PrivateFleet, urls: Sequence[str], *, api_key: str, in_flight: int | None, lang: Lang):
        super().__init__(urls, api_key=api_key, in_flight=in_flight)
        self._texts = TEXTS[lang]
        self._note: Callable[[str], None] = lambda text: print(printable(text), flush=True)
        self._keeping = asyncio.create_task(fleet.keep_alive(self._heard))

    def speak(self, say: Callable[[str], None], lang: Lang) -> None:
        self._note, self._texts = say, TEXTS[lang]
        super().speak(say, lang)

    def _heard(self, port: int, what: str) -> None:
        key = what if what in ("died", "back", "stays") else "problem"
        self._note(self._texts[key].format(port=port, problem=what))

    async def aclose(self) -> None:
        self._keeping.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeping
        await super().aclose()
