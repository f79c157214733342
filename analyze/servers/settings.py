"""What the servers are asked to be: the settings of the scripts, read once from the environment, and the presets.

An environment variable wins over the preset, the preset over the default. Knows nothing of hardware or processes.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from analyze import settings as words
from analyze.errors import UsageError

SEED_MODEL = "/var/shared/models/Qwen3-30B-A3B-Instruct-2507"
SEED_MODEL_GPU_MEMORY_GIB = 70
"""What one instance of the seed's model needs: 61 GB of bf16 weights, the rest for a few 8192-token sequences."""

PRESETS_FOLDER = Path(__file__).resolve().parents[2] / "presets"
LOCAL_VARIABLES = frozenset(
    f"VLLM_{name}" for name in ("PORTS", "HOST", "BIND", "EXTRA_ARGS", "PRESET", "DEVICE", "LOG_DIR", "ENDPOINTS")
)
"""Ours, though they begin like vLLM's own: vLLM warns about each one it does not know, so servers do not get them."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """One value a setting; None where it is left to us. Times are seconds."""

    model: str | None = None
    ports: tuple[int, ...] = (8001, 8002, 8003, 8004)
    gpu_groups: tuple[tuple[str, ...], ...] = ()
    tensor_parallel_size: int | None = None
    gpu_memory_needed_gib: float | None = None
    attention_heads: int | None = None  # of the preset's own model
    max_num_seqs: int = 6
    gpu_memory_utilization: float = 0.96
    max_model_len: int = 8192
    extra_args: tuple[str, ...] = ()
    trust_remote_code: bool = False
    bind: str = "127.0.0.1"
    device: str = "auto"
    api_key: str | None = None
    log_dir: Path = Path("vllm_logs")
    startup_timeout_s: float | None = None
    drain_timeout_s: float = 30.0
    shutdown_timeout_s: int = 30

    @property
    def host(self) -> str:
        """The address to ask a server at, from this machine."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.bind, self.bind)


def server_settings(environ: Mapping[str, str]) -> ServerSettings:
    """Read the settings. Raises UsageError naming the variable, its value and what it may be."""
    given = {name: value for name, value in environ.items() if value}
    if "MODEL_PATH" in given:
        given = {"MODEL": given["MODEL_PATH"], **given}
    values = _with_preset(given)
    ports = words.ports(values.get("VLLM_PORTS", words.DEFAULT_PORTS))
    multi = words.Settings([words.USE_MULTI_VLLM], environ=values).flag(words.USE_MULTI_VLLM)
    api_key = values.get("VLLM_API_KEY", words.DEFAULT_API_KEY)
    return ServerSettings(
        model=values.get("MODEL"),
        ports=ports if multi else ports[:1],
        gpu_groups=_gpu_groups(values.get("GPU_GROUPS", "")),
        tensor_parallel_size=_number(values, "TENSOR_PARALLEL_SIZE"),
        gpu_memory_needed_gib=_number(values, "GPU_MEMORY_NEEDED_GIB", least=0),
        attention_heads=_heads_of_preset(values),
        max_num_seqs=_number(values, "MAX_NUM_SEQS") or 6,
        gpu_memory_utilization=_share(values, "GPU_MEMORY_UTILIZATION", 0.96),
        max_model_len=_number(values, "MAX_MODEL_LEN") or 8192,
        extra_args=_words_of(values, "VLLM_EXTRA_ARGS"),
        trust_remote_code=_one_of(values, "TRUST_REMOTE_CODE", ("0", "1", "false", "true")) in ("1", "true"),
        bind=values.get("VLLM_BIND", "127.0.0.1"),
        device=_one_of(values, "VLLM_DEVICE", ("auto", "cpu", "cuda")),
        api_key=None if api_key == words.DEFAULT_API_KEY else api_key,
        log_dir=Path(values.get("VLLM_LOG_DIR", "vllm_logs")),
        startup_timeout_s=_number(values, "STARTUP_TIMEOUT_S"),
        drain_timeout_s=_number(values, "DRAIN_TIMEOUT_S", least=0, default=30) or 0,
    )


@dataclass(frozen=True, slots=True)
class Preset:
    """A file of `presets/`. `gpu_memory_gib` is what one instance needs, all its GPUs together; 0 on the CPU."""

    name: str
    values: Mapping[str, str]

    @property
    def gpu_memory_gib(self) -> float:
        return float(self.values.get("GPU_MEMORY_NEEDED_GIB", "0"))

    @property
    def gpus(self) -> int:
        return int(self.values.get("TENSOR_PARALLEL_SIZE", "1"))


def read_preset(name: str, folder: Path = PRESETS_FOLDER) -> Preset:
    """Read preset `name`, or the file of that path. Raises UsageError listing the presets where there is none."""
    path = Path(name) if name.endswith(".env") else folder / f"{name}.env"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.env"))) or "none"
        raise UsageError(f"VLLM_PRESET={name!r}: {path} cannot be read", cure=f"presets here: {known}") from error
    lines = (line.strip() for line in text.splitlines())
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return Preset(path.stem, {key.strip(): value.strip() for key, _, value in pairs})


def read_presets(folder: Path = PRESETS_FOLDER) -> list[Preset]:
    """Return all presets, the neediest first."""
    presets = [read_preset(str(file)) for file in sorted(folder.glob("*.env"))]
    return sorted(presets, key=lambda preset: -preset.gpu_memory_gib)


def _with_preset(environ: Mapping[str, str]) -> Mapping[str, str]:
    name = environ.get("VLLM_PRESET")
    return {**read_preset(name).values, **environ} if name else environ


def _heads_of_preset(values: Mapping[str, str]) -> int | None:
    """Return what a preset says of its model, where that is the one to be served."""
    preset = read_preset(values["VLLM_PRESET"]).values if "VLLM_PRESET" in values else {}
    return _number(preset, "ATTENTION_HEADS") if preset.get("MODEL") == values.get("MODEL") else None


def _gpu_groups(text: str) -> tuple[tuple[str, ...], ...]:
    """Read `0,1 2,3`: groups apart by blanks, GPUs (indexes or UUIDs) by commas."""
    groups = tuple(tuple(filter(None, group.split(","))) for group in text.split())
    named = [gpu for group in groups for gpu in group]
    if len(set(named)) < len(named) or not all(groups):
        raise UsageError(
            f"GPU_GROUPS={text!r} names a GPU twice, or none in a group", cure='GPU_GROUPS="0,1 2,3 4,5 6,7"'
        )
    return groups


def _number(values: Mapping[str, str], name: str, *, least: int = 1, default: int | None = None) -> int | None:
    text = values.get(name)
    if text is None:
        return default
    if not text.isdecimal() or int(text) < least:
        raise UsageError(f"{name}={text!r} is no whole number from {least} up", cure=f"unset {name} for the default")
    return int(text)


def _share(values: Mapping[str, str], name: str, default: float) -> float:
    text = values.get(name, str(default))
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise UsageError(f"{name}={text!r} is no share between 0 and 1", cure=f"{name}={default}")
    return share


def _one_of(values: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = values.get(name, allowed[0])
    if value not in allowed:
        raise UsageError(f"{name}={value!r} is none of {', '.join(allowed)}", cure=f"{name}={allowed[0]}")
    return value


def _words_of(values: Mapping[str, str], name: str) -> tuple[str, ...]:
    text = values.get(name, "")
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(
            f"{name}={text!r} cannot be split into arguments: {error}", cure="balance its quotes"
        ) from error
