"""The progress line says what is so, on every kind of screen."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import re
import struct
import termios
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fcntl import ioctl
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tqdm.utils import disp_len

from analyze.lang import LANGS, Lang
from analyze.records import Answer, Failure, Outcome
from analyze.runs.progress import ProgressLine, Standing, View
from analyze.runs.rates import Rate, Rates, seconds_left
from analyze.runs.tally import Tally

USAGE = {"prompt_tokens": 400, "completion_tokens": 100}
NIGHT = View(
    label="Asking",
    lang="en",
    standing=Standing(ok=421_325, failed=12, left=578_663),
    rate=Rate(87.4, 41_210.0, 9_240.0),
    passed_s=4867.0,
    left_s=6720.0,
)


def answer(latency_s: float = 0.5) -> Answer:
    return Answer("a", "0" * 64, {"usage": USAGE}, "http://h:1/v1", 1, latency_s)


FAILURE = Failure("b", "0" * 64, "server", "HTTP 500", "http://h:1/v1", 1)


@dataclass
class FakeLoad:
    url: str
    in_flight: int
    is_up: bool = True


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Job:
    """A job of `rows` rows, whose clock is turned by hand."""

    def __init__(self, rows: int | None = 1000, **options: object) -> None:
        self.rows, self.now, self.tally, self.stream = rows, 500.0, Tally(), io.StringIO()
        self.loads = [FakeLoad("http://h:1/v1", 16), FakeLoad("http://h:2/v1", 12), FakeLoad("http://h:3/v1", 0, False)]
        self.options = {"stream": self.stream, "lang": "en", "before": 0, **options}

    def line(self) -> ProgressLine:
        options = dict(self.options)
        before, lang = options.pop("before"), options.pop("lang")

        def standing() -> Standing:
            ok, failed = before + self.tally.ok, self.tally.failed.total()
            return Standing(ok, failed, None if self.rows is None else self.rows - ok - failed)

        return ProgressLine(
            "Asking", lang, self.tally, standing, loads=lambda: self.loads, now=lambda: self.now, **options
        )

    def work(
        self, line: ProgressLine, seconds: int, outcomes_a_second: int = 0, outcome: Outcome | None = None
    ) -> None:
        for _ in range(seconds):
            self.now += 1.0
            for _ in range(outcomes_a_second):
                self.tally.add(outcome or answer())
            line.look()

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


# -- rates and the time to go ------------------------------------------------------------------------------------------


def fed(tally: Tally, rates: Rates, spans: list[tuple[int, int]], latency_s: float = 0.5, now: float = 0.0) -> Rate:
    """Return the rate after so many seconds at so many outcomes a second, several times."""
    rate = Rate(0.0, 0.0, 0.0)
    for seconds, count in spans:
        for _ in range(seconds):
            now += 1.0
            for _ in range(count):
                tally.add(answer(latency_s))
            rate = rates.recent(now)
    return rate


def test_rates_are_those_of_the_last_half_minute():
    tally = Tally()
    rate = fed(tally, Rates(tally, 0.0), [(600, 40), (60, 10)])
    assert rate == Rate(10.0, 4000.0, 1000.0)


def test_rates_are_exact_from_the_first_second():
    tally = Tally()
    assert fed(tally, Rates(tally, 0.0), [(2, 7)]).requests == 7.0


def test_servers_that_have_stopped_are_seen_to_within_the_half_minute():
    tally = Tally()
    assert fed(tally, Rates(tally, 0.0), [(600, 40), (31, 0)]) == Rate(0.0, 0.0, 0.0)


def test_the_rate_of_slow_answers_does_not_come_and_go():
    """Forty answers each 100 s, which take 100 s: within 30 s there are either none or forty."""
    tally = Tally()
    rates, seen = Rates(tally, 0.0), []
    for second in range(1, 2001):
        if second % 100 == 0:
            for _ in range(40):
                tally.add(answer(latency_s=100.0))
        seen.append(rates.recent(float(second)).requests)
    assert all(0.15 < rate < 0.7 for rate in seen[300:]), "0.4 a second is true"


def test_memory_of_looks_is_bounded():
    tally = Tally()
    rates = Rates(tally, 0.0)
    fed(tally, rates, [(10_000, 1)], latency_s=1e9)
    assert len(rates._looks) <= 3602


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5)), max_size=20), st.floats(0, 200))
def test_a_rate_lies_between_the_slowest_and_the_fastest_second(spans: list[tuple[int, int]], latency_s: float):
    tally = Tally()
    rate = fed(tally, Rates(tally, 0.0), spans, latency_s).requests
    counts = [count for _, count in spans] or [0]
    assert min(counts) - 1e-9 <= rate <= max(counts) + 1e-9


def test_the_time_to_go_is_told_by_tokens_where_rows_differ():
    tally = Tally()
    rate = fed(tally, Rates(tally, 0.0), [(60, 10)])
    assert seconds_left(1000, None, tally, rate) == pytest.approx(100.0), "as many tokens each as until now"
    assert seconds_left(1000, 50_000, tally, rate) == pytest.approx(10.0), "those to come are short"
    assert seconds_left(None, 50_000, tally, rate) == pytest.approx(10.0)


def test_where_nobody_can_know_there_is_no_time_to_go():
    tally = Tally()
    assert seconds_left(1000, None, tally, Rates(tally, 0.0).recent(0.0)) is None
    rate = fed(tally, Rates(tally, 0.0), [(60, 10)])
    assert seconds_left(None, None, tally, rate) is None


def test_answers_without_tokens_are_counted_instead():
    tally = Tally()
    rates = Rates(tally, 0.0)
    for second in range(1, 11):
        tally.add(Answer("e", "0" * 64, {"data": []}, None, 1, 0.1))
        rate = rates.recent(float(second))
    assert seconds_left(50, None, tally, rate) == pytest.approx(50.0)


# -- off a terminal ----------------------------------------------------------------------------------------------------


async def test_off_a_terminal_a_line_comes_after_ten_seconds_then_each_half_minute_and_at_the_end():
    job = Job(rows=10_000)
    line = job.line()
    job.work(line, 9, 10)
    assert job.lines == []
    job.work(line, 91, 10)
    assert [text.split(" (")[0] for text in job.lines] == [
        "Asking: 100/10,000",
        "Asking: 400/10,000",
        "Asking: 700/10,000",
        "Asking: 1,000/10,000",
    ]
    line.close()
    line.close()
    assert len(job.lines) == 5


async def test_a_line_says_all_of_it():
    job = Job(rows=10_000, before=4_000)
    line = job.line()
    job.work(line, 100, 10)
    job.work(line, 1, 1, FAILURE)
    line.close()
    assert job.lines[3] == (
        "Asking: 5,000/10,000 (50%), ok=5,000, failed=0, 10 requests/s, tokens/s 4.0k in, 1.0k out, "
        "load=16/12/out, 1 min 40 s so far, 8 min 20 s to go"
    )
    assert "ok=5,000, failed=1, 9.9 requests/s" in job.lines[-1]


async def test_it_speaks_chinese():
    job = Job(rows=10_000, lang="zh")
    line = job.line()
    job.work(line, 10, 10)
    line.close()
    assert job.lines[0] == (
        "Asking: 100/10,000 (1%), 成功=100, 失败=0, 10 请求/秒, 词元/秒 读入 4.0k、写出 1.0k, "
        "负载=16/12/停, 已用 10 秒, 剩余 16 分钟"
    )


async def test_while_nothing_changes_hardly_anything_is_said():
    job = Job()
    line = job.line()
    job.work(line, 30, 1)
    before = len(job.lines)
    job.work(line, 1200)
    line.close()
    assert len(job.lines) - before <= 1 + 1200 // 300 + 1


async def test_rows_of_earlier_runs_are_counted_as_done_and_in_no_rate():
    job = Job(rows=10_000, before=9_000)
    line = job.line()
    job.work(line, 20, 1)
    line.close()
    assert job.lines[0].startswith("Asking: 9,010/10,000 (90%), ok=9,010, failed=0, 1 requests/s")


async def test_the_time_before_the_first_request_is_in_no_rate():
    """A million answered rows are read for ten seconds before the first one is asked."""
    job = Job()
    loads, job.loads = job.loads, []
    line = job.line()
    job.work(line, 10)
    job.loads = loads
    job.work(line, 5, 8)
    line.close()
    assert "8 requests/s" in job.lines[-1]


async def test_an_estimated_total_is_marked_and_an_unknown_one_left_out():
    job = Job(rows=None)
    line = job.line()
    job.work(line, 10, 10)
    line.close()
    assert "/" not in job.lines[0].split(",")[0] and "to go" not in job.lines[0] and "%" not in job.lines[0]
    about = View("Asking", "en", Standing(50, 0, 949.7, is_exact=False), Rate(1.0, 0.0, 0.0), 50.0, 950.0)
    assert about.line().startswith("Asking: 50/≈1,000 (5%)") and about.line().endswith("≈16 min to go")
    assert "50/≈1,000 [00:50<≈15:50" in about.bar(120)


async def test_what_servers_say_never_steers_a_terminal():
    for log_json in (False, True):
        job = Job(log_json=log_json)
        line = job.line()
        line.note("http://h:1/v1 is out: \x1b[2J\u202e")
        line.close()
        assert "\x1b" not in job.stream.getvalue() and "\u202e" not in job.stream.getvalue()


async def test_log_json_is_one_object_a_line_with_numbers_that_can_be_computed_with():
    job = Job(rows=10_000, before=100, log_json=True, stream=Terminal())
    job.stream = job.options["stream"]
    line = job.line()
    job.work(line, 40, 7)
    line.note("http://h:3/v1 is out")
    line.close()
    records = [json.loads(text) for text in job.lines]
    assert [record["event"] for record in records] == ["progress", "progress", "note", "end"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"]) for record in records)
    last = records[-1]
    assert (last["done"], last["ok"], last["failed"], last["left"], last["total"]) == (380, 380, 0, 9620, 10_000)
    assert last["requests_per_s"] == 7.0 and last["completion_tokens_per_s"] == 700.0
    assert (last["prompt_tokens"], last["completion_tokens"]) == (280 * 400, 280 * 100)
    assert last["left_s"] == pytest.approx(9620 / 7, abs=0.1) and last["passed_s"] == 40.0
    assert last["instances"][2] == {"url": "http://h:3/v1", "in_flight": 0, "is_up": False}


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


class BrokenTerminal(Broken):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Broken, BrokenTerminal])
async def test_a_run_goes_on_when_nobody_can_see_it_any_more(stream):
    job = Job(stream=stream())
    line = job.line()
    job.work(line, 100, 1)
    line.note("still here")
    line.close()


async def test_a_clock_that_is_set_back_changes_nothing(monkeypatch):
    job = Job(rows=100)
    line = job.line()
    monkeypatch.setattr("time.time", lambda: 0.0)
    job.work(line, 20, 1)
    line.close()
    assert "1 requests/s" in job.lines[0] and "10 s so far" in job.lines[0]


# -- on a terminal -----------------------------------------------------------------------------------------------------


def test_eighty_columns_show_what_matters_of_a_million_rows():
    assert NIGHT.bar(79) == "Asking:  42% 421,337/1,000,000 [<1:52:00, 87/s, 41k+9.2k tok/s, failed=12]"


def test_a_wider_terminal_shows_a_bar_and_what_each_server_has_to_do():
    view = View("推理", "zh", NIGHT.standing, NIGHT.rate, 4867.0, 6720.0, (FakeLoad("a", 16), FakeLoad("b", 0, False)))
    assert view.bar(119) == (
        "推理:  42%|█████▉        | 421,337/1,000,000 [1:21:07<1:52:00, 87/s, 41k+9.2k tok/s, 负载=16/停, "
        "成功=421,325, 失败=12]"
    )


def test_the_bar_of_the_guide_is_still_that_bar():
    view = View("分析任务", "zh", Standing(24, 1, 75), Rate(0.0, 0.0, 0.0), 75.0, 225.0)
    assert re.match(r"分析任务:  25%\|█+.? +\| 25/100 \[01:15<03:45, 0/s, 成功=24, 失败=1\]", view.bar(79))


@given(
    st.builds(
        View,
        label=st.sampled_from(["Asking", "推理", "{odd}"]),
        lang=st.sampled_from(LANGS),
        standing=st.builds(
            Standing,
            ok=st.integers(0, 10**8),
            failed=st.integers(0, 10**8),
            left=st.none() | st.floats(0, 1e9),
            is_exact=st.booleans(),
        ),
        rate=st.builds(Rate, st.floats(0, 1e5), st.floats(0, 1e8), st.floats(0, 1e8)),
        passed_s=st.floats(0, 1e7),
        left_s=st.none() | st.floats(0, 1e10),
        loads=st.lists(st.builds(FakeLoad, st.just("u"), st.integers(0, 1024), st.booleans()), max_size=16),
    ),
    st.integers(8, 250),
)
def test_no_terminal_is_too_narrow_for_its_line(view: View, columns: int):
    line = view.bar(columns)
    assert disp_len(line) <= columns
    if columns >= 79:
        assert f"{view.standing.done:,}" in line and "/s" in line
        assert f"{'failed' if view.lang == 'en' else '失败'}={view.standing.failed:,}" in line


def sent_to(terminal: int) -> Iterator[bytes]:
    """Yield what was written to a pseudo-terminal that is closed on the other side, and close it."""
    with open(terminal, "rb", buffering=0) as master, suppress(OSError):  # an error is how it ends
        while part := master.read(2**16):
            yield part


@pytest.mark.parametrize("columns", [80, 120])
async def test_on_a_real_terminal_it_stays_on_one_line_while_that_is_resized(columns):
    """Read what a pseudo-terminal of that width was sent."""
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(slave, "w") as stream:
        job = Job(rows=1_000_000, before=400_000, stream=stream)
        line = job.line()
        job.work(line, 3, 30)
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
        job.work(line, 1, 30)
        line.note("http://h:3/v1 is out")
        line.close()
    said = b"".join(sent_to(master)).decode()
    shown = [frame for frame in re.split(r"[\r\n]+|\x1b\[K", said) if frame]
    assert [disp_len(frame) < width for frame, width in zip(shown, [columns] * 4 + [60] * 4, strict=True)] == [True] * 8
    assert max(disp_len(frame) for frame in shown[:4]) > columns - 12, "all the room is used"
    assert shown[5] == "http://h:3/v1 is out" and shown[6] == shown[4], "the line comes back below the note"
    assert shown[7].startswith("Asking:  40% 400,120/1,000,000 [") and said.endswith("\r\n")


async def test_a_standstill_is_shown_though_nothing_is_answered(monkeypatch):
    monkeypatch.setattr("analyze.runs.progress.TICK_S", 0.01)
    stream = Terminal()
    job = Job(stream=stream)
    line = job.line()
    job.loads[0].in_flight = 7
    job.now += 61.0
    async with asyncio.timeout(60):
        while "01:01" not in stream.getvalue():  # noqa: ASYNC110 - a timer draws it
            await asyncio.sleep(0.01)
    line.close()
    shown = len(stream.getvalue())
    await asyncio.sleep(0.05)
    assert len(stream.getvalue()) == shown, "closed is closed"


def test_every_language_says_the_same():
    from analyze.runs.progress import TEXTS

    def places(lang: Lang) -> dict[str, list[str]]:
        return {name: sorted(re.findall(r"{\w+}", text)) for name, text in TEXTS[lang].items()}

    assert all(places(one) == places(other) for one, other in pairwise(LANGS))
