"""How replies are sampled: layers over layers, each recorded; what is not known is an error that names file and key."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.infer.sampling import BUILT_IN, Layer, Sampling
from tests.infer.conftest import TASK, Infer, questions

VALUES = st.dictionaries(st.sampled_from(["temperature", "top_p", "min_p"]), st.floats(0.01, 1))


@given(layers=st.lists(VALUES, max_size=4))
def test_of_each_value_the_highest_layer_that_has_it_holds_and_is_named(layers: list[dict[str, float]]) -> None:
    named = [Layer(str(number), values) for number, values in enumerate(layers)]
    sampling = Sampling((Layer("built-in", BUILT_IN), *named))
    for key, value in sampling.values.items():
        by = [layer for layer in sampling.layers if key in layer.values]
        assert (sampling.source(key), value) == (by[-1].name, by[-1].values[key])


def test_flags_win_over_the_task_and_the_task_over_the_default_and_all_is_sent_and_recorded(infer: Infer) -> None:
    infer.task(rows=questions(1), sampling_params__json='{"top_p": 0.8, "max_tokens": 40}')
    Path("configs/default_sampling_params.json").write_text('{"top_p": 0.5, "min_p": 0.1, "stop": ["x"]}')
    assert infer.run("--max_tokens", "30", "--temperature", "0.7").code == 0
    wanted = {**BUILT_IN, "min_p": 0.1, "stop": ["x"], "top_p": 0.8, "max_tokens": 30, "temperature": 0.7}
    assert {name: infer.bodies[0].get(name) for name in wanted} == wanted
    told = infer.json("args.json")
    assert told["sampling"] == wanted
    assert [layer["from"] for layer in told["sampling_layers"]] == [
        "built-in",
        "configs/default_sampling_params.json",
        "configs/mine/sampling_params.json",
        "flags",
    ]


def test_without_any_file_a_reply_may_be_longer_than_sixteen_tokens(infer: Infer) -> None:
    infer.task(TASK + "def format_prompt(org_data):\n    return org_data['question']\n", rows=questions(1))
    assert infer.run().code == 0
    assert infer.bodies[0]["prompt"] == "question 0" and infer.bodies[0]["max_tokens"] == 2048


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"max_new_token": 5}', "configs/mine/sampling_params.json: 'max_new_token' is no sampling parameter"),
        ('{"max_new_tokens": 5}', "→ write max_tokens"),
        ('{"temperature": "hot"}', "configs/mine/sampling_params.json: the sampling parameter temperature is 'hot'"),
        ('{"temperature": 3}', "it must be a number from 0 to 2"),
        ('{"top_p": 0}', "it must be a number above 0, up to 1"),
        ('{"max_tokens": 5, "min_tokens": 9}', "min_tokens is 9, more than max_tokens, which is 5"),
        ('{"stop": ["a", "b", "c", "d", "e"]}', "it must be a text, or a list of up to four"),
        ('{"n": 2}', "n is 2, but at temperature 0 all replies are the same"),
        ("[1]", "configs/mine/sampling_params.json: holds no object"),
        ("{", "configs/mine/sampling_params.json: no JSON"),
    ],
)
def test_what_cannot_be_a_sampling_parameter_is_refused_with_file_and_key(
    infer: Infer, content: str, told: str
) -> None:
    infer.task(rows=questions(1), sampling_params__json=content)
    ended = infer.run()
    assert ended.code == 2 and told in ended.err and infer.bodies == []


def test_what_transformers_cannot_grant_is_refused_unless_it_changes_nothing(infer: Infer) -> None:
    hf = ["--model_type", "hf", "--use_cpu", "--model_path", "no/such/model", "--output_path", "out"]
    infer.task(rows=questions(1), sampling_params__json='{"presence_penalty": 0.5}')
    ended = infer.typed(*hf, "--task_name", "mine")
    assert ended.code == 2 and "sampling_params.json: presence_penalty cannot be granted by" in ended.err
    infer.task(rows=questions(1), sampling_params__json='{"structured_outputs": {"json": {}}}')
    ended = infer.typed(*hf, "--task_name", "mine")
    assert ended.code == 2 and "the engine hf cannot grant structured_outputs.json" in ended.err
    infer.task(rows=questions(1), sampling_params__json='{"presence_penalty": 0.0, "seed": 3}')
    ended = infer.typed(*hf, "--task_name", "mine")
    assert ended.code == 2 and "sampling_params.json: seed cannot be granted by" in ended.err
