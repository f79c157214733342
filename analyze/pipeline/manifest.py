"""What run.json says of a pipeline run when it begins. Knows what is asked and of whom, not how it went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analyze.files import sha256_of
from analyze.judge.cells import REPEATED_SAMPLING, SAMPLING
from analyze.judge.families import same_family
from analyze.judge.probabilities import LOGPROBS
from analyze.judge.prompts import prompts_sha256
from analyze.judge.schema import schema_sha256
from analyze.lang import Lang
from analyze.per_task import Judge
from analyze.pipeline.judges import Judges
from analyze.pipeline.second_judge import are_kin
from analyze.runs.askers import ClientAsker
from analyze.runs.manifest import Manifest, new_manifest
from analyze.settings import Settings


def manifest_of(
    judge: Judge,
    judges: Judges,
    *,
    started: str,
    engine: str,
    lang: Lang,
    judge_lang: Lang,
    round_robin: bool,
    input_path: Path,
    chosen: Settings,
) -> Manifest:
    """Return the manifest of a run that began at `started`, in UTC.

    `lang` is the console's, `judge_lang` that of the prompts.
    """
    model, second_model = judges.model, judges.second_model
    of_second: dict[str, Any] = {}
    if second_model is not None:
        of_second = {"second_model": second_model, "second_judge": {"same_family": are_kin(model, second_model)}}
    authors = {solution.author for task in judge.tasks for solution in (task.target, *task.rivals)}
    return new_manifest(
        "pipeline",
        started=started,
        engine="client" if isinstance(judges.first, ClientAsker) else engine,
        model=model,
        demo=judges.is_demo,
        lang=lang,
        judge_lang=judge_lang,
        same_family=sorted(author for author in authors if model and same_family(model, author)),
        round_robin=round_robin,
        audit={"tasks": judge.audited, "sampling": REPEATED_SAMPLING},
        **of_second,
        input={"path": str(input_path), "sha256": sha256_of(input_path), "rows": len(judge.tasks)},
        settings=chosen.record(),
        asked={
            "prompt": prompts_sha256(judge_lang),
            "schema": schema_sha256(),
            "sampling": SAMPLING,
            **(LOGPROBS if judges.first and judge.audited else {}),
        },
    )
