"""`results/infer`: the journal of a run, in as many files as it has tasks.

    record ──> the file of the row's task, as they come          all files together are the journal, whatever their cut
    lay_out ──> one line a row, in the order of the input, each in the file of its task; `earlier.jsonl` has the rows
                that the input no longer holds: if they come back, they are answered
How the input is cut into tasks is a matter of files alone: another cut asks nothing. Knows no task's code.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from analyze.errors import InputError
from analyze.infer.records import READ_ONLY, Record
from analyze.infer.tree import Tree, name_of, whole_folder
from analyze.records import Outcome, Request, from_json, to_json
from analyze.runs.index import Index
from analyze.runs.journal import Journal, WhatIsKnown, foreign, read_lines, what_files_know
from analyze.runs.lines import Lines
from analyze.runs.seen import Known

EARLIER = "earlier.jsonl"
MOST_OPEN = 64
"""Files open at a time: a thousand tasks are more than a process may have open."""

_FILE_SHIFT = 44  # a place is a number of a file and where in it, in one: 16 TB a file
_OFFSET = (1 << _FILE_SHIFT) - 1
_NOWHERE = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Cut:
    """How `rows` rows are cut into `tasks` tasks, each of rows that follow each other; numbered from 1."""

    rows: int
    tasks: int

    @classmethod
    def of(cls, rows: int, wanted: int) -> Cut:
        """Cut into so many tasks, as far as there is a row for each."""
        return cls(rows, max(1, min(rows, wanted)))

    def task_of(self, index: int) -> int:
        """Return the task of a row, by its place from 0."""
        return ((index + 1) * self.tasks - 1) // self.rows + 1

    def range_of(self, task: int) -> range:
        return range((task - 1) * self.rows // self.tasks, task * self.rows // self.tasks)


def segments(folder: Path) -> list[Path]:
    """Return the files of a journal. Those of a later task come later."""
    return sorted(folder.glob("*.jsonl"))


class Segments(Journal):
    """A journal in several files, each with answers and failures. Open it under a RunLock."""

    def __init__(
        self,
        tree: Tree,
        lines: Lines,
        path_of: Callable[[Request], Path],
        heard: Callable[[Request, Outcome], object] = lambda request, outcome: None,
        *,
        is_fresh: bool = False,
    ) -> None:
        """`path_of`: where the outcome of a request belongs; `heard` is told each that is recorded. `is_fresh`: what
        is there is about to be moved away.

        Raises InputError if a file holds something else.
        """
        self._tree, self._path_of_request, self._heard, self._is_fresh = tree, path_of, heard, is_fresh
        super().__init__(tree.infer, lines=lines)

    def record(self, outcome: Outcome, request: Request | None = None) -> Known | None:
        known = super().record(outcome, request)
        assert request is not None, "the record of a row needs the row"
        self._heard(request, outcome)
        return known

    def _what_is_known(self) -> WhatIsKnown:
        return what_files_know([] if self._is_fresh else self._files(), self._lines)

    def _files(self) -> Sequence[Path]:
        return segments(self._tree.infer)

    def _path_of(self, outcome: Outcome, request: Request | None) -> Path:
        assert request is not None, "the record of a row needs the row"
        return self._path_of_request(request)

    def _appender(self, path: Path) -> Any:
        if path not in self._appenders and len(self._appenders) >= MOST_OPEN:
            first = next(iter(self._appenders))
            self._appenders.pop(first).close()
        return super()._appender(path)


# -- reading -----------------------------------------------------------------------------------------------------------


class Records:
    """The current record of each row in some files: of several the last, and an answer rather than a failure.

    Memory holds 24 bytes a row.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises InputError for a line that no run of ours wrote."""
        self._paths = paths
        self._numbers = Index()  # of rows, by id, in the order in which they were first met
        self._places = array("Q")
        for file, path in enumerate(paths):
            for line_number, (start, line) in enumerate(read_lines(path), 1):
                try:
                    row_id, _, failed = READ_ONLY.heading(line)
                except (ValueError, KeyError, TypeError) as error:
                    raise foreign(path, line_number, error) from error
                place = file << _FILE_SHIFT | start
                number = self._numbers.get(row_id)
                if number is None:
                    self._numbers[row_id] = len(self._places)
                    self._places.append(place)
                elif failed is None or self.record(self._places[number])["failed"] is not None:
                    self._places[number] = place

    def __len__(self) -> int:
        return len(self._places)

    def number(self, row_id: str) -> int | None:
        return self._numbers.get(row_id)

    def file_of(self, number: int) -> int:
        return self._places[number] >> _FILE_SHIFT

    def start_of(self, number: int) -> int:
        return self._places[number] & _OFFSET

    def record(self, place: int) -> Record:
        with open(self._paths[place >> _FILE_SHIFT], "rb") as file:
            file.seek(place & _OFFSET)
            return dict(from_json(file.readline()))

    def lines(self, numbers: Sequence[int] | range) -> Iterator[bytes]:
        """Yield the lines of these rows."""
        with ExitStack() as stack:
            files: dict[int, IO[bytes]] = {}
            for number in numbers:
                at, start = self.file_of(number), self.start_of(number)
                if at not in files:
                    if len(files) >= MOST_OPEN:
                        stack.close()
                        files.clear()
                    files[at] = stack.enter_context(open(self._paths[at], "rb"))
                file = files[at]
                if file.tell() != start:
                    file.seek(start)
                yield file.readline()


# -- laying out --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Layout:
    """What the files should hold: `ids` has the place of each row of the input, by its id; `head` is what the record
    of a row must say of its place, `org_data` the row as it is now."""

    cut: Cut
    ids: Index
    head: Callable[[int], Record]
    org_data: Callable[[int], Any]


def lay_out(tree: Tree, layout: Layout) -> int:
    """Put the journal in order, in one step; where it is, nothing is written. Return how many earlier rows there are.

    A record keeps its answer; its head, and the row in it where that has changed beside what is asked, are renewed.
    """
    paths = segments(tree.infer)
    records = Records(paths)
    numbers = array("Q", [_NOWHERE]) * layout.cut.rows  # of the record of each row of the input
    earlier = array("Q")
    for number, line in enumerate(records.lines(range(len(records)))):
        index = layout.ids.get(READ_ONLY.heading(line)[0])
        if index is None:
            earlier.append(number)
        else:
            numbers[index] = number
    if not _is_laid_out(paths, records, numbers, earlier, layout):
        with whole_folder(tree.infer) as folder:
            for task in range(1, layout.cut.tasks + 1):
                indexes = [index for index in layout.cut.range_of(task) if numbers[index] != _NOWHERE]
                with open(folder / f"{name_of(task)}.jsonl", "wb") as file:
                    lines = records.lines([numbers[index] for index in indexes])
                    file.writelines(_renewed(line, index, layout) for line, index in zip(lines, indexes, strict=True))
            if earlier:
                with open(folder / EARLIER, "wb") as file:
                    file.writelines(records.lines(earlier.tolist()))
    return len(earlier)


def _is_laid_out(
    paths: Sequence[Path], records: Records, numbers: array[int], earlier: array[int], layout: Layout
) -> bool:
    names = [f"{name_of(task)}.jsonl" for task in range(1, layout.cut.tasks + 1)]
    if [path.name for path in paths] != sorted([*names, *([EARLIER] if earlier else [])]):
        return False
    wanted = [(index, number) for index, number in enumerate(numbers) if number != _NOWHERE]
    place = 0
    file_at = {path.name: at for at, path in enumerate(paths)}
    for (index, number), line in zip(wanted, records.lines([number for _, number in wanted]), strict=True):
        at = file_at[names[layout.cut.task_of(index) - 1]]
        here = at << _FILE_SHIFT | records.start_of(number)
        if records.file_of(number) != at or here < place or _renewed(line, index, layout) is not line:
            return False
        place = here
    is_kept = all(paths[records.file_of(number)].name == EARLIER for number in earlier)
    return is_kept and len(wanted) + len(earlier) == sum(1 for path in paths for _ in read_lines(path))


def _renewed(line: bytes, index: int, layout: Layout) -> bytes:
    """Return the line as it should be; the very same object where it is."""
    record, head, row = from_json(line), layout.head(index), layout.org_data(index)
    if all(record.get(name) == value for name, value in head.items()) and _is_alike(record["org_data"], row):
        return line
    return to_json({**record, **head, "org_data": row}) + b"\n"


def _is_alike(recorded: Any, now: Any) -> bool:
    return bool(recorded == now) or to_json(recorded) == to_json(now)


def refuse_empty(tree: Tree) -> list[Path]:
    """Return the files of a journal. Raises InputError where there is none."""
    paths = segments(tree.infer)
    if not any(path.stat().st_size for path in paths):
        cure = "run without --extract_only first, or give the --output_path of a run"
        raise InputError("holds no recorded replies", path=str(tree.infer), cure=cure)
    return paths
