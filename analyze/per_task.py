"""Judging tasks: what is asked about them, who can answer without a model, and what the answers come to.

    task ──> cells ──> requests ──> (somebody answers) ──> verdicts ──> the task's analysis
Knows no files. `analyze_task` and its siblings ask through a client, one task after another or several at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache
from typing import TYPE_CHECKING, Any

from analyze.core import Fate
from analyze.facts import FACTS_VERSION, Facts, measure_many
from analyze.facts import to_json as to_json_facts
from analyze.judge.audit import audit_of
from analyze.judge.cells import Cell, cell_body, cells_of
from analyze.judge.folding import fold_task
from analyze.judge.measured import measured_reply
from analyze.judge.probabilities import Reading, reading
from analyze.judge.tasks import Task, task_from_json
from analyze.judge.verdicts import CellFailure, Reply, ReplyError, parse_reply
from analyze.lang import Lang, language
from analyze.log_probabilities import WithLogProbabilities
from analyze.records import CHAT_URL, Answer, Failure, Outcome, Request, asked_of, to_json
from analyze.runs.askers import ClientAsker, OneLane
from analyze.runs.replies import Around, ReplyCheck, as_it_is, ask_checked

if TYPE_CHECKING:
    from analyze.multi_vllm import MultiVLLMClient

log = logging.getLogger(__name__)

MAX_CODE_CHARS = 6000
"""Longer solutions are cut, both at the same place: two of 6,000 characters are about 4,000 tokens of 8,192."""

Analysis = dict[str, Any]
TaskFacts = Mapping[tuple[str, str], Facts]  # code and language → its facts


class Judge:
    """The cells of a list of tasks: the requests they are, and the analyses that the outcomes fold into."""

    def __init__(self, tasks: Sequence[Task], *, lang: Lang, measured: bool = False, audit_tasks: int = 0) -> None:
        """Make the cells, which takes about 20 ms for an audited task.

        `lang` is the language the judge writes in; `measured`: no model, so facts are part of what is asked.
        `audit_tasks` is on how many tasks the judge itself is checked, at most: see `judge.audit`.
        """
        self.tasks = tasks
        self._lang = lang
        self._measured = measured
        self._audit_tasks = audit_tasks
        self._probes = audit_of(tasks, audit_tasks, max_code_chars=MAX_CODE_CHARS)
        self.cells = {cell.id: cell for task in tasks for cell in self._cells_of(task)}
        self.around: Around = as_it_is if measured else WithLogProbabilities(self._is_plain)

    @property
    def audited(self) -> list[str]:
        """The ids of the tasks on which the judge is checked by all probes."""
        return list(self._probes)[: self._audit_tasks]

    def requests(self) -> Iterator[Request]:
        """Yield one request a cell, the cells of a task next to each other: they share their prompt's beginning."""
        for cell in self.cells.values():
            body = cell_body(cell, lang=self._lang, max_code_chars=MAX_CODE_CHARS)
            told = {**body, "engine": f"measured {FACTS_VERSION}"} if self._measured else body
            yield Request(cell.id, asked_of(told, sample=cell.sample), CHAT_URL, body, group=cell.group)

    def fold(self, outcomes: Mapping[str, Outcome], facts: TaskFacts) -> Iterator[Analysis]:
        """Yield each task's analysis (a line of per_task.jsonl). A cell without an outcome is a failed one."""
        for task in self.tasks:
            answered = {cell.id: outcomes[cell.id] for cell in self._cells_of(task) if cell.id in outcomes}
            yield fold_task(
                task,
                {row: _reply(outcome) for row, outcome in answered.items()},
                {s.author: to_json_facts(facts[s.code, task.language]) for s in (task.target, *task.rivals)},
                max_code_chars=MAX_CODE_CHARS,
                instances={row: outcome.instance for row, outcome in answered.items() if outcome.instance},
                readings=_readings(answered),
                audit=self._probes.get(task.task_id, ()),
            )

    def _cells_of(self, task: Task) -> list[Cell]:
        return [*cells_of(task), *self._probes.get(task.task_id, ())]

    def _is_plain(self, request: Request) -> bool:
        return self.cells[request.id].probe == "plain"


def facts_of(tasks: Sequence[Task]) -> TaskFacts:
    """Measure every solution once. Takes seconds for some hundred of them; runs the analysers, never the code."""
    codes = dict.fromkeys((s.code, task.language) for task in tasks for s in (task.target, *task.rivals))
    return dict(zip(codes, measure_many(list(codes)), strict=True))


class MeasuredAsker(OneLane):
    """Answers cells from measured facts, in the shape in which a model would."""

    def __init__(self, judge: Judge, facts: TaskFacts, lang: Lang) -> None:
        super().__init__(in_flight=1)
        self._judge, self._facts, self._lang = judge, facts, lang

    async def ask(self, request: Request, lane: Hashable = None, *, fate: Fate | None = None) -> Outcome:
        cell = self._judge.cells[request.id]
        first, second = cell.first, cell.second
        facts_a, facts_b = (self._facts[shown.code, cell.task.language] for shown in (first, second))
        reply = measured_reply(first, second, facts_a, facts_b, lang=self._lang)
        message = {"role": "assistant", "content": to_json(reply).decode()}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = {"object": "chat.completion", "model": "measured", "choices": [choice]}
        return Answer(request.id, request.asked, body)

    async def aclose(self) -> None:
        """Nothing to close."""


def _reply(outcome: Outcome) -> Reply:
    if isinstance(outcome, Failure):
        return CellFailure(outcome.kind, outcome.message)
    try:
        return parse_reply(outcome.text, outcome.finish_reason)
    except ReplyError as error:
        return CellFailure(error.kind, error.message)


def _readings(outcomes: Mapping[str, Outcome]) -> dict[str, Reading]:
    """Return how sure the judge was, of the answers that tell."""
    read = ((row, reading(outcome.body)) for row, outcome in outcomes.items() if isinstance(outcome, Answer))
    return {row: found for row, found in read if found is not None}


# -- one task at a time, through a client ------------------------------------------------------------------------


def analyze_task(task: Task | Mapping[str, Any], model: str, client: Any = None) -> Analysis | None:
    """Judge one task and return its analysis, or None where no pair could be judged (the log says why).

    Arguments:
        task: a line of `tasks.jsonl` as a mapping, or a Task.
        model: the name that the servers serve.
        client: any client of the OpenAI client's shape; default: one MultiVLLMClient of the settings, shared.

    Raises InputError for a task that is none.
    """
    task = task if isinstance(task, Task) else task_from_json(task)
    judge = Judge([task], lang=language())
    with ThreadPoolExecutor(1) as executor:  # a thread of its own: a notebook's has an event loop running already
        asking = _ask_all(judge, ClientAsker(client or _shared_client(), model=model))
        outcomes = executor.submit(asyncio.run, asking).result()
    (analysis,) = judge.fold(outcomes, facts_of([task]))
    if analysis["score"] is None:
        reasons = {outcome.message for outcome in outcomes.values() if isinstance(outcome, Failure)}
        log.warning("task %s could not be judged: %s", task.task_id, "; ".join(sorted(reasons)) or "no pair was scored")
        return None
    return analysis


def analyze_tasks_concurrent(
    tasks: Sequence[Task | Mapping[str, Any]], model: str, max_workers: int = 4, client: Any = None
) -> list[Analysis]:
    """Judge tasks, `max_workers` at a time; the analyses in the order of the input, without the None."""
    with ThreadPoolExecutor(max_workers=max_workers) as executor:
        results = list(executor.map(lambda task: analyze_task(task, model, client), tasks))
    return [result for result in results if result is not None]


def analyze_tasks_parallel(
    tasks: Sequence[Task | Mapping[str, Any]], model: str, max_workers: int = 4, client: Any = None
) -> list[Analysis]:
    """Judge tasks, `max_workers` at a time; the analyses in the order in which they are ready, without the None."""
    with ThreadPoolExecutor(max_workers=max_workers) as executor:
        futures = [executor.submit(analyze_task, task, model, client) for task in tasks]
        results = [future.result() for future in as_completed(futures)]
    return [result for result in results if result is not None]


async def _ask_all(judge: Judge, asker: ClientAsker) -> dict[str, Outcome]:
    check, ask = ReplyCheck(), judge.around(asker.ask)

    asked = (ask_checked(ask, check, request) for request in judge.requests())
    return {outcome.id: outcome for outcome in await asyncio.gather(*asked)}


@cache
def _shared_client() -> MultiVLLMClient:
    from analyze.multi_vllm import create_multi_vllm_client

    return create_multi_vllm_client()
