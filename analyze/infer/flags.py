"""The flags of an inference: those of the seed, and some more; a hyphen may stand for each `_`. Knows no job."""

from __future__ import annotations

import argparse
from typing import Any

from analyze import settings
from analyze.infer.tasks import names_in, packaged_configs
from analyze.lang import language
from analyze.runs.command import Parser, add_settings, positive
from analyze.runs.jobflags import add_job_flags

SETTINGS = (*settings.ADDRESSES, settings.ANALYZE_LANG)
SAMPLING_FLAGS = ("temperature", "top_p", "top_k", "max_tokens", "seed")
SEED_FLAGS = (
    *("model_path", "model_type", "output_path", "task_name", "tasks", "workers", "tensor_parallel_size", "use_cpu"),
    *("extract_only", "rerun", "save_text", "limit", "input_path"),
)
STARTS = ("workers", "tensor_parallel_size", "gpu_memory_utilization", "max_num_seqs", "max_model_len")
"""Flags of what is started here, which servers that run have no use for."""

EXAMPLE = (
    "analyze infer --model_path tiny-random --model_type hf --use_cpu --output_path output --task_name basic_example"
)

EPILOG = """\
to try it:        python -m analyze.infer --model_path tiny-random --model_type hf --use_cpu --output_path output \\
                      --task_name basic_example
a task of yours:  configs/NAME/task_config.py in the working directory, with get_file_list(input_path),
                  read_file(file_path), format_prompt(org_data), extract_answer(model_response); or task.yaml.
                  Sampling: sampling_params.json beside it, configs/default_sampling_params.json for all tasks.
to copy from:     {configs}
                  {names}
results:          DIR/results/infer (replies), extract (answers), text; DIR/report.html; DIR/logs
"""


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(
        "analyze.infer",
        description="Run a task of your own over its rows: it reads them, asks a model about each, extracts answers.",
        epilog=EPILOG.format(configs=packaged_configs(), names=", ".join(names_in([packaged_configs()]))),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def add(name: str, *others: str, **options: Any) -> None:
        spelt = [f"--{name}"] + ([f"--{name.replace('_', '-')}"] if "_" in name else [])
        made.add_argument(*spelt, *others, dest=name, **options)

    add("model_path", "--model", metavar="M", help="the model: a folder or a name; tiny-random: one of random weights")
    add("model_type", choices=("vllm", "hf", "server"), default="vllm", help="who answers: servers started here, with "
        "addresses those (vllm); processes with transformers (hf); servers that run (server)")  # fmt: skip
    add("output_path", metavar="DIR", help="the folder of all results")
    add("task_name", metavar="T", help="a folder of configs/ with task_config.py or task.yaml, or a packaged example")
    add(
        "tasks",
        type=positive,
        default=1,
        metavar="N",
        help="files and marks that the rows are cut into (1); may change",
    )
    add("workers", type=positive, metavar="W", help="servers, or processes, that are started here (1)")
    add("tensor_parallel_size", type=positive, metavar="P", help="GPUs of each (1); W * P are taken of those visible")
    add("use_cpu", action="store_true", help="on the CPU (with --model_type hf)")
    add("extract_only", action="store_true", help="ask nothing: extract answers anew from the recorded replies")
    add("rerun", action="store_true", help="move earlier results to previous/ and ask everything again")
    add("save_text", action="store_true", help="write results/text too, for reading by eye")
    add("limit", type=positive, metavar="K", help="only the first K rows of the whole input")
    add("input_path", metavar="I", help="handed to the task's get_file_list")
    add("temperature", type=float, metavar="T", help="sampling temperature (0.0)")
    add("top_p", type=float, metavar="P", help="sample from the likeliest tokens of this share together (1.0)")
    add("top_k", type=int, metavar="K", help="sample from so many likeliest tokens (all)")
    add("max_tokens", type=positive, metavar="N", help="tokens of a reply at most (2048)")
    add("seed", type=int, metavar="S", help="of sampling")
    add("gpu_memory_utilization", type=float, metavar="SHARE", help="of a GPU, for a server started here (0.9)")
    add("max_num_seqs", type=positive, metavar="N", help="rows answered at once (256; hf: CPU 8, GPU 32)")
    add("max_model_len", type=positive, metavar="N", help="tokens of prompt and reply, of what is started here (8192)")
    add("dry_run", action="store_true", help="show the first request and count the rest; ask nothing")
    add_job_flags(made, skips_bad=True)
    add_settings(made, SETTINGS, language())
    return made
