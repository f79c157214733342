"""Which NVIDIA GPUs there are to use. Looks at the machine; decides nothing.

`ANALYZE_HARDWARE_ROOT` (internal, for tests) is looked at instead of `/` for device files, so that any machine can be
played; `nvidia-smi` comes from PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from analyze.errors import UsageError

NVIDIA_SMI_TIMEOUT_S = 30.0  # without persistence mode the first call wakes the driver: up to 10 s on eight cards
NVIDIA_VENDOR = "0x10de"
DISPLAY_CLASS = "0x03"  # first digits of a PCI class: VGA and 3D controllers, not NVIDIA's audio or bridges


@dataclass(frozen=True, slots=True)
class Gpu:
    index: str
    name: str
    memory_gib: float
    uuid: str


def find_gpus(environ: Mapping[str, str]) -> list[Gpu]:
    """Return the GPUs that `nvidia-smi` lists and CUDA_VISIBLE_DEVICES allows, in the order of the latter.

    An empty list means no sign of a card. Raises UsageError where there are signs but no card can be used.
    """
    root = Path(environ.get("ANALYZE_HARDWARE_ROOT", "/"))
    tool = shutil.which("nvidia-smi", path=environ.get("PATH"))
    sign = f"{tool} is installed" if tool else nvidia_sign(root)
    if sign is None:
        return []
    gpus = _query(tool, sign, environ)
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    return gpus if visible is None else _visible(gpus, visible)


def nvidia_sign(root: Path) -> str | None:
    """Return what tells of an NVIDIA card under `root`, or None."""
    for path in sorted(root.glob("dev/nvidia*")) + sorted(root.glob("proc/driver/nvidia")):
        return f"{path} is there"
    for vendor in sorted(root.glob("sys/bus/pci/devices/*/vendor")):
        if _line(vendor) == NVIDIA_VENDOR and _line(vendor.with_name("class")).startswith(DISPLAY_CLASS):
            return f"{vendor.parent.name} on the PCI bus is an NVIDIA card"
    return None


def _query(tool: str | None, sign: str, environ: Mapping[str, str]) -> list[Gpu]:
    if tool is None:
        raise _unusable(sign, "nvidia-smi is not on PATH")
    command = [tool, "--query-gpu=index,name,memory.total,uuid", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT_S, env=dict(environ), check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unusable(sign, f"it did not answer: {error}") from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip() or "nothing"
        raise _unusable(sign, f"it ended with {done.returncode} and said: {said}")
    gpus = [_gpu(line) for line in done.stdout.splitlines() if line.strip()]
    if not gpus:
        raise _unusable(sign, "it lists no GPU")
    return gpus


def _gpu(line: str) -> Gpu:
    index, name, memory_mib, uuid = (part.strip() for part in line.split(",", 3))
    # "[N/A]" on cards that share the machine's own memory (Grace, Jetson): unknown, so nothing is said to not fit.
    memory_gib = float(memory_mib) / 1024 if memory_mib.replace(".", "").isdecimal() else float("inf")
    return Gpu(index, name, memory_gib, uuid)


def _visible(gpus: list[Gpu], visible: str) -> list[Gpu]:
    """Pick as CUDA does: by index or by the beginning of a UUID; the first unknown one ends the list."""
    chosen: list[Gpu] = []
    for token in (part.strip() for part in visible.split(",")):
        match = [gpu for gpu in gpus if token == gpu.index or (token.startswith("GPU-") and gpu.uuid.startswith(token))]
        if len(match) != 1 or match[0] in chosen:
            break
        chosen.append(match[0])
    if not chosen and "MIG-" in visible:
        raise UsageError(
            f"CUDA_VISIBLE_DEVICES={visible!r} names slices of a GPU (MIG), which servers started here cannot be given",
            cure="give whole GPUs; or start a server on each slice yourself, and give their addresses",
        )
    if not chosen:
        raise UsageError(
            f"CUDA_VISIBLE_DEVICES={visible!r} leaves none of the {len(gpus)} GPUs here",
            cure="unset CUDA_VISIBLE_DEVICES, or VLLM_DEVICE=cpu for servers on the CPU",
        )
    return chosen


def _unusable(sign: str, trouble: str) -> UsageError:
    return UsageError(
        f"an NVIDIA card seems to be here ({sign}) but cannot be used: {trouble}",
        cure="make `nvidia-smi` work (was the driver updated? reboot), or VLLM_DEVICE=cpu for servers on the CPU",
    )


def _line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0))
