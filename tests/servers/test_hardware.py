"""Which GPUs are seen, on machines played by a folder and a fake nvidia-smi."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyze.errors import UsageError
from analyze.servers import find_gpus

from .conftest import executable


def environ(folder: Path, smi: str | None = None, **more: str) -> dict[str, str]:
    if smi is not None:
        executable(folder / "bin/nvidia-smi", f"#!/bin/sh\n{smi}\n")
    return {"PATH": str(folder / "bin"), "ANALYZE_HARDWARE_ROOT": str(folder)} | more


LISTING = """echo '0, NVIDIA H200, 143771, GPU-aaaa-1'
echo '1, NVIDIA H200, 143771, GPU-bbbb-2'
echo '2, NVIDIA GB10, [N/A], GPU-cccc-3'"""


def test_a_machine_without_any_sign_has_no_gpus(tmp_path: Path) -> None:
    assert find_gpus(environ(tmp_path)) == []


def test_gpus_are_listed_with_their_memory_and_unknown_memory_counts_as_enough(tmp_path: Path) -> None:
    first, _, third = find_gpus(environ(tmp_path, LISTING))

    assert (first.index, first.name, round(first.memory_gib), first.uuid) == ("0", "NVIDIA H200", 140, "GPU-aaaa-1")
    assert third.memory_gib == float("inf")


@pytest.mark.parametrize(
    ("visible", "indexes"),
    [("1,0", ["1", "0"]), ("GPU-bbbb", ["1"]), ("2", ["2"]), ("0,7,1", ["0"]), (" 0 , 1 ", ["0", "1"])],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(tmp_path: Path, visible: str, indexes: list[str]) -> None:
    found = find_gpus(environ(tmp_path, LISTING, CUDA_VISIBLE_DEVICES=visible))

    assert [gpu.index for gpu in found] == indexes


@pytest.mark.parametrize("visible", ["", "-1", "9"])
def test_hiding_every_gpu_is_an_error_never_the_demo(tmp_path: Path, visible: str) -> None:
    with pytest.raises(UsageError, match="leaves none of the 3 GPUs"):
        find_gpus(environ(tmp_path, LISTING, CUDA_VISIBLE_DEVICES=visible))


def test_slices_of_a_gpu_are_named_as_what_cannot_be_given_to_a_server(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"names slices of a GPU \(MIG\)"):
        find_gpus(environ(tmp_path, LISTING, CUDA_VISIBLE_DEVICES="MIG-3f0d6c2e-1111-2222-3333-444455556666"))


@pytest.mark.parametrize(
    "smi",
    ["echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", "exit 0", "echo '0, x'; exit 9"],
)
def test_a_card_whose_tool_fails_is_an_error_that_repeats_what_it_said(tmp_path: Path, smi: str) -> None:
    with pytest.raises(UsageError, match="cannot be used") as error:
        find_gpus(environ(tmp_path, smi))
    assert "mismatch" not in smi or "version mismatch" in str(error.value)


@pytest.mark.parametrize("sign", ["dev/nvidia0", "dev/nvidiactl", "proc/driver/nvidia"])
def test_any_trace_of_a_driver_counts_as_a_card(tmp_path: Path, sign: str) -> None:
    (tmp_path / sign).parent.mkdir(parents=True)
    (tmp_path / sign).touch()

    with pytest.raises(UsageError, match="nvidia-smi is not on PATH"):
        find_gpus(environ(tmp_path))


@pytest.mark.parametrize(
    ("vendor", "kind", "is_card"),
    [
        ("0x10de", "0x030000", True),
        ("0x10de", "0x030200", True),
        ("0x10de", "0x040300", False),
        ("0x1002", "0x030000", False),
    ],
)
def test_on_the_pci_bus_only_nvidias_display_devices_count(
    tmp_path: Path, vendor: str, kind: str, is_card: bool
) -> None:
    device = tmp_path / "sys/bus/pci/devices/0000:01:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text(vendor + "\n")
    (device / "class").write_text(kind + "\n")

    if is_card:
        with pytest.raises(UsageError, match="on the PCI bus"):
            find_gpus(environ(tmp_path))
    else:
        assert find_gpus(environ(tmp_path)) == []
