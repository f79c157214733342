"""The labels there are: their names, what they mean, examples. Pure but for reading a file of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyze.errors import InputError, UsageError
from analyze.files import text_lines
from analyze.records import from_json, to_json

DEFAULT = ("medical", "others")

_NAMES = "label", "name"
_FIELDS = {*_NAMES, "description", "examples"}
_ENDINGS = (".txt", ".json", ".jsonl")
SHOWN_CHARS = 200


@dataclass(frozen=True, slots=True)
class Label:
    """One label. `examples` are texts that have it."""

    name: str
    description: str = ""
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Labels:
    """A set of labels, in the order in which they are shown. `multi`: a text may have any number of them, or none."""

    all: tuple[Label, ...]
    multi: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError for labels that cannot be told apart, or that leave nothing to choose."""
        names = self.names
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"two labels are named {twice!r}", cure="name each label once")
        if not all(name.strip() for name in names):
            raise UsageError("a label has no name", cure="--labels a,b,c without empty ones")
        if len(names) < (1 if self.multi else 2):
            raise UsageError(f"{len(names)} label(s) leave nothing to choose", cure="--labels a,b,c")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.all)

    @property
    def pattern(self) -> str:
        """The regular expression that a reply has to match: `{"label": "a"}`, with `multi` `{"a": true, "b": false}`.

        A pattern, not a JSON schema: under a schema a model may write blanks until its tokens are used up, and what
        keeps it from that is a setting of the server, which may be somebody else's.
        """
        quoted = [_escaped(to_json(name).decode()) for name in self.names]
        if not self.multi:
            return rf'\{{"label": ({"|".join(quoted)})\}}'
        return r"\{" + ", ".join(f"{name}: (true|false)" for name in quoted) + r"\}"

    def reply(self, chosen: Sequence[str]) -> str:
        """Return the reply that gives these labels: the only one that `pattern` lets through."""
        if not self.multi:
            return f'{{"label": {to_json(chosen[0]).decode()}}}'
        told = (f"{to_json(name).decode()}: {'true' if name in chosen else 'false'}" for name in self.names)
        return f"{{{', '.join(told)}}}"


def _escaped(text: str) -> str:
    """Escape what means something in any dialect of regular expressions, and nothing else."""
    return re.sub(r"[\\.^$*+?{}\[\]()|]", lambda found: f"\\{found[0]}", text)


def read_labels(text: str | None, *, multi: bool = False) -> Labels:
    """Return the labels that `--labels` names: `a,b,c`, or a file.

    A file is `.txt`, a name a line; `.json`, a list of names or of `{"label", "description", "examples"}`, or an object
    from names to descriptions; or `.jsonl`, one of these a line. Raises InputError, UsageError.
    """
    if text is None:
        return Labels(tuple(map(Label, DEFAULT)), multi)
    path = Path(text)
    if path.suffix in _ENDINGS:
        return Labels(tuple(_from_file(path)), multi)
    if path.is_file():
        raise UsageError(f"{text}: a file of labels is one of {', '.join(_ENDINGS)}", cure="give it another ending")
    return Labels(tuple(Label(name.strip()) for name in text.split(",")), multi)


def _from_file(path: Path) -> list[Label]:
    lines = [(number, line) for number, line in text_lines(path) if isinstance(line, str)]
    if path.suffix == ".txt":
        return [Label(line.strip()) for _, line in lines]
    if path.suffix == ".jsonl":
        return [_label(_value(line, path, number), path, number) for number, line in lines]
    value = _value("\n".join(line for _, line in lines), path, None)
    if isinstance(value, Mapping):
        return [_label({"label": name, "description": said}, path, None) for name, said in value.items()]
    if not isinstance(value, list):
        raise _wrong(value, path, None)
    return [_label(one, path, None) for one in value]


def _value(text: str, path: Path, line: int | None) -> Any:
    try:
        return from_json(text)
    except (ValueError, json.JSONDecodeError) as error:
        raise InputError(f"no JSON: {error}", path=str(path), line=line, cure="correct it") from error


def _label(value: Any, path: Path, line: int | None) -> Label:
    if isinstance(value, str):
        return Label(value)
    name = next((value[key] for key in _NAMES if key in value), None) if isinstance(value, Mapping) else None
    description, examples = (
        (value.get("description") or "", value.get("examples") or []) if name is not None else ("", [])
    )
    if not (isinstance(name, str) and isinstance(description, str) and _are_texts(examples)):
        raise _wrong(value, path, line)
    if not _FIELDS.issuperset(value):  # a slip in a field's name would go unnoticed for ever
        raise _wrong(value, path, line)
    return Label(name, description, tuple(examples))


def _are_texts(values: object) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str) and all(isinstance(one, str) for one in values)


def _wrong(value: Any, path: Path, line: int | None) -> InputError:
    cure = 'a label is "name", or {"label": "name", "description": "...", "examples": ["..."]}'
    shown = to_json(value).decode(errors="replace")[:SHOWN_CHARS]
    return InputError(f"this is no label: {shown}", path=str(path), line=line, cure=cure)
