"""The last lines account for every row, and advise what the samples say beyond doubt."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.lang import LANGS, Lang
from analyze.records import FAILURE_KINDS, Answer, Failure
from analyze.runs.account import Account
from analyze.runs.amounts import clock, percent, short, span, width
from analyze.runs.ending import TEXTS, advice, last_lines, sum_line, table
from analyze.runs.tally import Part, Share, Tally, manifest_fields, tokens_of
from analyze.usage import Use

USE = Use(
    seconds=3600.0,
    idle_s=36.0,
    in_flight_mean=16.0,
    in_flight_most=18,
    observed_s=3550.0,
    running_mean=5.9,
    running_most=6,
    waiting_mean=8.0,
    waiting_most=12,
    kv_cache_mean=0.06,
    kv_cache_most=0.08,
    preempted=0,
)
SHARE = Share(answers=5000, prompt_tokens=2_000_000, completion_tokens=1_000_000, busy_s=57_000.0)
# Healthy: the KV cache is well used, a few wait, nobody is out.
WELL = replace(USE, running_mean=61.0, running_most=64, waiting_mean=9.0, kv_cache_mean=0.6, kv_cache_most=0.8)


def fleet_of(*uses: Use, share: Share = SHARE) -> list[Part]:
    return [Part(f"http://127.0.0.1:{8001 + n}/v1", share, use) for n, use in enumerate(uses)]


def test_every_row_of_the_input_is_in_the_last_line():
    failed = Counter({"invalid": 2, "too_long": 3, "server": 10, "schema": 1})
    account = Account(read=1_000_000, rejected=4, ok=999_900, before=12_000, failed=failed)
    assert sum_line(account, "en") == (
        "1,000,000 rows read: 999,900 ok (12,000 of them before), 5 invalid, 11 failed, 4 rejected, 80 left"
    )
    assert sum_line(account, "zh") == (
        "共读取 1,000,000 行: 成功 999,900（其中此前 12,000），无效 5，失败 11，拒收 4，剩余 80"
    )


@given(
    st.lists(st.integers(0, 10**6), min_size=3, max_size=3),
    st.dictionaries(st.sampled_from(FAILURE_KINDS), st.integers(0, 10**6)),
    st.sampled_from(LANGS),
)
def test_what_rows_have_come_to_adds_up(counts: list[int], failed: dict, lang: Lang):
    ok, rejected, left = counts
    read = ok + rejected + left + sum(failed.values())
    line = sum_line(Account(read=read, rejected=rejected, ok=ok, failed=Counter(failed)), lang)
    numbers = [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", line)]
    assert numbers[0] == numbers[1] + sum(numbers[3:]) == read


def test_a_run_that_was_stopped_says_that_there_is_more_and_a_shard_whose_the_rest_is():
    account = Account(read=100, ok=90, elsewhere=300)
    said = sum_line(account, "en", is_all_read=False)
    assert said.endswith("10 left, and the rows not read yet; 300 more belong to other shards")
    assert sum_line(account, "zh", is_all_read=False).endswith("剩余 10，另有尚未读取的行；另有 300 行属于其他分片")


def test_the_last_lines_say_what_each_server_did():
    tally = Tally()
    for n in range(400):
        body = {"usage": {"prompt_tokens": 300, "completion_tokens": 100}}
        tally.add(Answer(str(n), "0" * 64, body, f"http://10.0.0.1:{8001 + n % 4 // 3}/v1", 1, 2.0))
    for _ in range(3):
        tally.add(Failure("x", "0" * 64, "server", "HTTP 500", "http://10.0.0.1:8002/v1", 1))
    old = Use(seconds=40.0, idle_s=16.0)
    parts = tally.parts(
        {"http://10.0.0.1:8001/v1": replace(USE, seconds=40.0, idle_s=0.4), "http://10.0.0.1:8002/v1": old}
    )
    account = Account(read=403, ok=400, failed=Counter({"server": 3}))
    assert last_lines(account, tally, parts, 41.3, "en") == [
        "server: 3 failed, as x: HTTP 500",
        "server         answers  share  failed  tokens/s  running  waiting   KV  idle",
        "10.0.0.1:8001      300   75 %       0       750    5.9/6     8/12  8 %   1 %",
        "10.0.0.1:8002      100   25 %       3       250        –        –    –  40 %",
        "41 s: 9.8 requests/s; tokens: 120,000 in (2.9k/s), 40,000 out (969/s)",
        "403 rows read: 400 ok (0 of them before), 0 invalid, 3 failed, 0 rejected, 0 left",
    ]
    zh = last_lines(account, tally, parts, 41.3, "zh")
    assert zh[0] == "server: 3 行失败，如 x: HTTP 500"
    assert len({width(line) for line in zh[1:4]}) == 1, "columns stand below each other"
    assert zh[4] == "41 秒: 9.8 请求/秒；词元: 读入 120,000（2.9k/秒），写出 40,000（969/秒）"


def test_each_kind_of_failure_has_an_example_that_steers_no_terminal():
    tally = Tally()
    nasty = "\x1b[2J\u202e no\nsuch\r row" + "x" * 5000
    for row, kind, message in (("a", "server", "HTTP 500"), ("b\x1b[31m", "invalid", nasty), ("c", "invalid", "later")):
        tally.add(Failure(row, "0" * 64, kind, message, None, 1))
    first, second, *_ = last_lines(Account(read=3, failed=Counter(tally.failed)), tally, tally.parts(), 1.0, "en")
    assert first.startswith("invalid: 2 failed, as b\\x1b[31m: \\x1b[2J\\u202e no such row") and len(first) < 200
    assert second == "server: 1 failed, as a: HTTP 500"


def test_where_nothing_was_asked_only_the_rows_are_accounted_for():
    assert len(last_lines(Account(read=5, ok=5, before=5), Tally(), [], 0.1, "en")) == 1


def test_what_nobody_measured_is_a_dash_not_a_zero():
    silent = Part("http://h:1/v1", Share(answers=3, completion_tokens=9), None)
    assert table([silent], "en") == ["server  answers  share  failed", "h:1           3  100 %       0"]
    measured = Part("http://h:2/v1", Share(answers=1), USE)
    assert table([silent, measured], "en")[1].split()[-5:] == ["–"] * 5


# -- advice ------------------------------------------------------------------------------------------------------------


def test_a_run_that_went_well_is_left_alone():
    assert advice(fleet_of(WELL, WELL, WELL, WELL), "en") == []


def test_requests_that_wait_beside_an_empty_cache_ask_for_a_larger_batch():
    assert advice(fleet_of(USE, USE), "en") == [
        "faster next time: KV cache at most 8 % full, 8 requests waiting while 5.9 ran: "
        "raise MAX_NUM_SEQS from 6, to 64 say"
    ]
    (zh,) = advice(fleet_of(USE, USE), "zh")
    assert "MAX_NUM_SEQS" in zh and "64" in zh


@pytest.mark.parametrize(
    "doubt",
    [
        {"running_mean": 3.0},  # it comes and goes: work is missing, or prompts fill the steps
        {"waiting_mean": 0.4},  # nobody waits
        {"kv_cache_most": 0.7},  # a larger batch may not fit
        {"kv_cache_most": None},
        {"running_mean": None},
        {"observed_s": 20.0},
        {"seconds": 45.0},
    ],
    ids=str,
)
def test_in_doubt_nothing_is_advised(doubt: dict):
    assert advice(fleet_of(*[replace(USE, **doubt)] * 2), "en") == []


def test_where_prompts_are_the_work_a_larger_batch_is_not_advised():
    labels = Share(answers=50_000, prompt_tokens=100_000_000, completion_tokens=250_000)
    assert advice(fleet_of(USE, USE, share=labels), "en") == []


def test_one_server_without_room_speaks_against_a_larger_batch():
    assert advice(fleet_of(USE, WELL), "en") == []


def test_a_limit_of_the_users_own_is_named():
    held = replace(USE, in_flight_mean=2.0, running_mean=1.9, running_most=2, waiting_mean=0.0, kv_cache_most=0.03)
    (said,) = advice(fleet_of(*[held] * 4), "en", in_flight=8)
    assert said == (
        "faster next time: nothing waited at the servers, KV cache at most 3 % full: "
        "--in-flight 8 held them back; leave it out"
    )
    assert advice(fleet_of(*[held] * 4), "en", in_flight=64) == [], "the limit was not reached"
    assert advice(fleet_of(*[held] * 4), "en") == []


def test_a_full_cache_that_throws_requests_out_asks_for_a_smaller_batch_or_more_memory():
    thrashing = replace(WELL, kv_cache_most=1.0, preempted=4000, running_most=64)
    (said,) = advice(fleet_of(thrashing, WELL), "en")
    assert "started anew 4,000 times for 5,000 answers: lower MAX_NUM_SEQS (64 ran at most)" in said
    assert "GPU_MEMORY_UTILIZATION" in said
    assert advice(fleet_of(replace(thrashing, preempted=40), WELL), "en") == [], "now and then is as it should be"
    assert advice(fleet_of(replace(thrashing, preempted=None), WELL), "en") == []


def test_a_server_that_was_out_for_long_is_named_with_the_reason_made_harmless():
    out = replace(WELL, idle_s=1500.0, out_s=1440.0, is_out=True, reason="\x1b[2Jconnection refused")
    (said,) = advice(fleet_of(WELL, WELL, out), "en")
    assert said == (
        "faster next time: 127.0.0.1:8003 was out 40 % of the time: \\x1b[2Jconnection refused; look into its log"
    )
    assert advice(fleet_of(WELL, WELL, replace(out, out_s=100.0)), "en") == []


def test_a_server_half_as_fast_as_the_others_is_named():
    parts = fleet_of(WELL, WELL, WELL, WELL)
    parts[2] = replace(parts[2], share=replace(SHARE, answers=2400, completion_tokens=480_000))
    (said,) = advice(parts, "en")
    assert said == (
        "faster next time: 127.0.0.1:8003 was 0.48 times as fast as the others (135 against 281 tokens/s): "
        "look what else runs on its GPUs"
    )
    parts[2] = replace(parts[2], share=replace(SHARE, answers=4000, completion_tokens=800_000))
    assert advice(parts, "en") == []


def test_rows_that_are_too_long_are_asked_for_by_the_setting_that_lets_them_in():
    (said,) = advice(fleet_of(WELL), "en", too_long=1204)
    assert "1,204 rows are too long: raise MAX_MODEL_LEN" in said and "--retry-failed" in said
    assert advice(fleet_of(WELL), "en", too_long=3) == []


def test_the_two_most_valuable_pieces_come_first_and_no_third():
    out = replace(USE, idle_s=1500.0, out_s=1440.0, is_out=True, reason="connection refused")
    said = advice(fleet_of(USE, USE, out), "en", too_long=5000)
    assert ["MAX_NUM_SEQS" in said[0], "8003 was out" in said[1], len(said)] == [True, True, 2]


measures = st.none() | st.floats(0, 1e4)


@given(
    st.lists(
        st.builds(
            Part,
            url=st.just("http://h:1/v1"),
            share=st.builds(Share, *[st.integers(0, 10**9)] * 4, st.floats(0, 1e9)),
            use=st.none()
            | st.builds(
                Use,
                seconds=st.floats(0, 1e6),
                idle_s=st.floats(0, 1e6),
                out_s=st.floats(0, 1e6),
                reason=st.none() | st.text(),
                in_flight_mean=st.floats(0, 1e4),
                observed_s=st.floats(0, 1e6),
                running_mean=measures,
                running_most=st.none() | st.integers(0, 2000),
                waiting_mean=measures,
                waiting_most=st.none() | st.integers(0, 2000),
                kv_cache_mean=measures,
                kv_cache_most=measures,
                preempted=st.none() | st.integers(0, 10**9),
            ),
        ),
        max_size=5,
    ),
    st.sampled_from(LANGS),
    st.none() | st.integers(1, 1000),
    st.integers(0, 10**6),
)
def test_whatever_was_measured_there_are_two_pieces_of_advice_at_most(parts, lang, in_flight, too_long):
    assert len(advice(parts, lang, in_flight=in_flight, too_long=too_long)) <= 2
    table(parts, lang)


# -- what a manifest keeps ---------------------------------------------------------------------------------------------


def test_a_manifest_keeps_what_was_measured_and_gives_it_back():
    tally = Tally()
    tally.add(Answer("a", "0" * 64, {"usage": {"prompt_tokens": 7, "completion_tokens": 3}}, "http://h:1/v1", 1, 0.25))
    kept = manifest_fields(tally, {"http://h:1/v1": USE, "http://h:2/v1": WELL}, 12.34)
    assert kept["usage"] == {"prompt_tokens": 7, "completion_tokens": 3} and kept["seconds"] == 12.3
    assert [Part.from_json(record) for record in kept["instances"]] == tally.parts(
        {"http://h:1/v1": USE, "http://h:2/v1": WELL}
    )


@pytest.mark.parametrize(
    ("record", "part"),
    [
        ({"url": "u", "answers": 3, "busy_s": 1.5}, Part("u", Share(3, busy_s=1.5))),  # as version 0.1 wrote it
        ({"url": "u", "answers": "many", "seconds": 5.0}, Part("u", Share())),
        (
            {"url": "u", "seconds": 5.0, "idle_s": 1.0, "running_most": "x", "is_out": 1},
            Part("u", Share(), Use(5.0, 1.0)),
        ),
        ({"answers": 3}, None),
        ("u", None),
        (None, None),
    ],
    ids=str,
)
def test_of_a_manifest_that_somebody_edited_what_fits_is_read(record: object, part: Part | None):
    assert Part.from_json(record) == part


def test_the_responses_api_has_other_names_for_tokens():
    assert tokens_of({"input_tokens": 5, "output_tokens": 2}) == (5, 2)
    assert tokens_of({"prompt_tokens": None, "completion_tokens": "3"}) == (0, 0)


# -- numbers as people read them ---------------------------------------------------------------------------------------


def test_numbers_are_short():
    numbers = (0, 0.0421, 0.996, 8.13, 9.96, 87.4, 999.6, 1234, 41234, 412_345, 1.2e6, 5e9)
    assert " ".join(map(short, numbers)) == "0 0.042 1.0 8.1 10 87 1.0k 1.2k 41k 412k 1.2M 5G"


@pytest.mark.parametrize(
    ("seconds", "watch", "en", "zh"),
    [
        (0, "00:00", "0 s", "0 秒"),
        (106, "01:46", "1 min 46 s", "1 分钟 46 秒"),
        (599.7, "09:59", "10 min", "10 分钟"),
        (1501, "25:01", "25 min", "25 分钟"),
        (4867, "1:21:07", "1 h 21 min", "1 小时 21 分钟"),
        (3600, "1:00:00", "1 h", "1 小时"),
        (100_000, "1d03:46", "1 d 4 h", "1 天 4 小时"),
    ],
)
def test_times_are_told_as_one_would(seconds: float, watch: str, en: str, zh: str):
    assert (clock(seconds), span(seconds, "en"), span(seconds, "zh")) == (watch, en, zh)


def test_only_nothing_is_no_percent_and_only_all_is_a_hundred():
    assert [percent(share) for share in (0, 0.001, 0.5, 0.999, 1)] == ["0 %", "<1 %", "50 %", ">99 %", "100 %"]


def test_every_language_has_the_same_lines_with_the_same_numbers():
    places = [{name: sorted(re.findall(r"{(\w+)", text)) for name, text in TEXTS[lang].items()} for lang in LANGS]
    assert places[0] == places[1]
    assert len({len(TEXTS[lang]["head"].split("|")) for lang in LANGS}) == 1
