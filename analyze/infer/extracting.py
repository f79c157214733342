"""From recorded replies to answers: `results/extract`, and for reading by eye `results/text`.

    results/infer ──> extract_answer ──> results/extract ──> what differs from the answers before
Asks nothing, and needs no model: `--extract_only` is this alone. Each folder is replaced in one step, so that no part
of an old extraction stands beside a part of a new one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from analyze.infer.plain import plain_json
from analyze.infer.records import PROMPTS, Record
from analyze.infer.segments import EARLIER, MOST_OPEN, Records, segments
from analyze.infer.tasks import Task, TaskError
from analyze.infer.tree import Tree, whole_folder
from analyze.records import from_json, to_json
from analyze.runs.index import Index
from analyze.runs.journal import read_lines

EXAMPLES = 5
MOST_ANSWERS = 1000  # different ones that are counted
ANSWER_CHARS = 200
LINE_OF_TEXT = "=" * 80


@dataclass(slots=True)
class Extracted:
    """What came of it. `changed` counts rows that had another answer before; `examples` are the first errors."""

    rows: int = 0
    ok: int = 0
    none: int = 0
    errors: int = 0
    failed: int = 0  # rows without a reply
    changed: int = 0
    is_first: bool = True  # there was no extraction before
    examples: list[Record] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    cut: int = 0  # replies that ended at max_tokens
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, record: Record, told: Record) -> None:
        self.rows += 1
        if record["status"] != "ok":
            self.failed += 1
            return
        self.cut += record.get("finish_reason") == "length"
        usage = record.get("usage") or {}
        self.prompt_tokens += usage.get("prompt") or 0
        self.completion_tokens += usage.get("completion") or 0
        match told["extract_status"]:
            case "ok":
                self.ok += 1
                answer = told["answer"]
                shown = (answer if isinstance(answer, str) else to_json(answer).decode())[:ANSWER_CHARS]
                if shown in self.answers or len(self.answers) < MOST_ANSWERS:
                    self.answers[shown] += 1
            case "none":
                self.none += 1
            case _:
                self.errors += 1
                if len(self.examples) < EXAMPLES:
                    self.examples.append({**told, "source": record["source"]})


def extract(
    tree: Tree, task: Task, *, save_text: bool, heard: Callable[[Record, Record], object] = lambda record, told: None
) -> Extracted:
    """Extract the answers of all recorded replies. `heard` is called with each record and what came of it.

    Raises OutputLostError, UsageError from the disk; what the task's own code raises is told in the row.
    """
    done = Extracted()
    paths = [path for path in segments(tree.infer) if path.name != EARLIER]
    records = Records(paths)
    with ExitStack() as stack:
        before = _Before(tree.extract, stack)
        done.is_first = not before
        folder = stack.enter_context(whole_folder(tree.extract))
        has_texts = save_text or tree.text.exists()  # those of other answers would not fit these
        texts = stack.enter_context(whole_folder(tree.text)) if has_texts else None
        changed = stack.enter_context(_Changed(tree.changed))
        outputs = _Outputs(stack)
        for number, line in enumerate(records.lines(range(len(records)))):
            record, name = from_json(line), paths[records.file_of(number)].stem
            told = extracted(record, task)
            done.add(record, told)
            outputs.to(folder / f"{name}.jsonl").write(to_json(told) + b"\n")
            if texts is not None:
                outputs.to(texts / f"{name}.txt").write(readable(record, told).encode("utf-8", "backslashreplace"))
            if before.differs(told):
                done.changed += 1
                changed.add({"id": told["id"], "before": before.answer(told["id"]), "after": _answer(told)})
            heard(record, told)
        outputs.close()
    return done


def extracted(record: Record, task: Task) -> Record:
    """Return what is written of a record: {"id", "index", "answer", "answers"?, "extract_status", "extract_error",
    "extractor_sha"}. `extract_status` is ok, none (the task found none), error, or no_reply."""
    answer, status, error, more = None, "no_reply", None, {}
    if record["status"] == "ok":
        try:
            answer = _extracted(task, record["response"], record["org_data"])
            status = "none" if answer is None else "ok"
            if (replies := record.get("responses")) is not None:
                more = {"answers": [_extracted(task, reply, record["org_data"]) for reply in replies]}
        except TaskError as problem:
            answer, status, error, more = None, "error", str(problem), {}
    return {
        "id": record["id"],
        "index": record["index"],
        "answer": answer,
        **more,
        "extract_status": status,
        "extract_error": error,
        "extractor_sha": task.sha256,
    }


def _extracted(task: Task, reply: str, row: Mapping[str, Any]) -> Any:
    answer = task.extract_answer(reply, {**row})  # what it changes in its row, `evaluate` is not to miss
    try:
        return from_json(plain_json(answer))  # what the files will say of it
    except (TypeError, ValueError) as error:
        raise TaskError(f"extract_answer gave {type(answer).__name__}, which is no JSON: {error}") from error


def readable(record: Record, told: Record) -> str:
    """Return a row for people."""
    source = record["source"]
    prompt = next((record[name] for name in PROMPTS if name in record), "")
    if isinstance(prompt, list):
        prompt = "\n".join(f"[{message['role']}] {message['content']}" for message in prompt)
    reply = record["response"] if record["status"] == "ok" else f"({record['error']})"
    answer = told["answer"] if isinstance(told["answer"], str) else to_json(told["answer"]).decode()
    head = f"#{record['index'] + 1} {record['id']} ({source['file']}, {source['row']})"
    return f"{LINE_OF_TEXT}\n{head}\n\n--- prompt\n{prompt}\n\n--- response\n{reply}\n\n--- answer\n{answer}\n\n"


class _Outputs:
    """Files that are written, a few of them open at a time: rows come file by file."""

    def __init__(self, stack: ExitStack) -> None:
        self._open: dict[Path, IO[bytes]] = {}
        stack.callback(self.close)

    def to(self, path: Path) -> IO[bytes]:
        if (file := self._open.get(path)) is None:
            if len(self._open) >= MOST_OPEN:
                self.close()
            file = self._open[path] = open(path, "ab")  # noqa: SIM115 - closed by `close`
        return file

    def close(self) -> None:
        for file in self._open.values():
            file.close()
        self._open.clear()


class _Before:
    """The answers of the extraction before. They are looked up where they stand: memory holds 16 bytes a row."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._paths = segments(folder)
        self._files: dict[int, IO[bytes]] = {}
        stack.callback(self._close)
        self._places = Index()
        for at, path in enumerate(self._paths):
            for start, line in read_lines(path):
                with suppress(ValueError, KeyError, TypeError):  # a file that somebody has edited is made anew anyway
                    told = from_json(line)
                    _answer(told)
                    self._places[told["id"]] = at << 44 | start

    def __bool__(self) -> bool:
        return bool(self._places)

    def differs(self, told: Record) -> bool:
        """Whether a row has another answer now; of one that is new, false."""
        before = self._told(told["id"])
        return before is not None and _answer(before) != _answer(told)

    def answer(self, row_id: str) -> Any:
        before = self._told(row_id)
        return None if before is None else _answer(before)

    def _told(self, row_id: str) -> Record | None:
        place = self._places.get(row_id)
        if place is None:
            return None
        at = place >> 44
        if at not in self._files:
            if len(self._files) >= MOST_OPEN:
                self._close()
            self._files[at] = open(self._paths[at], "rb")  # noqa: SIM115 - closed by `_close`
        self._files[at].seek(place & (1 << 44) - 1)
        return dict(from_json(self._files[at].readline()))

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()


def _answer(told: Record) -> Record:
    return {"answer": told["answer"], "extract_status": told["extract_status"]}


class _Changed:
    """The list of rows whose answers have changed; where there are none, there is no file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def __enter__(self) -> _Changed:
        self._path.unlink(missing_ok=True)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, told: Record) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._path, "wb")  # noqa: SIM115 - closed by __exit__
        self._file.write(to_json(told) + b"\n")
