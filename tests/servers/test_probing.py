"""What is made of a server's answers: metrics, states, exit codes, the table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.lang import LANGS
from analyze.servers import InstanceState, Load, Seen, exit_code
from analyze.servers.checking import as_table
from analyze.servers.probing import parse_metrics, state_of
from analyze.servers.processes import Record
from analyze.servers.texts import TEXTS

RECORD = Record(1, "boot/1", 1, "127.0.0.1", 8001, (8001,), (), "m", ("vllm",), "log", started=1000.0)
VLLM = Seen(health=200, is_vllm=True, names=("m",))

counts = st.lists(st.integers(0, 10**6), min_size=1, max_size=3)


@given(running=counts, waiting=counts, kv=st.floats(0, 1))
def test_metrics_add_up_over_the_engines_of_a_server(running: list[int], waiting: list[int], kv: float) -> None:
    lines = [
        f'vllm:num_requests_running{{engine="{n}",model_name="a b}} 1"}} {float(v)}' for n, v in enumerate(running)
    ]
    lines += [f'vllm:num_requests_waiting{{engine="{n}"}} {float(value)}' for n, value in enumerate(waiting)]
    lines += [f"vllm:kv_cache_usage_perc {kv}", 'vllm:num_requests_waiting_by_reason{reason="capacity"} 99.0']

    load = parse_metrics("# HELP vllm:num_requests_running 5\n" + "\n".join(lines) + "\n")

    assert load is not None and (load.running, load.waiting) == (sum(running), sum(waiting))
    assert load.kv_used == pytest.approx(kv)


@given(st.text())
def test_text_that_is_no_metrics_is_no_load(text: str) -> None:
    assert parse_metrics(text) is None or "vllm:num_requests_running" in text


@pytest.mark.parametrize(
    ("record", "running", "seen", "age_s", "state"),
    [
        (RECORD, True, VLLM, 10, "ready"),
        (RECORD, True, Seen(), 10, "starting"),
        (RECORD, True, Seen(health=0), 10, "starting"),
        (RECORD, True, Seen(), 500, "dead"),  # silent for longer than a start may take
        (RECORD, True, Seen(health=503), 10, "dead"),  # vLLM's engine died
        (RECORD, False, Seen(), 10, "dead"),
        (RECORD, False, VLLM, 10, "ready"),  # somebody else's took the port
        (None, False, VLLM, 10, "ready"),
        (None, False, Seen(health=200), 10, "foreign"),
        (None, False, Seen(health=0), 10, "foreign"),
        (None, False, Seen(), 10, "down"),
    ],
)
def test_the_state_follows_from_pid_file_process_and_answer(
    record: Record | None, running: bool, seen: Seen, age_s: float, state: str
) -> None:
    assert state_of(record, running, seen, startup_timeout_s=300, now=1000.0 + age_s) == state


@given(st.lists(st.sampled_from(["ready", "starting", "dead", "foreign", "down"]), min_size=1, max_size=6))
def test_exit_code_is_0_for_all_3_for_none_1_for_some(words: list[str]) -> None:
    states = [replace(InstanceState(8001, "down"), state=word) for word in words]  # type: ignore[arg-type]  # sampled

    assert exit_code(states) == {len(words): 0, 0: 3}.get(words.count("ready"), 1)


def test_the_table_aligns_in_both_languages() -> None:
    states = [InstanceState(8001, "ready", True, 4242, ("0", "1"), "m", Load(1, 2, 0.5)), InstanceState(8002, "down")]

    english = as_table(states, "en").splitlines()
    assert english == [
        "PORT  GPUS  PID   STATE  MODEL  RUNNING  WAITING  KV USE",
        "8001  0,1   4242  ready  m      1        2        50.0%",
        "8002  —     —     down   —      —        —        —",
    ]
    assert as_table(states, "zh").splitlines()[1] == "8001  0,1  4242  就绪    m     1     2     50.0%"


def test_both_languages_say_the_same_things() -> None:
    english, chinese = (TEXTS[lang] for lang in LANGS)

    def fields(text: str) -> set[str]:
        return {part.split("}")[0].split(":")[0] for part in text.split("{")[1:]}

    assert english.keys() == chinese.keys()
    assert {key: fields(text) for key, text in english.items()} == {key: fields(text) for key, text in chinese.items()}
