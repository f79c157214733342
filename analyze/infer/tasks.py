"""A task: where it is, and its own code, called so that whatever it raises is told with file, line and row.

    configs/<name>/task_config.py    get_file_list(input_path) -> paths        read_file(path) -> rows
                                     format_prompt(row) -> text | messages     extract_answer(reply[, row]) -> answer
                                     evaluate(rows) -> figures, REQUIRED_FIELDS     (both may be missing)
    configs/<name>/task.yaml         the same without code (`nocode`)
`evaluate` is given the records of all rows (`records`), each with its `answer` and `extract_status`, and with `answers`
where it has several replies.
Looked for in the working directory, then among those that come with the program. Knows no run.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

from analyze.errors import AnalyzeError, InputError, UsageError
from analyze.infer.sampling import DEFAULT_FILE, FILE

CONFIGS = "configs"
CODE, NO_CODE = "task_config.py", "task.yaml"
FUNCTIONS = ("get_file_list", "read_file", "format_prompt", "extract_answer")

Row = Mapping[str, Any]
Prompt = str | list[dict[str, Any]]


class TaskError(ValueError):
    """What a task's own code raised: which function, what, and where in it."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task that is loaded. `path` is its code. All its functions raise TaskError for whatever the code raises."""

    name: str
    path: Path
    sha256: str
    get_file_list: Callable[[str], Sequence[str]]
    read_file: Callable[[str], Iterable[Any]]
    format_prompt: Callable[[Row], Prompt]
    extract_answer: Callable[[str, Row], Any]
    evaluate: Callable[[list[dict[str, Any]]], Any] | None = None
    required_fields: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def sampling_file(self) -> Path:
        return self.folder / FILE


def packaged_configs() -> Path:
    """Return the folder of the tasks that come with the program."""
    return Path(str(files("analyze.infer").joinpath(CONFIGS)))


def default_sampling_file() -> Path:
    return Path(CONFIGS, DEFAULT_FILE)


def find_task(name: str) -> Path:
    """Return the file that is the task's code. Raises UsageError."""
    places = [Path(CONFIGS), packaged_configs()]
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise UsageError(f"--task_name {name!r} is no name of a folder in {CONFIGS}/", cure=f"one of {_names(places)}")
    for place in places:
        for kind in (CODE, NO_CODE):
            if (path := place / name / kind).is_file():
                return path
    if any((place / name).is_dir() for place in places):
        raise UsageError(f"{CONFIGS}/{name} holds neither {CODE} nor {NO_CODE}", cure="write one of them")
    raise UsageError(f"there is no task {name!r}: no folder {CONFIGS}/{name}", cure=f"one of {_names(places)}")


def names_in(places: Iterable[Path]) -> list[str]:
    """Return the names of all tasks in some folders."""
    return sorted(
        {path.parent.name for place in places for kind in (CODE, NO_CODE) for path in place.glob(f"*/{kind}")}
    )


def _names(places: Iterable[Path]) -> str:
    return ", ".join(names_in(places))


def load_task(name: str) -> Task:
    """Find a task and load it. Raises UsageError, InputError."""
    path = find_task(name)
    if path.name == NO_CODE:
        from analyze.infer.nocode import load_no_code

        return load_no_code(name, path)
    return _load_code(name, path)


def _load_code(name: str, path: Path) -> Task:
    module = _module(path)
    functions = {}
    for wanted in FUNCTIONS:
        function = getattr(module, wanted, None)
        if not callable(function):
            what = "is no function" if hasattr(module, wanted) else "is missing"
            raise InputError(f"{wanted} {what}", path=str(path), cure=f"a task has {', '.join(FUNCTIONS)}")
        functions[wanted] = _told(function, wanted, path)
    evaluate = getattr(module, "evaluate", None)
    required = getattr(module, "REQUIRED_FIELDS", ())
    if isinstance(required, str) or not all(isinstance(field, str) for field in required):
        raise InputError("REQUIRED_FIELDS is no list of names", path=str(path), cure='REQUIRED_FIELDS = ["question"]')
    takes_row = _takes_two(module.extract_answer)
    extract = functions["extract_answer"]
    return Task(
        name=name,
        path=path,
        sha256=sha256_of_folder(path),
        get_file_list=functions["get_file_list"],
        read_file=functions["read_file"],
        format_prompt=functions["format_prompt"],
        extract_answer=extract if takes_row else lambda reply, row: extract(reply),
        evaluate=_told(evaluate, "evaluate", path) if callable(evaluate) else None,
        required_fields=tuple(required),
    )


def sha256_of_folder(path: Path) -> str:
    """Return the SHA-256 (hex) of a task's code: its own file, and the modules beside it that it may import."""
    digest = hashlib.sha256()
    for file in sorted({path, *path.parent.glob("*.py")}):
        digest.update(f"{file.name}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _module(path: Path) -> ModuleType:
    """Run a task's file. Raises InputError for whatever it raises."""
    module = ModuleType(f"analyze_task_{path.parent.name}")
    module.__file__ = str(path.resolve())
    sys.modules[module.__name__] = module  # dataclasses and pickles of the task look it up by its name
    sys.path.insert(0, str(path.parent.resolve()))  # what stands beside it can be imported, now and when it is called
    try:
        # No bytecode is kept: that of an edit within the same second would be taken for this one's.
        exec(compile(path.read_bytes(), module.__file__, "exec"), module.__dict__)
    except SyntaxError as error:
        raise InputError(
            f"no Python: {error.msg}", path=error.filename, line=error.lineno, cure="correct it"
        ) from error
    except (Exception, SystemExit) as error:
        line = line_in(error, path.parent)
        raise InputError(
            f"it raised {name_of(error)} when it was loaded", path=str(path), line=line, cure="correct it"
        ) from error
    return module


def _takes_two(function: Callable[..., Any]) -> bool:
    """Whether a function is to be given the row too."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    has_rest = any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters)
    second = [one.default for one in parameters if one.kind in kinds][1:2]
    # `strict=False` is a setting of the task's own; `org_data=None` waits for the row.
    return has_rest or any(default is inspect.Parameter.empty or default is None for default in second)


def _told(function: Callable[..., Any], name: str, path: Path) -> Callable[..., Any]:
    """Return the function with whatever it raises turned into TaskError."""

    def called(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (Exception, SystemExit) as error:
            raise task_error(error, name, path) from error

    return called


@contextmanager
def telling(name: str, path: Path) -> Iterator[None]:
    """Turn whatever a generator of the task's raises on its way into TaskError."""
    try:
        yield
    except TaskError:
        raise
    except AnalyzeError as error:  # a task without code reads by means of ours
        raise TaskError(error.message) from error
    except (Exception, SystemExit) as error:
        raise task_error(error, name, path) from error


def task_error(error: BaseException, name: str, path: Path) -> TaskError:
    line = line_in(error, path.parent)
    where = f"{path}:{line}" if line else str(path)
    return TaskError(f"{name} raised {name_of(error)} ({where})")


def name_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def line_in(error: BaseException, folder: Path) -> int | None:
    """Return the line of the task's own code that an error came through last."""
    home = folder.resolve()
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if home in Path(frame.filename).resolve().parents]
    return lines[-1] if lines else None
