"""What is read from bytes that may hold anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.fleet import Model
from analyze.server_replies import models_of, sample_of
from analyze.watch import Sample

METRICS = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 7.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 7.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:prompt_tokens_total{engine="0",model_name="m"} 1.5e+06
vllm:prompt_tokens_created{engine="0",model_name="m"} 1.7e+09
vllm:generation_tokens_total{engine="0",model_name="m"} 120.0
"""


def test_what_vllm_tells_is_summed_over_its_engines():
    assert sample_of(b"\n" + METRICS) == Sample(5, 7, (120.0, 1.5e6, 0.25), 0.25)


def test_of_several_engines_the_fullest_cache_counts_and_every_preemption():
    raw = METRICS + b'vllm:kv_cache_usage_perc{engine="1"} 0.75\nvllm:num_preemptions_total{engine="0"} 2.0\n'
    sample = sample_of(raw + b'vllm:num_preemptions_total{engine="1"} 3.0\n')
    assert sample is not None and (sample.kv_cache, sample.preempted) == (0.75, 5)


def test_the_cache_is_found_under_its_old_name_and_is_no_zero_where_it_is_no_number():
    running = b"vllm:num_requests_running 1\n"
    for name, value, told in ((b"gpu", b"0.5", 0.5), (b"kv", b"NaN", None), (b"none", b"1", None)):
        sample = sample_of(running + b"vllm:" + name + b"_cache_usage_perc " + value)
        assert sample is not None and sample.kv_cache == told


def test_a_first_line_without_a_comment_is_read_too():
    assert sample_of(b"vllm:num_requests_running 4\n") == Sample(4, 0, ())


def test_a_last_line_without_an_end_is_read_too():
    assert sample_of(b"# x\nvllm:num_requests_running 4") == Sample(4, 0, ())


@pytest.mark.parametrize("raw", [b"", b"process_cpu_seconds_total 1.0\n", b"<html>not found</html>"])
def test_a_server_that_is_no_vllm_tells_nothing(raw: bytes):
    assert sample_of(raw) is None


@pytest.mark.parametrize("value", [b"NaN", b"+Inf", b"-Inf", b"many", b""])
def test_a_value_that_is_no_number_counts_for_nothing(value: bytes):
    sample = sample_of(METRICS + b'vllm:generation_tokens_total{engine="1"} ' + value + b"\n")
    assert sample is not None and sample.moving[0] == 120.0


@given(st.binary())
def test_nothing_a_server_sends_as_metrics_is_an_error(raw: bytes):
    sample_of(b"\nvllm:num_requests_running " + raw)


def test_models_are_told_apart_by_where_their_weights_come_from():
    raw = b'{"data": [{"id": "b", "root": "/b", "max_model_len": 8}, {"id": "a"}]}'
    assert models_of(raw) == (Model("a"), Model("b", "/b", 8))


@given(st.binary())
def test_what_is_no_list_of_models_is_a_value_error(raw: bytes):
    with pytest.raises(ValueError, match="not what an OpenAI server says"):
        models_of(b"[" + raw)
