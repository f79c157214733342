"""`logs/main.log`: what a run says on the console, with times. Knows no run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import IO, Any, TextIO, cast

from analyze.files import output_errors
from analyze.runs.manifest import utc_now


class MainLog:
    """Lines of a log. Those that come before it is opened are held back: until then the output is nobody's."""

    def __init__(self) -> None:
        self._held: list[str] = []
        self._file: IO[str] | None = None

    def open(self, path: Path) -> None:
        """Append to this file from now on. Raises UsageError, OutputLostError."""
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 - closed by `close`
        held, self._held = self._held, []
        for line in held:
            self._file.write(line)
        self._file.flush()

    def add(self, text: str) -> None:
        for line in filter(None, text.splitlines()):
            stamped = f"{utc_now()} {line}\n"
            if self._file is None:
                self._held.append(stamped)
            else:
                self._file.write(stamped)
                self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @contextmanager
    def of_console(self) -> Iterator[None]:
        """While the block runs, have a copy of what is printed; of a bar that is drawn anew, nothing."""
        out, errors = _Tee(sys.stdout, self), _Tee(sys.stderr, self)
        try:
            with redirect_stdout(cast(TextIO, out)), redirect_stderr(cast(TextIO, errors)):
                yield
        finally:
            self.close()


class _Tee:
    """A stream, and a copy of the whole lines that are written to it."""

    def __init__(self, stream: TextIO, log: MainLog) -> None:
        self._stream, self._log, self._begun = stream, log, ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._log.add(line.rpartition("\r")[2])
        return self._stream.write(text)
