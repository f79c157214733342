"""A journal is told as it is, whole or not, whoever writes to it meanwhile."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.records import FAILURE_KINDS, Answer, Failure, Request
from analyze.runs.lines import BATCH, RecordLines
from analyze.runs.lock import RunLock
from analyze.runs.survey import holder_of, survey
from analyze.runs.tally import Tally

TRAPS = [
    ',"asked":"',
    '"usage":{"prompt_tokens":5,"completion_tokens":6}',
    ',"error":null,',
    ',"error":{"code":"server"',
    '"prompt_tokens":7,',
    "\\",
    '"',
    "\u2028",
]
texts = st.text() | st.lists(st.sampled_from(TRAPS)).map("".join)
counts = st.integers(0, 10**6) | st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.just("many")
usages = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": counts,
        "completion_tokens": counts,
        "input_tokens": counts,
        "output_tokens": counts,
        "prompt_tokens_details": st.none() | st.just({"cached_tokens": 3}),
    },
)
ids = st.sampled_from(["a", "b", "c", 'd"', "é"])
asked = st.just("0123456789abcdef" * 4)
urls = st.none() | st.sampled_from(["http://h:1/v1", "http://h:2/v1"])
answers = st.builds(
    Answer,
    id=ids,
    asked=asked,
    body=st.fixed_dictionaries({"id": texts, "choices": st.lists(texts | st.none())}, optional={"usage": usages}),
    instance=urls,
    latency_s=st.floats(0, 1e6),
    custom_id=st.none() | texts,
)
failures = st.builds(
    Failure,
    id=ids,
    asked=asked,
    kind=st.sampled_from(FAILURE_KINDS),
    message=texts,
    instance=urls,
    raw=st.none() | texts,
    status_code=st.none() | st.integers(400, 599),
)


@given(st.lists(failures), st.lists(answers))
def test_what_is_told_of_a_journal_is_what_reading_all_of_it_would_tell(failed: list[Failure], answered: list[Answer]):
    """Answers are counted, and of the rows without one the last failure."""
    expected, last = Tally(), {failure.id: failure.kind for failure in failed}
    for answer in answered:
        expected.add(answer)
        last.pop(answer.id, None)
    with tempfile.TemporaryDirectory() as folder:
        one, two = Path(folder, "a.jsonl"), Path(folder, "f.jsonl")
        one.write_bytes(b"".join(map(BATCH.encode, answered)))
        two.write_bytes(b"".join(map(BATCH.encode, failed)))
        found = survey(one, two)
        both = Path(folder, "j.jsonl")
        both.write_bytes(b"".join(map(BATCH.encode, [*failed, *answered])))
        assert survey(both).tally == found.tally, "in one file or in two"
    assert (found.tally.ok, found.tally.usage()) == (expected.ok, expected.usage())
    assert found.tally.answered_s == pytest.approx(expected.answered_s)
    assert {url: share.answers for url, share in found.tally.shares.items() if share.answers} == {
        url: share.answers for url, share in expected.shares.items()
    }
    assert found.tally.failed == Counter(last.values())
    assert {kind: example.kind for kind, example in found.examples.items()} == {kind: kind for kind in last.values()}
    assert all(last[example.id] == kind for kind, example in found.examples.items()), "the example still fails"
    assert (found.foreign, found.is_torn) == (0, False)


@given(st.lists(failures | answers, max_size=30), st.integers(1, 5))
def test_a_row_counts_once_however_often_it_failed_before_it_was_answered(
    outcomes: list[Answer | Failure], at_once: int
):
    last: dict[str, Answer | Failure] = {}
    written = []
    for outcome in outcomes:
        if not isinstance(last.get(outcome.id), Answer):
            last[outcome.id] = outcome
            written.append(BATCH.encode(outcome))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("analyze.runs.survey.AT_ONCE", at_once)
        path = Path(folder, "j.jsonl")
        path.write_bytes(b"".join(written))
        found = survey(path)
    failed = [outcome for outcome in last.values() if isinstance(outcome, Failure)]
    assert (found.tally.ok, found.foreign) == (len(last) - len(failed), 0)
    assert found.tally.failed == Counter(failure.kind for failure in failed)
    by_server = Counter(failure.instance for failure in failed if failure.instance)
    assert Counter({url: share.failures for url, share in found.tally.shares.items() if share.failures}) == by_server
    assert {example.id for example in found.examples.values()} <= {failure.id for failure in failed}


def old_line(outcome: Answer | Failure) -> bytes:
    """Return a line as version 0.1 wrote it."""
    record = json.loads(BATCH.encode(outcome))
    order = ["id", "custom_id", "response", "error", "asked", "instance", "attempts", "latency_s", "raw", "row"]
    return json.dumps({key: record[key] for key in order if key in record}, separators=(",", ":")).encode() + b"\n"


@given(st.lists(failures | answers))
def test_lines_of_the_first_version_tell_the_same(outcomes: list[Answer | Failure]):
    with tempfile.TemporaryDirectory() as folder:
        new, old = Path(folder, "new.jsonl"), Path(folder, "old.jsonl")
        new.write_bytes(b"".join(map(BATCH.encode, outcomes)))
        old.write_bytes(b"".join(map(old_line, outcomes)))
        assert survey(old).tally == survey(new).tally


def answer(row: str) -> Answer:
    return Answer(row, "0" * 64, {"usage": {"prompt_tokens": 7, "completion_tokens": 3}}, "http://h:1/v1", 1, 0.5)


def test_what_no_run_of_ours_wrote_is_counted_and_passed_over(tmp_path):
    path = tmp_path / "a.jsonl"
    foreign = b'{"id":"batch_req_1"}\n{"x":1}\nno json\n' + BATCH.encode(answer("a"))[5:]
    path.write_bytes(BATCH.encode(answer("a")) + foreign + BATCH.encode(answer("b")))
    found = survey(path)
    assert (found.tally.ok, found.foreign, found.is_torn) == (2, 4, False)


def test_a_failure_that_is_damaged_in_its_middle_is_no_line_of_ours(tmp_path):
    path = tmp_path / "a.jsonl"
    line = BATCH.encode(Failure("a", "0" * 64, "server", "HTTP 500", "http://h:1/v1", 1))
    path.write_bytes(line.replace(b"HTTP 500", b"HTTP" + bytes([1]) + b"500"))
    found = survey(path)
    assert (found.tally.failed.total(), found.examples, found.foreign) == (0, {}, 1)


def test_a_line_that_is_being_written_is_no_line_yet(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(BATCH.encode(answer("a")) + BATCH.encode(answer("b"))[:-10])
    found = survey(path)
    assert (found.tally.ok, found.foreign, found.is_torn) == (1, 0, True)


def test_a_hole_that_a_power_cut_left_is_no_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(BATCH.encode(answer("a")) + b"\0" * 4096 + b"\n" + BATCH.encode(answer("b")))
    assert survey(path).tally.ok == 2


def test_where_there_is_nothing_nothing_is_told(tmp_path):
    found = survey(tmp_path / "a.jsonl", tmp_path / "f.jsonl")
    assert (found.tally, found.written_at) == (Tally(), None)


def test_memory_does_not_grow_with_the_answers(tmp_path):
    """Twice a hundred thousand lines, with failures that make it remember rows: 16 bytes each, and some of numpy."""
    code = "import sys; from pathlib import Path; from analyze.runs.survey import survey; "
    code += "found = survey(Path(sys.argv[1]), Path(sys.argv[2])); "
    code += "told = Path('/proc/self/status').read_text().split(); "  # getrusage has what this process had in it
    code += "print(found.tally.ok, found.tally.failed.total(), told[told.index('VmHWM:') + 1])"
    answered, failed = tmp_path / "a.jsonl", tmp_path / "f.jsonl"
    failed.write_bytes(b"")
    peaks = []
    line, failure = (
        BATCH.encode(answer("0000000")),
        BATCH.encode(Failure("f000000", "0" * 64, "server", "HTTP 500", None, 1)),
    )
    for count in (1000, 200_000):
        with open(answered, "wb") as file:
            file.writelines(line.replace(b"0000000", b"%07d" % n, 1) for n in range(count))
        with open(failed, "wb") as file:
            file.writelines(failure.replace(b"f000000", b"f%06d" % n, 1) for n in range(count // 2))
        done = subprocess.run(
            [sys.executable, "-c", code, answered, failed], capture_output=True, text=True, check=True
        )
        ok, failures, peak = map(int, done.stdout.split())
        assert (ok, failures) == (count, count // 2)
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 60_000, "KiB; as strings in a dict they would take 100 MB"


# -- who writes to it --------------------------------------------------------------------------------------------------


def test_a_lock_that_is_held_names_its_holder_and_one_that_was_left_nobody(tmp_path):
    lock = tmp_path / "a.lock"
    assert holder_of(lock) is None
    with RunLock(lock):
        holder = holder_of(lock)
        assert holder is not None
        assert (holder.pid, holder.host, holder.is_sure) == (os.getpid(), socket.gethostname(), True)
    assert holder_of(lock) is None


def test_looking_does_not_stop_a_run_that_is_about_to_begin(tmp_path):
    """A lock that is tried is held, for a moment."""
    lock = tmp_path / "a.lock"
    code = "import sys; from pathlib import Path; from analyze.runs.survey import holder_of\n"
    code += "print(flush=True)\n"
    code += "while True: holder_of(Path(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", code, lock], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline()  # from now on it looks
        for _ in range(500):
            with RunLock(lock):
                pass
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("told", "is_held"),
    [
        ({"pid": 2**22 + 1, "host": socket.gethostname(), "started": "x"}, False),
        ({"pid": "many", "host": socket.gethostname()}, False),
        ({"host": "elsewhere"}, False),
        ([], False),
        ("", False),
        ({"pid": 1, "host": "another-box", "started": "2026-01-01T00:00:00+00:00"}, True),
    ],
    ids=str,
)
def test_a_lock_file_is_believed_where_its_process_lives_or_may_live(tmp_path, told, is_held):
    lock = tmp_path / "a.lock"
    lock.write_text(json.dumps(told) if told != "" else "")
    holder = holder_of(lock)
    assert (holder is not None) == is_held
    assert holder is None or not holder.is_sure


def test_another_process_of_the_same_number_holds_nothing(tmp_path):
    lock = tmp_path / "a.lock"
    lock.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
    os.utime(lock, (1e9, 1e9))
    assert holder_of(lock) is None, "that was written before this process began"


def test_records_of_a_jobs_own_are_counted_as_lines_of_the_batch_format_are(tmp_path: Path):
    lines = RecordLines("query", lambda request, outcome: outcome.body if isinstance(outcome, Answer) else SAID)
    request = Request("r", "0" * 64, "/v1/chat/completions", {})
    usage = {"usage": {"prompt": 5, "cached": 2, "completion": 3}}
    one, two = tmp_path / "a.jsonl", tmp_path / "f.jsonl"
    answered = [Answer(f"a{n}", "0" * 64, {"query": TRAPS[n], **usage}, URL, 1, 0.5) for n in range(3)]
    failed = [Failure(row, "0" * 64, "server", "no", OTHER_URL, 1) for row in ("a0", "f0", "f1")]
    one.write_bytes(b"".join(lines.encode(it, request) for it in answered))
    two.write_bytes(b"".join(lines.encode(it, request) for it in failed) + b'{"query":"torn')
    found = survey(one, two)
    assert (found.tally.ok, dict(found.tally.failed), found.foreign, found.is_torn) == (3, {"server": 2}, 0, True)
    assert found.tally.usage() == {"prompt_tokens": 15, "completion_tokens": 9}
    assert found.examples["server"].id == "f0" and found.examples["server"].message == "why"
    assert {url: share.failures for url, share in found.tally.shares.items()} == {URL: 0, OTHER_URL: 2}


URL, OTHER_URL = "http://h:1/v1", "http://h:2/v1"
SAID = {"query": "q", "error": "why", "usage": None}
