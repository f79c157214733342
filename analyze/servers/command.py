"""`analyze servers start|stop|check`, and `needs`, which the scripts ask. Arguments in, exit code out."""

from __future__ import annotations

import argparse
import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from analyze.errors import AnalyzeError, UsageError
from analyze.lang import LANGS, Lang, language
from analyze.servers import checking, processes
from analyze.servers.hardware import find_gpus
from analyze.servers.installed import missing_extra
from analyze.servers.planning import Plan, plan
from analyze.servers.private import model_command, write_tiny_model
from analyze.servers.probing import look_all
from analyze.servers.settings import ServerSettings, read_presets, server_settings
from analyze.servers.starting import check_model, running, start
from analyze.servers.stopping import stop_records
from analyze.servers.texts import Console
from analyze.tiny_model import DEMO_MODEL_NAME

EXIT_INTERRUPTED = 130
JOB_END_TIMEOUT_S = 60.0
"""How long a job that was asked to end may finish what is in flight before it is killed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Return 0 done, 1 a server failed, 2 wrong use, 3 none reachable, 130 Ctrl-C."""
    arguments = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # in an old locale a sign is lost, not the start of eight GPUs
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        commands_only = getattr(arguments, "dry_run", False)  # what it prints can then be piped into a shell
        console = Console(language(arguments.lang), sys.stderr if commands_only else sys.stdout)
        run: Callable[[argparse.Namespace, ServerSettings, Console], int] = arguments.run
        return run(arguments, server_settings(os.environ), console)
    except AnalyzeError as error:
        print(f"analyze servers: {error.said(_lang(arguments))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _lang(arguments: argparse.Namespace) -> Lang:
    try:
        return language(arguments.lang)
    except UsageError:  # ANALYZE_LANG itself is wrong, and that is the error
        return "en"


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # an exception, so that what was started is stopped on the way out


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="analyze servers", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="start|stop|check|needs")
    add = {}
    for name, (run, text) in _VERBS.items():
        add[name] = verb = verbs.add_parser(name, help=text, description=text)
        verb.set_defaults(run=run)
        verb.add_argument(
            "--lang", choices=LANGS, help="language of the console; default: ANALYZE_LANG, else the locale"
        )
    add["start"].add_argument("--dry-run", action="store_true", help="print the exact commands and start nothing")
    add["start"].add_argument(
        "--then",
        nargs=argparse.REMAINDER,
        metavar="COMMAND",
        help="run COMMAND on the servers, then stop those started",
    )
    add["check"].add_argument("--json", action="store_true", help="print JSON instead of a table")
    add["check"].add_argument(
        "--wait", type=float, default=0, metavar="SECONDS", help="wait so long for all to be ready"
    )
    return parser


def _start(arguments: argparse.Namespace, settings: ServerSettings, console: Console) -> int:
    began = time.monotonic()
    job: list[str] = arguments.then or []
    if arguments.dry_run:
        return _show(_plan(settings, console), job)
    if job and shutil.which(job[0]) is None:
        raise UsageError(f"{job[0]!r} is no command that can be run", cure="check its spelling and PATH")
    setting = _elsewhere(os.environ)
    if job and setting:
        console.say("elsewhere", setting=setting)
        return _run_job(job, os.environ)
    specs = () if _all_answer(settings, console) else _ready_to_start(settings, console).specs
    ports = [spec.port for spec in specs] or settings.ports
    environ = {**os.environ, "VLLM_PORTS": ",".join(map(str, ports)), "VLLM_HOST": settings.host}
    said = {"count": len(ports), "ports": environ["VLLM_PORTS"]}
    if job:
        drain_timeout_s = settings.drain_timeout_s
        with running(specs, api_key=settings.api_key, drain_timeout_s=drain_timeout_s, console=console):
            console.say("all_ready", seconds=time.monotonic() - began, **said)
            return _run_job(job, environ)
    start(specs, api_key=settings.api_key, console=console)
    console.say("all_ready", seconds=time.monotonic() - began, **said)
    console.say("next_steps")
    return 0


def _stop(arguments: argparse.Namespace, settings: ServerSettings, console: Console) -> int:
    records = processes.read_records(settings.log_dir)
    if stop_records(records, drain_timeout_s=settings.drain_timeout_s, console=console):
        console.say("stopped")
    else:
        console.say("nothing_to_stop", folder=settings.log_dir)
    for port, seen in look_all(settings.host, settings.ports, settings.api_key).items():
        if seen.ready:
            console.say("left_running", port=port)
    return 0


def _check(arguments: argparse.Namespace, settings: ServerSettings, console: Console) -> int:
    states = checking.wait_until_settled(settings, arguments.wait)
    print(checking.as_json(states) if arguments.json else checking.as_table(states, console.lang))
    return checking.exit_code(states)


def _needs(arguments: argparse.Namespace, settings: ServerSettings, console: Console) -> int:
    seen = look_all(settings.host, settings.ports, settings.api_key)
    if _elsewhere(os.environ) or all(each.ready for each in seen.values()):
        return 0
    extra = missing_extra("cuda" if _plan(settings, None).specs[0].gpus else "cpu")
    if extra:
        print(extra)
    return 0


def _plan(settings: ServerSettings, console: Console | None) -> Plan:
    gpus = [] if settings.device == "cpu" else find_gpus(os.environ)
    made = plan(settings, gpus, presets=read_presets())
    for note in made.notes if console else ():
        assert console is not None
        console.say(note.key, **note.values)
    if made.demo_model and console:
        console.say("demo")
    return made


def _ready_to_start(settings: ServerSettings, console: Console) -> Plan:
    """Plan, and write the tiny model if it is what will be served and is not there yet."""
    made = _plan(settings, console)
    if made.demo_model:
        write_tiny_model(made.demo_model, console)
    return made


def _show(made: Plan, job: Sequence[str]) -> int:
    if made.demo_model:
        print(shlex.join(model_command(made.demo_model)))
    for spec in made.specs:
        print(spec.command)
    if job:
        print(shlex.join(job))
    return 0


def _elsewhere(environ: Mapping[str, str]) -> str | None:
    """Return the setting that sends jobs to servers that are not this machine's to start, if one does."""
    if environ.get("VLLM_ENDPOINTS"):
        return "VLLM_ENDPOINTS"
    here = ("", "localhost", "127.0.0.1", "::1", "0.0.0.0")
    return None if environ.get("VLLM_HOST", "") in here else "VLLM_HOST"


def _all_answer(settings: ServerSettings, console: Console) -> bool:
    """Return whether every port answers already, so that nothing has to be planned, and say what serves there.

    Raises UsageError where MODEL is set and one of them serves another model.
    """
    seen = look_all(settings.host, settings.ports, settings.api_key)
    if not all(each.ready for each in seen.values()):
        return False
    ours = {record.port for record in processes.read_records(settings.log_dir).values() if processes.alive(record)}
    for port, each in seen.items():
        if settings.model:
            check_model(port, settings.model, each)
        console.say("already_ready" if port in ours else "foreign_used", port=port, model=", ".join(each.names) or "?")
    if any(each.serves(DEMO_MODEL_NAME) for each in seen.values()):
        console.say("demo")
    return True


def _run_job(job: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command to its end and return its exit code, 128 + n where signal n ended it.

    It stays in our process group: the terminal gives Ctrl-C to it as well, so here nothing is done about the first
    or the second; the job answers to both, and its end is waited for.
    """
    before = signal.signal(signal.SIGINT, lambda number, frame: None)  # not SIG_IGN: the job would inherit that
    process = subprocess.Popen(job, env=dict(environ))
    try:
        code = process.wait()
    except SystemExit:
        process.terminate()
        try:
            process.wait(JOB_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
        raise
    finally:
        signal.signal(signal.SIGINT, before)
    return code if code >= 0 else 128 - code


_VERBS: Mapping[str, tuple[Callable[[argparse.Namespace, ServerSettings, Console], int], str]] = {
    "start": (_start, "start the vLLM servers that the environment variables describe and wait until they answer"),
    "stop": (_stop, "stop the servers started here, and no others"),
    "check": (_check, "show the state of each server; exit code 0: all ready, 1: some, 3: none"),
    "needs": (_needs, "print which extra of this package must be installed to start the servers; nothing if none"),
}
