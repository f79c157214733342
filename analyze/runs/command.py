"""The outermost frame of every command: arguments in, exit code out. Knows no job."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import re
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from analyze.console import printable
from analyze.errors import EXIT_BUG, AnalyzeError, Interrupted, TimeUp, UsageError
from analyze.lang import Lang, language
from analyze.settings import Setting, Settings

INTERRUPTED: dict[Lang, str] = {"en": "Interrupted; everything recorded is safe.", "zh": "已中断，已记录的结果都在。"}
CONTINUE: dict[Lang, str] = {"en": "continue with: {command}", "zh": "继续运行: {command}"}
AGAIN: dict[Lang, str] = {"en": "call it again to continue", "zh": "再次调用即可继续"}
ERROR: dict[Lang, str] = {"en": "error: ", "zh": "错误: "}
GARBAGE = 50_000
"""Objects made, and not ended, between two looks for cycles; Python's own 700 is for programs that keep few."""

LOG_JSON = "--log-json"
STARTS_AFRESH = ("--force-new", "--rerun")


class Parser(argparse.ArgumentParser):
    """argparse, with wrong use reported in our way (message, cure, exit 2)."""

    def error(self, message: str) -> NoReturn:
        typed = f"python -m {self.prog}" if "." in self.prog else self.prog
        raise UsageError(message, cure=f"{typed} --help")


def add_settings(parser: argparse.ArgumentParser, settings: Sequence[Setting], lang: Lang) -> None:
    """Add a flag for each setting, `--show-settings`, and `--lang`, which is `--analyze-lang` for short."""
    for setting in settings:
        if setting.secret:
            continue  # a key on the command line shows in `ps`
        default = "" if setting.default is None else f" ({setting.default})"
        flags = [setting.flag, "--lang"] if setting.env == "ANALYZE_LANG" else [setting.flag]
        parser.add_argument(*flags, dest=setting.key, metavar="VALUE", help=setting.help[lang] + default)
    parser.add_argument("--show-settings", action="store_true", help="print each setting and where it came from")


def add_run_flags(parser: argparse.ArgumentParser, *, skips_bad: bool = False) -> None:
    """Add what every job that asks servers understands. `skips_bad`: it goes on without unusable lines anyway."""
    add = parser.add_argument
    add("--base-url", "--api-base", action="append", default=[], metavar="URL", help="a server; repeatable")
    add(
        "--in-flight",
        type=positive,
        metavar="N",
        help="requests out at a time, in all; default: what each server can use",
    )
    if not skips_bad:
        add("--skip-bad", action="store_true", help="list unusable lines and go on without them")
    add("--update", action="store_true", help="ask again what changed since it was recorded")
    add("--retry-failed", action="store_true", help="ask failed rows again, permanent failures too")


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)


def temperature(text: str) -> float:
    """Read a sampling temperature. NaN would be null in a request, and leave the choice to the server."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 2:
        raise argparse.ArgumentTypeError(f"{text!r} is no temperature from 0 to 2")
    return value


def flags_of(args: argparse.Namespace, settings: Sequence[Setting]) -> Settings:
    """Return the settings that the parsed flags, the environment and the defaults give."""
    return Settings(settings, {s.key: getattr(args, s.key, None) for s in settings})


def run_command(job: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None) -> int:
    """Run `job` with its arguments and return the exit code; errors that users can act on are printed, not raised.

    With --log-json they are lines of JSON, and so are warnings of whatever library.
    """
    argv = sys.argv[1:] if argv is None else argv
    _let_streams_survive()
    collect_seldom()
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    is_json = LOG_JSON in argv
    with _warnings_as_json() if is_json else nullcontext():
        try:
            return job(argv)
        except AnalyzeError as error:
            return _ended_by(error, _lang_of(argv), is_json=is_json)
        except KeyboardInterrupt:
            lang = _lang_of(argv)
            return _ended_by(interrupted(lang), lang, is_json=is_json)
        except BrokenPipeError:
            # The reader of our output went away (`| head`); stdout is closed for good, and must not be flushed at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        except Exception:  # noqa: BLE001 - the top level: what gets here is our bug, and is shown whole
            bug = "this is a bug in analyze; what was recorded before it is safe"
            trace = traceback.format_exc()
            _say(_json("error", message=bug, traceback=trace, exit_code=EXIT_BUG) if is_json else f"{trace}{bug}")
            return EXIT_BUG


def _ended_by(error: AnalyzeError, lang: Lang, *, is_json: bool) -> int:
    told = {"message": error.message, "cure": error.cure, "exit_code": error.exit_code}
    begin = "" if isinstance(error, Interrupted | TimeUp) else ERROR[lang]
    _say(_json("error", **told) if is_json else f"{begin}{error.said(lang)}")
    return error.exit_code


def _lang_of(argv: Sequence[str]) -> Lang:
    """Return the language that a command line asks for: it may not have been read to its end, for it may be wrong."""
    given = re.search(r"(?:^|\0)--(?:analyze-)?lang[\0=](en|zh)(?:\0|$)", "\0".join(argv))
    try:
        return language(given[1] if given else None)
    except UsageError:  # ANALYZE_LANG itself is wrong, and that is the error
        return "en"


class _JsonLines(logging.Handler):
    """Says each log record as a line of JSON."""

    def emit(self, record: logging.LogRecord) -> None:
        _say(_json(record.levelname.lower(), text=self.format(record)))


@contextmanager
def _warnings_as_json() -> Iterator[None]:
    root, handler = logging.getLogger(), _JsonLines()
    if any(isinstance(other, _JsonLines) for other in root.handlers):  # `analyze batch` is a command in a command
        yield
        return
    logging.captureWarnings(True)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        logging.captureWarnings(False)


def _json(event: str, **fields: Any) -> str:
    from analyze.runs.progress import json_line

    return json_line(event, **fields)


def interrupted(lang: Lang) -> Interrupted:
    """Return the error of a run that was stopped, with the command that continues it."""
    typed = command_line()
    return Interrupted(INTERRUPTED[lang], cure=CONTINUE[lang].format(command=typed) if typed else AGAIN[lang])


def command_line() -> str | None:
    """Return the command that is running, as one would type it to continue; None where it is a script or a notebook.

    `ANALYZE_COMMAND` is what a script says that was typed, where it was not this.
    """
    if typed := os.environ.get("ANALYZE_COMMAND"):
        return typed
    argv = command_argv()
    return None if argv is None else shlex.join(argv)


def command_argv() -> list[str] | None:
    """Return the arguments of the command that is running, without what starts afresh; None where it is none."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    flags = [flag for flag in sys.argv[1:] if flag not in STARTS_AFRESH]
    if spec is not None and spec.name.startswith("analyze."):
        return ["python", "-m", spec.name.removesuffix(".__main__"), *flags]
    return ["analyze", *flags] if Path(sys.argv[0]).name == "analyze" else None


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def collect_seldom() -> None:
    """Look for cycles seldom: rows are no cycles, and looking through them costs a quarter of reading them."""
    gc.freeze()
    gc.set_threshold(GARBAGE)


def _let_streams_survive() -> None:
    """Let a terminal that cannot show a character show a `?` for it, rather than end the run."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)
