"""The rows of an input as requests: checked, named, those that cannot be used set aside. Knows no journal, no server.

Input ──> chunk ──> template? ──> fields ──> ids ──> shard? ──> requests
            └──────────────┴───> on_bad(line, reason, raw)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol

from analyze.errors import InputError
from analyze.files import whole_file
from analyze.records import Request, to_json
from analyze.runs.account import Account
from analyze.runs.ids import Fields, RowIds, fields_of, requests_of
from analyze.runs.inputs import Bad
from analyze.runs.plan import chunks
from analyze.runs.reading import read_in_thread

Chunk = Sequence[tuple[int, Any]]
OnBad = Callable[[int, str, str], None]

RAW_KEPT = 2000
TABLES = ("csv", "tsv", "parquet")


class Source(Protocol):
    """Where rows come from: an `Input`, or whatever else a job reads.

    `sha256` is of what was read to its end, `fraction_read` the share of it that was; None where there is no telling.
    """

    name: str
    format: str
    can_be_read_again: bool

    @property
    def fraction_read(self) -> float | None: ...

    @property
    def sha256(self) -> str | None: ...

    def rows(self) -> Iterator[tuple[int, Any]]:
        """Yield every row, or a Bad, with its number from 1."""


class RequestMaker(Protocol):
    """What turns a row of a table into a request. Raises ValueError where it cannot."""

    def request(self, row: Any, number: int) -> Mapping[str, Any]:
        """`number`: which row of the input it is, from 1; not the line, since a row may take several, or none."""

    def unusable(self, bad: Bad, number: int) -> Mapping[str, Any]:
        """Return a request that stands for a row that cannot be read, where such a row is to have an outcome."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The `number`th (from 1) of `count` parts of an input. A row's id alone tells its part, not its place."""

    number: int
    count: int

    def has(self, row_id: str) -> bool:
        return int(sha256(row_id.encode(errors="surrogatepass")).hexdigest()[:15], 16) % self.count == self.number - 1


class Rows:
    """One pass over an input."""

    def __init__(
        self,
        source: Source,
        *,
        template: RequestMaker | None = None,
        limit: int | None = None,
        shard: Shard | None = None,
        account: Account | None = None,
        on_bad: OnBad | None = None,
    ) -> None:
        """`limit`: only the first rows. `on_bad` is told of rows that cannot be used; without it each is InputError."""
        self.source = source
        self._template, self._limit, self._shard = template, limit, shard
        self._account, self._on_bad = account or Account(), on_bad
        self._ids = RowIds()
        self._seen = 0

    def chunks(self) -> Iterator[list[Request]]:
        for chunk in chunks(self._values()):
            yield self.of(chunk)

    async def chunks_as_they_come(self) -> AsyncIterator[list[Request]]:
        """Yield the same of an input that may keep its reader waiting."""
        async for chunk in read_in_thread(self._values()):
            yield self.of(chunk)

    def _values(self) -> Iterator[tuple[int, Any]]:
        rows = self.source.rows()
        return rows if self._limit is None else islice(rows, self._limit)

    def of(self, chunk: Chunk) -> list[Request]:
        """Return the requests that some rows are."""
        fields = [(number, made) for number, value in chunk if (made := self._fields(number, value)) is not None]
        try:
            named = requests_of([made for _, made in fields], self._ids)
        except ValueError:  # one of them cannot be asked
            named = [request for number, made in fields for request in self._one(number, made)]
        if self._shard is None:
            return named
        mine = [request for request in named if self._shard.has(request.id)]
        self._account.elsewhere += len(named) - len(mine)
        return mine

    def _one(self, number: int, made: Fields) -> list[Request]:
        try:
            return requests_of([made], self._ids)
        except ValueError as error:
            self._bad(number, error, made.body)
            return []

    def _fields(self, number: int, value: Any) -> Fields | None:
        self._seen += 1
        try:
            if self._template is None and isinstance(value, Bad):
                raise ValueError(value.reason)
            return fields_of(value if self._template is None else _made(self._template, value, self._seen))
        except ValueError as error:
            self._bad(number, error, value)
            return None

    def _bad(self, number: int, error: ValueError, value: Any) -> None:
        if self._on_bad is None:
            raise InputError(str(error), path=self.source.name, line=number, cure=self._cure) from error
        self._account.read += 1
        self._account.rejected += 1
        self._on_bad(number, str(error), _raw(value)[:RAW_KEPT])

    @property
    def _cure(self) -> str:
        if self._template is None and self.source.format in TABLES:
            return "rows of a table become requests by --template prompt.j2"
        wrong = "line" if self._template is None else "line or the template"
        return f"correct the {wrong}, or leave such lines out with --skip-bad"


def _made(maker: RequestMaker, value: Any, number: int) -> Mapping[str, Any]:
    return maker.unusable(value, number) if isinstance(value, Bad) else maker.request(value, number)


def _raw(value: Any) -> str:
    """Return what was there, as far as it can be shown."""
    try:
        return value.raw if isinstance(value, Bad) else to_json(value).decode()
    except (TypeError, ValueError):
        return ""


class Rejects:
    """The list of rows that cannot be used, written as they come, in place of that of an earlier execution."""

    def __init__(self, path: Path, source: str) -> None:
        self._path, self._source = path, source
        self._opened: AbstractContextManager[IO[Any]] | None = None
        self._file: IO[Any] | None = None

    def add(self, line: int, reason: str, raw: str, file: str | None = None) -> None:
        """List a row: its number in `file`, which is the whole input where that is one file."""
        if self._file is None:
            self._opened = whole_file(self._path, "wb")
            self._file = self._opened.__enter__()
        self._file.write(to_json({"file": file or self._source, "line": line, "reason": reason, "raw": raw}) + b"\n")

    def close(self) -> None:
        """Let the list take its place; where there is none to list, there is no file."""
        if self._opened is not None:
            self._opened.__exit__(None, None, None)
        else:
            with suppress(FileNotFoundError):
                self._path.unlink()
