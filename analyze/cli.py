"""`analyze COMMAND ...`: one command per job. Finds the module and hands it the rest of the line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from analyze import settings
from analyze._version import __version__
from analyze.console import printable
from analyze.errors import EXIT_OK, InputError, UsageError
from analyze.lang import Lang, language

JOBS: dict[str, tuple[str, dict[Lang, str]]] = {
    "pipeline": (
        "analyze.pipeline.command",
        {"en": "judge one target against N rivals per task", "zh": "1vN 代码质量分析"},
    ),
    "batch": (
        "analyze.batch",
        {"en": "ask a file of requests (OpenAI Batch format)", "zh": "批量请求（OpenAI Batch 格式）"},
    ),
    "classify": (
        "analyze.classify.command",
        {"en": "give each text of a file a label, or several", "zh": "为文件中的每条文本打标签"},
    ),
    "infer": (
        "analyze.infer.command",
        {"en": "run a task of your own: read, format, ask, extract", "zh": "按任务配置批量推理: 读取、格式化、提取"},
    ),
    "annotate": (
        "analyze.annotate.command",
        {"en": "boxes on images; export, preview, evaluate", "zh": "图像标注（边界框）；导出、预览、评测"},
    ),
    "servers": (
        "analyze.servers",
        {"en": "start, check or stop the vLLM servers", "zh": "启动、检查、停止 vLLM 服务器"},
    ),
    "runs": (
        "analyze.status",
        {"en": "show how a run stands: done, failed, left", "zh": "查看运行状态: 完成、失败、剩余"},
    ),
    "report": ("analyze.cli", {"en": "rebuild the report of a run from its records", "zh": "由运行记录重建报告"}),
}


def report(argv: Sequence[str]) -> int:
    """`analyze report RUN`: rebuild the report of a pipeline run from its records alone, or compare it with another."""
    from analyze.report import build_report, compare_runs
    from analyze.runs.command import Parser, add_settings, flags_of

    wanted = (settings.FONT_PATH, settings.ANALYZE_LANG)
    parser = Parser("analyze report", description=report.__doc__)
    parser.add_argument("run", metavar="RUN", help="the output folder of a pipeline run")
    parser.add_argument("--compare", metavar="OTHER_RUN", help="did the target change since this run, task by task?")
    add_settings(parser, wanted, language())
    args = parser.parse_args(argv)
    chosen = flags_of(args, wanted)
    if args.show_settings:
        print(chosen.show())
        return EXIT_OK
    run, lang = _finished_run(args.run), language(chosen[settings.ANALYZE_LANG])
    if args.compare is None:
        paths = [*build_report(run, lang=lang, font_path=chosen[settings.FONT_PATH]).values()]
    else:
        compared = compare_runs(run, _finished_run(args.compare), lang=lang)
        paths = [*compared.paths.values()]
        print(printable(compared.sentence))
    for path in paths:
        print(printable(str(path)))
    return EXIT_OK


def _finished_run(folder: str) -> Path:
    run = Path(folder)
    if not (run / "per_task.jsonl").is_file():
        raise InputError("no pipeline run has finished here", path=str(run), cure="give the OUTPUT_DIR of a run")
    return run


def usage(lang: Lang) -> str:
    rows = "\n".join(f"  analyze {name:<9} {said[lang]}" for name, (_, said) in JOBS.items())
    return f"analyze {__version__}\n\n{rows}\n\nanalyze COMMAND --help"


def command(argv: Sequence[str]) -> int:
    name, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    if name in ("-h", "--help"):
        print(usage(language()))
        return EXIT_OK
    if name == "--version":
        print(__version__)
        return EXIT_OK
    if name not in JOBS:
        raise UsageError(f"analyze has no command {name!r}", cure=f"use one of: {', '.join(JOBS)}")
    if name == "report":
        return report(rest)
    job: Callable[[Sequence[str]], int] = import_module(JOBS[name][0]).main
    return job(rest)


def main(argv: Sequence[str] | None = None) -> int:
    from analyze.runs.command import run_command

    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
