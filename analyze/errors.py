"""Every exception of the project, in one tree. Knows nothing of where they are raised.

    AnalyzeError                 printed as a message with its cure, never with a traceback
    ├── UsageError          2    wrong use: a flag, a setting, an environment that cannot work
    │   ├── InputError      2    unusable input: names file, line and cure
    │   └── MixedRunError   2    this run differs from the one already recorded in the output
    ├── NoServerError       3    no server could be reached
    ├── StoppedEarly        4    stopped with work left; the same command continues
    │   ├── OutputHeldError 4    another run writes to this output
    │   ├── ConstraintIgnoredError 4   a server does not honour the requested schema
    │   ├── TimeUp          4    the time that was given is over, as asked
    │   └── OutputLostError 4    the output can no longer be written (disk full or failing, folder removed)
    ├── ServerError         1    a vLLM server could not be started, stopped or kept alive
    └── Interrupted       130    Ctrl-C; what was recorded stays recorded

`exit_code` is what a command ends with when the error reaches its top level. Anything outside this
tree that gets there is our bug: exit 70, with a traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyze.console import printable

if TYPE_CHECKING:
    from analyze.lang import Lang

EXIT_OK = 0
EXIT_SOME_FAILED = 1
EXIT_BUG = 70


class AnalyzeError(Exception):
    """Base of all errors that the user can act on.

    `message` says what was found and where; `cure` is the next thing to do, a command where there is one.
    """

    exit_code = 1

    def __init__(self, message: str, *, cure: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return self.said("en")

    def said(self, lang: Lang) -> str:
        """Return message and cure as a console shows them. What is raised, logged and recorded is English."""
        message, cure = self._message(lang), self.cure and in_language(self.cure, lang)
        return printable(f"{message}\n  → {cure}" if cure else message)

    def _message(self, lang: Lang) -> str:
        return in_language(self.message, lang)


class UsageError(AnalyzeError):
    exit_code = 2


class InputError(UsageError):
    """Unusable input. `path` and `line` (1-based) say where."""

    def __init__(self, message: str, *, path: str | None = None, line: int | None = None, cure: str | None = None):
        self._where = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        super().__init__(self._where + message, cure=cure)
        self.reason = message
        self.path = path
        self.line = line

    def _message(self, lang: Lang) -> str:
        return self._where + in_language(self.reason, lang)


class MixedRunError(UsageError):
    """The output already holds a run with another model, prompt, schema or sampling."""


class NoServerError(AnalyzeError):
    exit_code = 3


class StoppedEarly(AnalyzeError):
    exit_code = 4


class TimeUp(StoppedEarly):
    pass


class OutputHeldError(StoppedEarly):
    pass


class ConstraintIgnoredError(StoppedEarly):
    pass


class OutputLostError(StoppedEarly):
    pass


class ServerError(AnalyzeError):
    exit_code = 1


class Interrupted(AnalyzeError):
    exit_code = 130


def in_language(text: str, lang: Lang) -> str:
    """Return a sentence of ours in the language of a console; what is not known to be one stays as it is."""
    if lang == "en":
        return text
    from analyze.errors_zh import in_chinese

    return in_chinese(text)
