"""Requests from a user's table: a Jinja template says what to ask about a row, the row's columns fill it in.

    {"id": 7, "title": "…"} ── prompt.j2: "Translate: {{ title }}" ──> {"id": "7", "body": {"messages": […]}}
What the columns hold is text for the model: never template, and never a control token of a chat template (`inert`),
alone, side by side, or with the text around it. The template's own text stays as written. Knows no files of rows.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError
from jinja2.compiler import CodeGenerator
from jinja2.sandbox import SandboxedEnvironment

from analyze.errors import InputError, UsageError
from analyze.files import input_errors, strictness, text_encoding
from analyze.inert import Own, inert_joined
from analyze.records import Body
from analyze.runs.ids import content_id
from analyze.runs.inputs import Bad
from analyze.tokens import unguarded_cure, unguarded_in, unguarded_message

ID_COLUMNS = ("custom_id", "task_id", "id")
GROUP_COLUMN = "group"
NAMES_SHOWN = 20


class _MarkingOwnText(CodeGenerator):
    """Compiles a template so that what it gives out piece by piece tells its own text from a row's.

    What passes through a macro, or a filter or `set` block, has lost its mark, and counts as the row's.
    """

    def _output_const_repr(self, group: Iterable[Any]) -> str:
        return f"environment.own({super()._output_const_repr(group)})"


class _Environment(SandboxedEnvironment):
    code_generator_class = _MarkingOwnText
    own = Own


class Template:
    """A prompt to be filled in. `fields` are further fields of each body: temperature, max_tokens, response_format ...

    A template sees each column by its name, and all of them as `row`: `{{ row["first name"] }}`. Raises InputError
    for a file that is missing, unreadable or no template.
    """

    def __init__(self, path: str | Path, fields: Mapping[str, Any] | None = None, *, text: str | None = None) -> None:
        """`text`: the template, where it is only a part of the file."""
        self._fields = dict(fields or {})
        self._unguarded: tuple[Collection[str], str | None] = (), None
        if "messages" in self._fields:
            raise UsageError("the body holds messages, which the template writes", cure="leave them out of the body")
        name = os.fspath(path)
        # A stranger's template must not reach Python; quotes and < in a prompt stay what they are.
        environment = _Environment(undefined=StrictUndefined, autoescape=False)
        try:
            self._template = environment.from_string(_text_of(name) if text is None else text)
        except TemplateSyntaxError as error:
            cure = "correct it; {% raw %}…{% endraw %} around text that is meant to hold {{, {% or {#"
            raise InputError(f"no template: {error.message}", path=name, line=error.lineno, cure=cure) from error

    def request(self, row: Mapping[str, Any], number: int = 0) -> Mapping[str, Any]:
        """Return the request of one row: `{"id"?, "group"?, "body"}`. Raises ValueError where there is none."""
        if not isinstance(row, Mapping):
            raise ValueError(f"a row must be an object with named values, not {type(row).__name__}")
        body: Body = {**self._fields, "messages": [{"role": "user", "content": self.text(row)}]}
        own = next((value for name in ID_COLUMNS if (value := _name_in(row, name))), None) or content_id(row)
        named = {"id": own, "group": _name_in(row, GROUP_COLUMN)}
        return {**{key: value for key, value in named.items() if value}, "body": body}

    def unusable(self, bad: Bad, number: int) -> Mapping[str, Any]:
        """Raise ValueError: a row that cannot be read makes no request."""
        raise ValueError(bad.reason)

    def refuse(self, tokens: Collection[str], model: str | None) -> None:
        """Refuse from now on every row that brings in one of these control tokens of the model: see `tokens`."""
        self._unguarded = tokens, model

    def text(self, row: Mapping[str, Any]) -> str:
        """Return the prompt of one row. Raises ValueError where there is none."""
        pieces = self._pieces(row)
        text = inert_joined(pieces)
        tokens, model = self._unguarded
        token = unguarded_in(text, tokens, own="\n".join(piece for piece in pieces if isinstance(piece, Own)))
        if token is not None:
            raise ValueError(f"{unguarded_message(token, model)}; {unguarded_cure(token)}")
        return text

    def _pieces(self, row: Mapping[str, Any]) -> list[str]:
        try:
            return list(self._template.generate({"row": row, **row}))
        except UndefinedError as error:
            names = ", ".join(list(row)[:NAMES_SHOWN]) + (", ..." if len(row) > NAMES_SHOWN else "")
            raise ValueError(f"the template asks for what the row lacks: {error.message}; it has: {names}") from error
        except Exception as error:  # whatever Python says of what a template does with a row's values
            raise ValueError(f"the template fails on this row: {type(error).__name__}: {error}") from error


def _name_in(row: Mapping[str, Any], column: str) -> str | None:
    """Return the row's name in this column as text; None where it is empty or missing."""
    value = row.get(column)
    if value is None or value == "":
        return None
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError(f"its {column} is {value!r}, neither text nor a whole number")
    return str(value)


def _text_of(name: str) -> str:
    with input_errors(name), open(name, "rb") as file:
        encoding = text_encoding(file, name)
        try:
            return file.read().decode(encoding, strictness(encoding))
        except UnicodeDecodeError as error:
            raise InputError("neither UTF-8 nor GB18030 text", path=name, cure="save it as UTF-8") from error
