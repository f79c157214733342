"""The journal: what was recorded is there after anything, and nothing else is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.errors import InputError, OutputHeldError, OutputLostError
from analyze.records import FAILURE_KINDS, Answer, Failure, Outcome
from analyze.runs.journal import Journal, headings, read_outcomes
from analyze.runs.lines import BATCH
from analyze.runs.lock import RunLock
from analyze.runs.seen import Known, short

texts = st.text()
names = st.text(min_size=1)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
answers = st.builds(
    Answer,
    id=names,
    asked=hashes,
    body=st.dictionaries(texts, st.one_of(texts, st.integers(-(2**53), 2**53), st.lists(texts))),
    instance=st.one_of(st.none(), texts),
    attempts=st.integers(1, 9),
    latency_s=st.floats(0, 1e6),
    custom_id=st.one_of(st.none(), names),
)
failures = st.builds(
    Failure,
    id=names,
    asked=hashes,
    kind=st.sampled_from(FAILURE_KINDS),
    message=texts,
    instance=st.one_of(st.none(), texts),
    attempts=st.integers(0, 9),
    status_code=st.one_of(st.none(), st.integers(400, 599)),
    raw=st.one_of(st.none(), texts),
    custom_id=st.one_of(st.none(), names),
)


def answer(row: str, asked: str = "a" * 64, text: str = "x") -> Answer:
    return Answer(row, asked, {"choices": [{"message": {"content": text}}]})


@given(st.one_of(answers, failures))
def test_what_is_written_is_what_is_read(outcome: Outcome):
    line = BATCH.encode(outcome)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert BATCH.decode(line) == outcome


@given(st.one_of(answers, failures))
def test_the_heading_of_a_line_says_what_the_whole_line_says(outcome: Outcome):
    failed = outcome.kind if isinstance(outcome, Failure) else None
    assert BATCH.heading(BATCH.encode(outcome)) == (outcome.id, short(outcome.asked), failed)


OLD_LINES = b"""\
{"id":"batch_req_aaaaaaaaaaaaaaaaaaaaaaaa","custom_id":"1","response":{"status_code":200,"request_id":"c","body":\
{"choices":[]}},"error":null,"asked":"%s","instance":null,"attempts":1,"latency_s":0.5}
{"id":"batch_req_aaaaaaaaaaaaaaaaaaaaaaaa","custom_id":"2","response":null,"error":{"code":"server","message":"gone"},\
"asked":"%s","instance":null,"attempts":1,"row":"2#2"}
""" % (b"a" * 64, b"a" * 64)


def test_lines_of_the_first_version_are_read(tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_bytes(OLD_LINES)
    assert list(headings(path)) == [("1", short("a" * 64), None), ("2#2", short("a" * 64), "server")]
    assert [outcome.id for outcome in read_outcomes(path)] == ["1", "2#2"]


def test_at_the_end_each_failed_row_has_one_line_and_an_answered_one_none(tmp_path):
    answered, failed = tmp_path / "a.jsonl", tmp_path / "f.jsonl"

    def failure(row: str, message: str) -> Failure:
        return Failure(row, "a" * 64, "server", message)

    with Journal(answered, failed) as journal:
        for row in "123":
            journal.record(failure(row, "first"))
        journal.record(answer("1"))
    with Journal(answered, failed) as journal:  # killed before it could tidy up
        journal.record(failure("2", "second"))
        journal.tidy()
        journal.record(failure("4", "first"))
    assert [(o.id, o.message) for o in read_outcomes(failed)] == [("3", "first"), ("2", "second"), ("4", "first")]
    assert [outcome.id for outcome in read_outcomes(answered)] == ["1"]


def test_a_hole_that_a_power_cut_left_is_no_record(tmp_path):
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        for row in "abc":
            journal.record(answer(row))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\0" * (len(lines[1]) + 20) + lines[2][20:])
    with Journal(path) as journal:
        assert [row for row in "abc" if journal.seen.get(row)] == ["a"]
        journal.record(answer("b"))
    assert [outcome.id for outcome in read_outcomes(path)] == ["a", "b"]


def test_a_lone_surrogate_in_model_text_is_kept_and_breaks_nothing(tmp_path):
    with Journal(tmp_path / "j.jsonl") as journal:
        journal.record(answer("1", text="broken \ud83d emoji"))
        journal.record(answer("2"))
    assert [outcome.id for outcome in read_outcomes(tmp_path / "j.jsonl")] == ["1", "2"]


def test_cut_at_every_byte_of_its_tail_it_loses_only_the_torn_record_and_goes_on_a_new_line(tmp_path):
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        for row in "abc":
            journal.record(answer(row))
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    for size in range(second, len(whole)):
        path.write_bytes(whole[:size])
        kept = whole[:size].count(b"\n")
        with Journal(path) as journal:
            assert [row for row in "abc" if journal.seen.get(row)] == list("abc"[:kept])
            journal.record(answer("new"))
        assert [outcome.id for outcome in read_outcomes(path)] == [*"abc"[:kept], "new"]


def test_an_answer_beats_a_failure_and_the_last_line_holds(tmp_path):
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.record(Failure("1", "a" * 64, "server", "gone"))
        journal.record(answer("1"))
        journal.record(answer("2", "a" * 64))
        journal.record(answer("2", "b" * 64))
    with Journal(path) as journal:
        assert journal.seen.get("1") == Known(short("a" * 64), None)
        assert journal.seen.get("2") == Known(short("b" * 64), None)


def test_retired_rows_are_gone_and_the_others_stay(tmp_path):
    paths = tmp_path / "a.jsonl", tmp_path / "f.jsonl"
    with Journal(*paths) as journal:
        journal.record(answer("1"))
        journal.record(answer("2"))
        journal.record(Failure("3", "a" * 64, "server", "gone"))
        journal.retire({"1", "3"}.__contains__)
        assert [row for row in "123" if journal.seen.get(row)] == ["2"]
        journal.record(answer("4"))
    assert [outcome.id for path in paths for outcome in read_outcomes(path)] == ["2", "4"]


def test_a_file_that_is_no_journal_is_refused_before_a_byte_of_it_changes(tmp_path):
    for content in (b"hello", b'{"id":"other"}\n', b"\n\n"):
        path = tmp_path / "notes.txt"
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"notes\.txt:1"):
            Journal(path)
        assert path.read_bytes() == content


def test_a_full_disk_stops_the_run_and_leaves_no_torn_line(tmp_path):
    import resource
    import signal

    path = tmp_path / "j.jsonl"
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        try:
            with Journal(path) as journal:
                for row in range(100):
                    journal.record(answer(str(row)))
        except OutputLostError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert path.read_bytes().endswith(b"\n")
    assert len(list(read_outcomes(path))) > 3


def test_a_removed_output_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr("analyze.runs.journal.SYNC_AFTER_LINES", 1)
    path = tmp_path / "j.jsonl"
    journal = Journal(path)
    journal.record(answer("1"))
    path.unlink()
    with pytest.raises(OutputLostError, match="removed"):
        journal.record(answer("2"))


def test_one_writer_and_the_second_is_told_who_holds_it(tmp_path):
    lock = tmp_path / "out.lock"
    with RunLock(lock), pytest.raises(OutputHeldError, match=f"process {os.getpid()} on "):
        RunLock(lock)
    with RunLock(lock):
        pass
    assert not lock.exists()


def test_a_lock_left_by_a_killed_process_holds_nobody_up(tmp_path):
    lock: Path = tmp_path / "out.lock"
    pid = os.fork()
    if pid == 0:
        held = RunLock(lock)
        os._exit(0 if held else 1)
    os.waitpid(pid, 0)
    assert lock.exists()
    with RunLock(lock):
        pass
