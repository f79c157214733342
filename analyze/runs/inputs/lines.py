"""Rows of JSON and of plain text: a line each, or the members of one array, each as soon as it is there."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from functools import partial
from io import BufferedReader
from typing import Any

import orjson

from analyze.errors import InputError
from analyze.files import CHUNK_BYTES, decoded_lines, strictness
from analyze.records import from_json
from analyze.runs.inputs.row import LONGEST_ROW, NO_TEXT, RAW_CHARS, Bad, Row

_LONGEST_WORD = len("-Infinity")


def line_rows(text: BufferedReader[Any], encoding: str) -> Iterator[Row]:
    """Rows of JSON lines. UTF-8 goes to the parser as it is: decoding it first takes as long again as parsing."""
    lines: Iterator[str | bytes]
    lines = iter(partial(text.readline, LONGEST_ROW), b"") if encoding == "utf-8" else decoded_lines(text, encoding)
    for number, line in enumerate(lines, 1):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            if not line.strip():
                continue
            value = _leniently(line)
            while len(line) == LONGEST_ROW and isinstance(line, bytes) and not line.endswith(b"\n"):
                line = text.readline(LONGEST_ROW)
        yield number, value


def _leniently(line: str | bytes) -> Any:
    """Read a line that a strict parser refused: it may hold lone surrogates or NaN, or be Bad."""
    if len(line) == LONGEST_ROW:
        reason = f"longer than {LONGEST_ROW >> 20} MiB"
    else:
        try:
            return from_json(line if isinstance(line, str) else line.decode("utf-8", strictness("utf-8")))
        except UnicodeDecodeError:
            reason = NO_TEXT
        except ValueError as error:
            reason = f"no JSON: {error}"
    start = line[: 4 * RAW_CHARS]
    return Bad(reason, (start if isinstance(start, str) else start.decode(errors="replace"))[:RAW_CHARS].rstrip("\r\n"))


def text_rows(text: BufferedReader[Any], encoding: str) -> Iterator[Row]:
    """Rows of plain text: each line that is not blank."""
    for number, line in enumerate(decoded_lines(text, encoding), 1):
        if isinstance(line, bytes):
            yield number, Bad(NO_TEXT, line.decode(errors="replace")[:RAW_CHARS].rstrip("\r\n"))
        elif line.strip():
            yield number, line.strip()


def lists(start: bytes, key: str) -> bool:
    return re.search(rb'"%s"\s*:\s*\[' % re.escape(key.encode()), start) is not None


def array_rows(text: BufferedReader[Any], encoding: str, name: str, key: str | None = None) -> Iterator[Row]:
    """Rows of one JSON array, or of the one under `key` of an object, each read as soon as it is there."""
    array = _JsonText(text, encoding)
    number = 0
    try:
        if key is not None:
            array.take("{")
            while array.member() != key:
                array.value()
                array.take(",")
        array.take("[")
        if array.next_character() != "]":
            number += 1
            yield number, array.value()
            while array.next_character() == ",":
                array.take(",")
                number += 1
                yield number, array.value()
        array.take("]")
        while key is not None and array.next_character() == ",":
            array.take(",")
            array.member()
            array.value()
        array.take("" if key is None else "}")
        array.take("")
    except UnicodeDecodeError as error:
        cure = "save the file as UTF-8"
        raise InputError(f"{NO_TEXT} after row {number}", path=name, cure=cure) from error
    except (ValueError, RecursionError) as error:
        problem = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        cure = "correct it: where one row of an array ends wrongly, the next ones cannot be told"
        raise InputError(f"no JSON in or after row {number}: {problem}", path=name, cure=cure) from error


class _JsonText:
    """JSON text of any length, of which as much is held as the next value needs."""

    _blank = re.compile(r"[ \t\r\n]*")

    def __init__(self, file: BufferedReader[Any], encoding: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)(strictness(encoding))
        self._read = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0

    def next_character(self) -> str:
        """Return the next character that is not blank, without taking it; nothing at the end."""
        while True:
            self._at = self._blank.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, character: str) -> None:
        found = self.next_character()
        if found != character:
            raise _no_json(f"{character!r} expected" if character else "nothing more expected", self._text, self._at)
        self._at += len(character)

    def member(self) -> Any:
        """Take the name of an object's next member, and its colon."""
        name = self.value()
        self.take(":")
        return name

    def value(self) -> Any:
        self.next_character()
        while True:
            try:
                value, end = self._read(self._text, self._at)
            except json.JSONDecodeError as error:
                if not (self._may_go_on(error.pos) and self._more()):
                    raise _no_json(error.msg, error.doc, error.pos) from None
                continue
            is_near_the_end = end > len(self._text) - _LONGEST_WORD
            if isinstance(value, int | float) and is_near_the_end and self._more():  # 1 may go on as 1.5e-7
                continue
            self._at = end
            return value

    def _may_go_on(self, error: int) -> bool:
        """Whether a value stops making sense at `error` only because the text held ends: near there, or in a string."""
        longer = len(self._text) - self._at < LONGEST_ROW
        return longer and (error > len(self._text) - _LONGEST_WORD or self._text[error] == '"')

    def _more(self) -> bool:
        """Read on; twice as much each time, so that a long value is not read from its start too often."""
        chunk = self._file.read1(max(CHUNK_BYTES, len(self._text) - self._at))
        text = self._decoder.decode(chunk, final=not chunk)
        if chunk:
            self._text, self._at = self._text[self._at :] + text, 0
        return bool(chunk)


def _no_json(problem: str, text: str, at: int) -> ValueError:
    there = text[at : at + 40]
    return ValueError(f"{problem} at {there!r}" if there else f"{problem}, but the text ends")
