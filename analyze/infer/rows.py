"""The rows that a task reads, in their order, and what is asked about each.

    get_file_list ──> read_file ──> TaskRows: all rows, held as the task gave them ──> Maker: format_prompt ──> request
What raises is a row of its own that cannot be used, with file, line and row; the others go on. Knows no journal.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from analyze.errors import InputError
from analyze.inert import Own, inert
from analyze.infer.plain import plain
from analyze.infer.tasks import Prompt, Task, TaskError, telling
from analyze.records import CHAT_URL, COMPLETIONS_URL, to_json
from analyze.runs.ids import id_of_json
from analyze.runs.inputs import Bad
from analyze.runs.templates import ID_COLUMNS

RAW_CHARS = 200
CHAT_ONLY = "chat_template_kwargs"


class Asked(NamedTuple):
    """What a request carries of its row: where it is among all rows, from 0, and the row."""

    at: int
    org_data: Mapping[str, Any]


class TaskRows:
    """All rows of a task (`runs.rows.Source`): read once, and held. Rows are numbered from 1 in each file."""

    format = "task"
    can_be_read_again = True
    sha256: str | None = None

    def __init__(self, task: Task, input_path: str = "", limit: int | None = None) -> None:
        """Read them; `limit`: only the first. Raises InputError where there is none."""
        self.name = str(task.path)
        self._task = task
        self._values: list[Any] = []
        self._files: list[str] = []
        self._starts: list[int] = []  # where the rows of each file begin
        self._given = 0
        self.problems: list[str] = []
        for file in self._list(input_path):
            if limit is not None and len(self._values) >= limit:
                break
            self._read(file, limit)
        if len(self._values) == len(self.problems):
            problem = self.problems[0] if self.problems else "no file holds a row"
            raise InputError(f"there is nothing to do: {problem}", path=self.name, cure="see get_file_list, read_file")

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> Any:
        return self._values[index]

    @property
    def fraction_read(self) -> float:
        """The share of the rows that the last pass has given out."""
        return self._given / len(self._values)

    @property
    def files(self) -> Sequence[str]:
        return self._files

    def rows(self) -> Iterator[tuple[int, Any]]:
        for number, value in enumerate(self._values, 1):
            self._given = number
            yield number, value

    def place(self, index: int) -> tuple[str, int]:
        """Return the file of a row, and which row of it it is, from 1."""
        at = bisect_right(self._starts, index) - 1
        return self._files[at], index - self._starts[at] + 1

    def _list(self, input_path: str) -> list[str]:
        try:
            files = self._task.get_file_list(input_path)
        except TaskError as error:
            raise InputError(str(error), cure="correct it") from error
        if isinstance(files, str | bytes | Mapping) or not isinstance(files, Iterable):
            told = f"get_file_list must return a list of paths, not {type(files).__name__}"
            raise InputError(told, path=self.name, cure="return [path, ...]")
        listed = [str(file) for file in files]
        if not listed:
            raise InputError("get_file_list names no file", path=self.name, cure="see --input_path, and the task")
        return listed

    def _read(self, file: str, limit: int | None) -> None:
        """Take the rows of one file; where it breaks, what broke comes as its last row."""
        self._files.append(file)
        self._starts.append(len(self._values))
        room = None if limit is None else limit - len(self._values)
        try:
            rows = self._task.read_file(file)
            if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
                raise TaskError(f"read_file must return a list of rows, not {type(rows).__name__} ({self.name})")
            with telling("read_file", self._task.path):
                self._values.extend(islice(rows, room))
        except TaskError as error:
            problem = str(error).removeprefix(f"{file}: ")  # our own readers name the file
            self.problems.append(f"{file}: {problem}")
            self._values.append(Bad(problem, file))


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the request of a row (`runs.rows.RequestMaker`)."""

    task: Task
    rows: TaskRows
    sampling: Mapping[str, Any]

    def request(self, row: Any, number: int) -> Mapping[str, Any]:
        """Return the request of a row. Raises ValueError, naming the row, where there is none."""
        try:
            return self._request(row, number)
        except ValueError as error:
            raise ValueError(self._placed(str(error), number)) from error

    def unusable(self, bad: Bad, number: int) -> Mapping[str, Any]:
        raise ValueError(self._placed(bad.reason, number))

    def _placed(self, problem: str, number: int) -> str:
        file, place = self.rows.place(number - 1)
        return f"row {place} of {file}: {problem}"

    def _request(self, row: Any, number: int) -> Mapping[str, Any]:
        if type(row) is not dict and not isinstance(row, Mapping):  # nearly all are, and a Mapping is asked for slowly
            raise ValueError(f"a row must be an object with named values, not {type(row).__name__}")
        required = self.task.required_fields
        if required and (missing := [name for name in required if row.get(name) is None]):
            raise ValueError(f"it lacks {', '.join(missing)} (REQUIRED_FIELDS); it has: {', '.join(map(str, row))}")
        body = self._body(self.task.format_prompt({**row}))  # what it changes in its row is no part of the row
        url = CHAT_URL if "messages" in body else COMPLETIONS_URL
        try:
            held, as_json = plain(row)  # its record will hold it
            return {"id": _id(held, as_json), "url": url, "body": body, "row": Asked(number - 1, held)}
        except (TypeError, ValueError) as error:
            raise ValueError(f"its values cannot be written as JSON: {error}") from error

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        if isinstance(prompt, str):
            if not prompt:
                raise ValueError("format_prompt gave an empty prompt")
            return {"prompt": prompt, **{name: v for name, v in self.sampling.items() if name != CHAT_ONLY}}
        return {"messages": _messages(prompt), **self.sampling}


def _id(row: Mapping[str, Any], as_json: bytes) -> str:
    own = None
    for name in ID_COLUMNS:
        own = row.get(name)
        if own is not None and own != "":
            break
    if own != "" and isinstance(own, str | int) and not isinstance(own, bool):
        return str(own)
    return id_of_json(as_json)


def _messages(prompt: Any) -> list[dict[str, Any]]:
    """Check a chat. What its messages say never becomes a control token of a chat template."""
    if not isinstance(prompt, list) or not prompt:
        kind = "an empty list" if prompt == [] else type(prompt).__name__
        raise ValueError(f"format_prompt must return a text or a list of messages, not {kind}")
    for message in prompt:
        if not _is_message(message):
            raise ValueError(f'a message is {{"role": ..., "content": ...}}, not {repr(message)[:RAW_CHARS]}')
    return [{**message, "content": _content(message["content"])} for message in prompt]


def _is_message(message: Any) -> bool:
    if type(message) is not dict and not isinstance(message, Mapping):
        return False
    if not isinstance(message.get("role"), str) or "content" not in message:
        return False
    if len(message) == 2 and isinstance(message["content"], str):  # nearly all are so
        return True
    try:
        to_json(message)
    except (TypeError, ValueError):
        return False
    return True


def _content(content: Any) -> Any:
    if isinstance(content, Own):
        return content
    if isinstance(content, str):
        return inert(content)
    if isinstance(content, list):
        return [{**part, "text": inert(part["text"])} if _is_text(part) else part for part in content]
    return content


def _is_text(part: Any) -> bool:
    return isinstance(part, Mapping) and isinstance(part.get("text"), str)
