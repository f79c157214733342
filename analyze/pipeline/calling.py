"""`run_pipeline` and `arun_pipeline`: the pipeline as a call from Python. Knows threads and event loops, no step."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from typing import Any

from analyze import settings
from analyze.pipeline.artefacts import Artefacts
from analyze.pipeline.steps import Choices, Pipeline


async def arun_pipeline(
    input_jsonl: str | PathLike[str] | None = None,
    output_dir: str | PathLike[str] | None = None,
    client: Any = None,
    *,
    model: str | None = None,
    engine: str | None = None,
    lang: str | None = None,
    font_path: str | PathLike[str] | None = None,
    audit_tasks: int | None = None,
    second_judge_endpoints: str | Sequence[str] | None = None,
    second_judge_model: str | None = None,
    **choices: Any,
) -> Artefacts:
    """Judge the tasks of a file and write the report; what is recorded in `output_dir` is not asked again.

    Arguments:
        input_jsonl, output_dir, model, engine, lang, font_path, audit_tasks: the settings of these names; what is not
            given comes from the environment, then the defaults (`INPUT_JSONL`, `OUTPUT_DIR` ...).
        second_judge_endpoints, second_judge_model: servers with another model, which judges the audited tasks too.
        client: a MultiVLLMClient, or any client of the OpenAI client's shape; default: the servers of the settings.
        choices: the fields of `Choices`: base_urls, target, in_flight, skip_bad, update, retry_failed, force_new,
            round_robin (judge rivals against each other too, for a ranking).

    Raises the errors of `analyze.errors`: InputError, NoServerError, MixedRunError, OutputHeldError, Interrupted ...
    """
    chosen = chosen_settings(
        input_jsonl=input_jsonl,
        output_dir=output_dir,
        model=model,
        analyze_engine=engine,
        analyze_lang=lang,
        font_path=font_path,
        audit_tasks=audit_tasks,
        second_judge_endpoints=listed(second_judge_endpoints),
        second_judge_model=second_judge_model,
    )
    return await Pipeline(chosen, Choices(**choices), client).run()


def run_pipeline(
    input_jsonl: str | PathLike[str] | None = None,
    output_dir: str | PathLike[str] | None = None,
    client: Any = None,
    *,
    model: str | None = None,
    engine: str | None = None,
    lang: str | None = None,
    font_path: str | PathLike[str] | None = None,
    audit_tasks: int | None = None,
    second_judge_endpoints: str | Sequence[str] | None = None,
    second_judge_model: str | None = None,
    **choices: Any,
) -> Artefacts:
    """`arun_pipeline` for code without an event loop, and for notebooks, which have one running already.

    It runs in a thread of its own. A first Ctrl-C lets it finish what is in flight, a second one drops that.
    """
    chosen = chosen_settings(
        input_jsonl=input_jsonl,
        output_dir=output_dir,
        model=model,
        analyze_engine=engine,
        analyze_lang=lang,
        font_path=font_path,
        audit_tasks=audit_tasks,
        second_judge_endpoints=listed(second_judge_endpoints),
        second_judge_model=second_judge_model,
    )
    pipeline = Pipeline(chosen, Choices(**choices), client)
    with ThreadPoolExecutor(1, thread_name_prefix="analyze-pipeline") as executor:
        running = executor.submit(asyncio.run, pipeline.run())
        while True:
            try:
                return running.result()
            except KeyboardInterrupt:
                if running.done():
                    raise
                pipeline.interrupt()


def listed(urls: str | Sequence[str] | None) -> str | None:
    """Return base URLs as the setting has them: comma separated."""
    return urls if urls is None or isinstance(urls, str) else ",".join(urls)


def chosen_settings(**given: object) -> settings.Settings:
    """Return the settings, those given as text; None leaves one to the environment."""
    flags = {key: None if value is None else str(value) for key, value in given.items()}
    return settings.Settings(settings.PIPELINE, flags)
