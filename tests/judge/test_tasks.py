"""Reading tasks: what is a task, what is not and why, in every encoding people save files in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyze.errors import InputError
from analyze.judge.tasks import BadLine, Solution, read_tasks, task_from_json, task_to_json

GOOD: dict[str, Any] = {
    "task_id": "two-sum",
    "prompt": "找出两数之和",
    "language": "python",
    "tags": ["array"],
    "target": {"author": "model-a", "code": "print(1)", "passed": True},
    "rivals": [{"author": "model-b", "code": "print(2)", "passed": False}, {"code": "print(3)"}],
}
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "code_1vn" / "tasks.jsonl"


def changed(**keys: Any) -> dict[str, Any]:
    """Return the good task with other values; a key set to `...` is left out."""
    return {key: value for key, value in (GOOD | keys).items() if value is not ...}


def write(folder: Path, *lines: dict[str, Any] | str) -> Path:
    path = folder / "tasks.jsonl"
    text = "\n".join(line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def test_a_line_becomes_a_task_with_its_rivals_named(tmp_path: Path) -> None:
    (task,) = read_tasks(write(tmp_path, GOOD))
    assert task.task_id == "two-sum"
    assert task.target == Solution("model-a", "print(1)", True)
    assert task.rivals == (Solution("model-b", "print(2)", False), Solution("rival-2", "print(3)", None))
    assert task.tags == ("array",) and task.group_id is None


def test_solutions_with_a_named_target_are_a_task_too(tmp_path: Path) -> None:
    solutions = [{"author": name, "code": name} for name in "abc"]
    line = {"task_id": "t", "prompt": "p", "solutions": solutions}
    (task,) = read_tasks(write(tmp_path, line), target_author="b")
    assert task.target.author == "b"
    assert [rival.author for rival in task.rivals] == ["a", "c"]
    assert task.language == "unknown"


def test_a_task_written_out_reads_back_as_itself() -> None:
    task = task_from_json(GOOD)
    assert task_from_json(json.loads(json.dumps(task_to_json(task)))) == task


BAD: list[tuple[Any, str]] = [
    ([1], "must be a JSON object, this one is a list"),
    ("text", "must be a JSON object, this one is text"),
    (changed(prompt=...), "no `prompt`"),
    (changed(prompt="  "), "no `prompt`"),
    (changed(prompt=3), "`prompt` must be text, it is a number"),
    (changed(target=...), "no `target`"),
    (changed(target=..., rivals=...), "no `target`"),
    (changed(target="code"), "`target` must be an object, it is text"),
    (changed(target={"author": "a"}), "`target` has no `code`"),
    (changed(target={"author": "a", "code": None}), "`code` of `target` must be text, it is null"),
    (changed(target={"author": 3, "code": ""}), "`author` of `target` must be text, it is a number"),
    (changed(target={"code": "", "passed": "yes"}), "`passed` of `target` must be true, false or null, it is text"),
    (changed(rivals=...), "no rivals"),
    (changed(rivals=[]), "no rivals"),
    (changed(rivals={}), "`rivals` must be a list of objects, it is an object"),
    (changed(rivals=[{"author": "b"}]), "`rivals[1]` has no `code`"),
    (changed(rivals=[{"author": "b", "code": "1"}] * 2), "two solutions are by 'b'"),
    (changed(rivals=[{"author": "model-a", "code": "1"}]), "two solutions are by 'model-a'"),
    (changed(tags="array"), "`tags` must be a list of texts"),
    (changed(tags=[1]), "`tags` must be a list of texts"),
    (changed(task_id=True), "`task_id` must be text, it is a truth value"),
    (changed(task_id=" "), "`task_id` is empty"),
    (changed(language=["c"]), "`language` must be text, it is a list"),
    ({"prompt": "p", "solutions": [{"author": "a", "code": ""}]}, "has `solutions` but no target"),
]


@pytest.mark.parametrize(("line", "why"), BAD, ids=[why for _, why in BAD])
def test_a_line_that_is_no_task_names_file_line_reason_and_cure(tmp_path: Path, line: Any, why: str) -> None:
    path = write(tmp_path, changed(task_id="fine"), "", json.dumps(line))
    with pytest.raises(InputError) as caught:
        read_tasks(path)
    assert why in caught.value.message
    assert caught.value.message.startswith(f"{path}:3: ")
    assert caught.value.cure


def test_a_target_author_that_is_not_there_names_those_that_are() -> None:
    line = {"prompt": "p", "solutions": [{"author": "a", "code": ""}, {"author": "b", "code": ""}]}
    with pytest.raises(InputError, match="no solution is by 'c'") as caught:
        task_from_json(line, target_author="c")
    assert "a, b" in str(caught.value)
    with pytest.raises(InputError, match="no rivals"):
        task_from_json({"prompt": "p", "solutions": [{"author": "a", "code": ""}]}, target_author="a")
    with pytest.raises(InputError, match="the target is by 'model-a', but 'c' was asked for"):
        task_from_json(GOOD, target_author="c")


def test_a_repeated_task_id_names_both_lines(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r":3: task_id 'two-sum' is already on line 1"):
        read_tasks(write(tmp_path, GOOD, changed(task_id="other"), GOOD))


def test_tasks_without_id_are_named_by_content_and_copies_are_numbered(tmp_path: Path) -> None:
    bare = changed(task_id=...)
    first, copy, other = read_tasks(write(tmp_path, bare, bare | {"note": 1}, bare | {"prompt": "q"}))
    assert len(first.task_id) == 16 and int(first.task_id, 16)
    assert copy.task_id == f"{first.task_id}-2"
    assert other.task_id not in (first.task_id, copy.task_id)
    assert first.group_id == copy.group_id != other.group_id, "copies are one observation"


@pytest.mark.parametrize("text", ["{", "[{}]", "{'a': 1}", "NULL", "[" * 100_000, "9" * 5000 + "x"])
def test_a_line_that_is_no_json_says_so(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"tasks\.jsonl:1: "):
        read_tasks(write(tmp_path, text))


def test_a_json_array_is_told_how_to_become_lines(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="jq"):
        read_tasks(write(tmp_path, "[", json.dumps(GOOD), "]"))


def test_bad_lines_are_handed_over_and_the_others_are_read(tmp_path: Path) -> None:
    bad: list[BadLine] = []
    path = write(tmp_path, GOOD, "{" + "x" * 5000, changed(task_id="2", rivals=[]), GOOD, changed(task_id="3"))
    tasks = read_tasks(path, on_bad=bad.append)
    assert [task.task_id for task in tasks] == ["two-sum", "3"]
    assert [line.line for line in bad] == [2, 3, 4]
    assert bad[0].file == str(path) and "no JSON" in bad[0].reason and len(bad[0].raw) == 2000
    assert "no rivals" in bad[1].reason and "already on line 1" in bad[2].reason


def test_a_file_without_one_usable_line_is_no_input_even_when_bad_lines_are_skipped(tmp_path: Path) -> None:
    bad: list[BadLine] = []
    with pytest.raises(InputError, match="no usable task"):
        read_tasks(write(tmp_path, "{", "}"), on_bad=bad.append)
    assert len(bad) == 2


def test_a_path_that_holds_no_tasks_says_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_tasks(tmp_path / "absent.jsonl")
    with pytest.raises(InputError, match="is a directory"):
        read_tasks(tmp_path)
    for name, data in {"empty": b"", "blank": b"\xef\xbb\xbf \r\n\n"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="empty"):
            read_tasks(tmp_path / name)


@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", b"\x1f\x8b\x08\x00abc\x00\x03", "{}".encode("utf-32")]
)
def test_a_binary_file_is_named_as_one(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(data)
    with pytest.raises(InputError):
        read_tasks(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_common_encoding_reads_the_same(tmp_path: Path, encoding: str, newline: str) -> None:
    path = tmp_path / "tasks.jsonl"
    lines = [json.dumps(changed(task_id=f"{n}"), ensure_ascii=False) for n in range(3)]
    path.write_bytes(newline.join([*lines, "", ""]).encode(encoding))
    assert [task.prompt for task in read_tasks(path)] == ["找出两数之和"] * 3


def test_one_broken_line_does_not_turn_the_others_into_mojibake(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    lines = [json.dumps(changed(task_id=f"{n}"), ensure_ascii=False).encode() for n in range(3)]
    lines[1] = lines[1].replace("找".encode(), "找".encode()[:2])
    path.write_bytes(b"\n".join(lines))
    bad: list[BadLine] = []
    assert [task.prompt for task in read_tasks(path, on_bad=bad.append)] == ["找出两数之和"] * 2
    assert "neither UTF-8 nor GB18030" in bad[0].reason and bad[0].line == 2


@pytest.mark.parametrize("shift", range(3))
def test_a_first_line_longer_than_the_sample_is_not_taken_for_another_encoding(tmp_path: Path, shift: int) -> None:
    prompt = "x" * shift + "好" * 100_000
    line = json.dumps(changed(prompt=prompt), ensure_ascii=False)
    assert [task.prompt for task in read_tasks(write(tmp_path, line))] == [prompt]


def test_a_line_separator_inside_a_value_is_no_line_break(tmp_path: Path) -> None:
    (task,) = read_tasks(write(tmp_path, changed(prompt="a\u2028b\u2029c\x85d")))
    assert task.prompt == "a\u2028b\u2029c\x85d"


def test_lone_surrogates_become_replacement_characters(tmp_path: Path) -> None:
    escaped = json.dumps(GOOD).replace("print(1)", r"\ud800 \ud83d\ude00")
    raw = json.dumps(changed(task_id="raw"), ensure_ascii=False).replace("print(1)", "\udfff")
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(f"{escaped}\n{raw}\n".encode("utf-8", "surrogatepass"))
    assert [task.target.code for task in read_tasks(path)] == ["\ufffd 😀", "\ufffd"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["task_id", "prompt", "language", "tags", "target", "rivals", "solutions", "group_id"])


@given(st.dictionaries(keys, json_values | st.just(GOOD["target"]) | st.just(GOOD["rivals"])))
def test_whatever_a_line_holds_it_is_a_task_or_bad_input(line: dict[str, Any]) -> None:
    try:
        task = task_from_json(line, target_author=None)
    except InputError as error:
        assert error.cure and error.path is None
    else:
        assert task.rivals and task.prompt.strip()


@pytest.mark.skipif(not SHARED.exists(), reason=f"the shared data set is not here: {SHARED}")
def test_real_solutions_of_six_models_are_read_with_the_target_named() -> None:
    bad: list[BadLine] = []
    tasks = read_tasks(SHARED, target_author="openai/gpt-4o-2024-05-13", on_bad=bad.append)
    assert len(tasks) == 34 and len(bad) == 31
    assert all(len(task.rivals) == 5 for task in tasks)
    assert all("no solution is by" in line.reason for line in bad)
