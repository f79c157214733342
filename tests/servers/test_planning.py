"""What is planned for which machine: pure decisions, tried on machines that nobody has."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.errors import UsageError
from analyze.servers import DEMO_MODEL_NAME, Gpu, ServerSettings, plan, server_settings
from analyze.servers.planning import group_gpus
from analyze.servers.settings import PRESETS_FOLDER, SEED_MODEL, read_preset, read_presets
from analyze.servers.starting import waves


def gpus(count: int, gib: float = 80) -> list[Gpu]:
    return [Gpu(str(index), "NVIDIA Test", gib, f"GPU-{index:04}") for index in range(count)]


ports = st.lists(st.integers(1024, 65535), min_size=1, max_size=8, unique=True).map(tuple)


@given(count=st.integers(1, 16), ports=ports, size=st.none() | st.integers(1, 8))
def test_every_instance_has_a_port_and_gpus_of_its_own(count: int, ports: tuple[int, ...], size: int | None) -> None:
    settings = ServerSettings(model="m", ports=ports, tensor_parallel_size=size)
    if size and size > count:
        with pytest.raises(UsageError, match=f"TENSOR_PARALLEL_SIZE={size}"):
            plan(settings, gpus(count))
        return

    specs = plan(settings, gpus(count)).specs

    each = size or min(2, count)
    assert len(specs) == min(len(ports), count // each)
    used = [gpu for spec in specs for gpu in spec.gpus]
    assert len(used) == len(set(used)) == each * len(specs)
    assert [spec.port for spec in specs] == list(ports[: len(specs)])
    assert len({spec.pid_file for spec in specs}) == len({spec.log for spec in specs}) == len(specs)


@given(count=st.integers(1, 16), ports=ports)
def test_ports_and_gpus_that_stay_idle_are_always_said(count: int, ports: tuple[int, ...]) -> None:
    groups, notes = group_gpus(ServerSettings(ports=ports), gpus(count))

    said = {note.key: note.values for note in notes}
    assert ("fewer_instances" in said) == (len(groups) < len(ports))
    idle = count - sum(len(group) for group in groups)
    assert len(str(said.get("idle_gpus", {}).get("gpus", "")).split(",")) == (idle or 1)


@given(count=st.integers(0, 12), on_gpu=st.booleans())
def test_waves_hold_each_server_once_in_order_and_never_start_many_cold(count: int, on_gpu: bool) -> None:
    settings = ServerSettings(model="m", ports=tuple(range(9000, 9000 + count)), device="auto" if on_gpu else "cpu")
    specs = plan(settings, gpus(2 * count) if on_gpu else []).specs if count else ()

    in_waves = waves(specs)

    assert [spec for wave in in_waves for spec in wave] == list(specs)
    assert all(len(wave) <= 2 for wave in in_waves) or on_gpu
    assert not on_gpu or not count or len(in_waves[0]) == 1


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=4), min_size=1, max_size=6))
def test_gpu_groups_are_read_as_written(groups: list[list[int]]) -> None:
    text = " ".join(",".join(map(str, group)) for group in groups)
    flat = [gpu for group in groups for gpu in group]
    if len(set(flat)) < len(flat):
        with pytest.raises(UsageError, match="twice"):
            server_settings({"GPU_GROUPS": text})
    else:
        assert server_settings({"GPU_GROUPS": text}).gpu_groups == tuple(tuple(map(str, group)) for group in groups)


@given(st.lists(st.text(min_size=1), max_size=4))
def test_the_shown_command_splits_back_into_the_exact_arguments(extra: list[str]) -> None:
    settings = ServerSettings(model="my model", extra_args=tuple(extra), api_key="s3cret")

    spec = plan(settings, gpus(2)).specs[0]

    parts = shlex.split(spec.command)
    assert tuple(parts[len(spec.env) :]) == spec.argv
    assert "s3cret" not in spec.command and "VLLM_API_KEY=$VLLM_API_KEY" in parts


def test_named_groups_use_indexes_or_uuids_and_their_size_is_the_tensor_parallelism() -> None:
    settings = server_settings({"MODEL": "m", "GPU_GROUPS": "6,7,4,5 GPU-0001", "VLLM_PORTS": "9001,9002"})

    first, second = plan(settings, gpus(8)).specs

    assert first.env["CUDA_VISIBLE_DEVICES"] == "6,7,4,5" and second.env["CUDA_VISIBLE_DEVICES"] == "1"
    assert first.argv[first.argv.index("--tensor-parallel-size") + 1] == "4"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"GPU_GROUPS": "0,9"}, "no GPU 9 here"),
        ({"GPU_GROUPS": "0 1 2", "VLLM_PORTS": "9001"}, "makes 3 instances, VLLM_PORTS names 1"),
        ({"GPU_GROUPS": "0,1", "TENSOR_PARALLEL_SIZE": "4"}, "does not match"),
        ({"GPU_GROUPS": "0,0"}, "twice"),
        ({"MAX_NUM_SEQS": "six"}, "MAX_NUM_SEQS='six'"),
        ({"MAX_MODEL_LEN": "0"}, "MAX_MODEL_LEN='0'"),
        ({"GPU_MEMORY_UTILIZATION": "96"}, "GPU_MEMORY_UTILIZATION='96'"),
        ({"VLLM_EXTRA_ARGS": "--a 'b"}, "VLLM_EXTRA_ARGS"),
        ({"VLLM_DEVICE": "tpu"}, "VLLM_DEVICE='tpu'"),
        ({"VLLM_PORTS": "8001,x"}, "VLLM_PORTS"),
        ({"VLLM_PRESET": "none-such"}, "none-such"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name(environ: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        plan(server_settings({"MODEL": "m"} | environ), gpus(4))
    assert error.value.cure


def test_without_any_card_the_tiny_model_is_served_on_the_cpu() -> None:
    made = plan(ServerSettings(log_dir=Path("logs")), [])

    assert made.demo_model is not None and all(spec.demo and spec.model == DEMO_MODEL_NAME for spec in made.specs)
    assert [spec.port for spec in made.specs] == [8001, 8002, 8003, 8004]
    assert made.specs[0].env["HF_HUB_OFFLINE"] == "1"


def test_a_real_model_on_the_cpu_is_not_the_demo_and_may_be_downloaded() -> None:
    made = plan(ServerSettings(model="org/model", device="cpu", ports=(9001,)), [])

    assert made.demo_model is None and not made.specs[0].demo and made.specs[0].model == "org/model"
    assert "HF_HUB_OFFLINE" not in made.specs[0].env and "--served-model-name" not in made.specs[0].argv


def test_the_seeds_model_is_served_where_it_is_and_fits() -> None:
    assert plan(ServerSettings(), gpus(8), exists=lambda path: True).specs[0].model == SEED_MODEL

    with pytest.raises(UsageError, match="is not here") as absent:
        plan(ServerSettings(), gpus(8), presets=read_presets(), exists=lambda path: False)
    assert "qwen3-30b-a3b" in str(absent.value)
    with pytest.raises(UsageError, match="needs 70 GiB"):
        plan(ServerSettings(), gpus(8, gib=24), exists=lambda path: True)


def test_a_preset_that_needs_more_memory_than_there_is_names_those_that_fit() -> None:
    settings = server_settings({"VLLM_PRESET": "qwen3-30b-a3b-fp8"})

    with pytest.raises(UsageError, match="needs 40 GiB of GPU memory an instance; 24 GiB") as error:
        plan(settings, gpus(2, gib=24), presets=read_presets())
    assert "qwen2.5-coder-7b" in str(error.value)


@pytest.mark.parametrize("path", sorted(PRESETS_FOLDER.glob("*.env")), ids=lambda path: path.stem)
def test_every_preset_makes_a_plan_on_a_machine_it_fits(path: Path) -> None:
    preset = read_preset(path.stem)

    made = plan(server_settings({"VLLM_PRESET": path.stem}), gpus(8, gib=max(24, preset.gpu_memory_gib)))

    assert made.specs and made.specs[0].model == preset.values.get("MODEL", DEMO_MODEL_NAME)


def test_the_environment_wins_over_the_preset_and_an_empty_variable_counts_as_unset() -> None:
    settings = server_settings({"VLLM_PRESET": "qwen3-4b", "MODEL": "mine", "TENSOR_PARALLEL_SIZE": ""})

    assert settings.model == "mine" and settings.tensor_parallel_size == 1


def test_one_server_is_planned_where_several_are_not_wanted() -> None:
    assert server_settings({"USE_MULTI_VLLM": "false", "VLLM_PORTS": "9001,9002"}).ports == (9001,)


@pytest.mark.parametrize("asked", [{"TENSOR_PARALLEL_SIZE": "3"}, {"GPU_GROUPS": "0,1,2", "TENSOR_PARALLEL_SIZE": "3"}])
def test_gpus_that_do_not_divide_the_heads_are_refused_and_told_what_works(asked: dict[str, str]) -> None:
    settings = server_settings({"VLLM_PRESET": "qwen2.5-vl-32b-awq"} | asked)

    with pytest.raises(UsageError, match="40 attention heads, which 3 GPUs cannot share equally") as error:
        plan(settings, gpus(3, gib=24), heads=lambda model: None)

    assert "1, 2, 4, 5, 8, 10" in str(error.value) and "TENSOR_PARALLEL_SIZE=2" in (error.value.cure or "")


def test_three_gpus_serve_the_annotating_model_on_two_of_them_and_say_so() -> None:
    made = plan(server_settings({"VLLM_PRESET": "presets/qwen2.5-vl-32b-awq.env"}), gpus(3, gib=24))

    (spec,) = made.specs
    assert spec.port == 8000 and spec.gpus == ("0", "1") and "awq" in spec.argv
    assert "--trust-remote-code" not in spec.argv
    assert [note.key for note in made.notes] == ["idle_gpus"]


def test_the_seeds_variables_name_the_model_and_code_of_its_own_runs_only_where_it_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"text_config": {"num_attention_heads": 28}}')
    environ = {"VLLM_PRESET": "qwen2.5-vl-32b-awq", "MODEL_PATH": str(tmp_path), "TRUST_REMOTE_CODE": "1"}

    (spec,) = plan(server_settings(environ), gpus(2, gib=24)).specs

    assert spec.model == str(tmp_path) and "--trust-remote-code" in spec.argv
    with pytest.raises(UsageError, match="28 attention heads"):
        plan(server_settings(environ | {"TENSOR_PARALLEL_SIZE": "8"}), gpus(8, gib=24))
