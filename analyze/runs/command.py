"""The outermost frame of every command: arguments in, exit code out. Knows no job."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from analyze.errors import EXIT_BUG, AnalyzeError, Interrupted, UsageError
from analyze.lang import Lang
from analyze.settings import Setting, Settings


class Parser(argparse.ArgumentParser):
    """argparse, with wrong use reported in our way (message, cure, exit 2)."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, cure=f"{self.prog} --help")


def add_settings(parser: argparse.ArgumentParser, settings: Sequence[Setting], lang: Lang) -> None:
    """Add a flag for each setting, `--show-settings`, and `--lang`, which is `--analyze-lang` for short."""
    for setting in settings:
        if setting.secret:
            continue  # a key on the command line shows in `ps`
        default = "" if setting.default is None else f" ({setting.default})"
        flags = [setting.flag, "--lang"] if setting.env == "ANALYZE_LANG" else [setting.flag]
        parser.add_argument(*flags, dest=setting.key, metavar="VALUE", help=setting.help[lang] + default)
    parser.add_argument("--show-settings", action="store_true", help="print each setting and where it came from")


def flags_of(args: argparse.Namespace, settings: Sequence[Setting]) -> Settings:
    """Return the settings that the parsed flags, the environment and the defaults give."""
    return Settings(settings, {s.key: getattr(args, s.key, None) for s in settings})


def run_command(job: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None) -> int:
    """Run `job` with its arguments and return the exit code; errors that users can act on are printed, not raised."""
    argv = sys.argv[1:] if argv is None else argv
    _let_streams_survive()
    try:
        return job(argv)
    except AnalyzeError as error:
        _say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return Interrupted.exit_code
    except BrokenPipeError:
        # The reader of our output went away (`| head`); stdout is closed for good, and must not be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception:  # noqa: BLE001 - the top level: what gets here is our bug, and is shown whole
        traceback.print_exc()
        _say("this is a bug in analyze; what was recorded before it is safe")
        return EXIT_BUG


def command_line() -> str:
    """Return the command that is running, as one would type it to continue.

    `ANALYZE_COMMAND` is what a script says that was typed, where it was not this.
    """
    if typed := os.environ.get("ANALYZE_COMMAND"):
        return typed
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name not in ("__main__", "analyze.__main__"):
        return shlex.join(["python", "-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]])
    return shlex.join(["analyze", *sys.argv[1:]])


def _let_streams_survive() -> None:
    """Let a terminal that cannot show a character show a `?` for it, rather than end the run."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
