"""Judging tasks: what is asked about them, who can answer without a model, and what the answers come to.

    task ──> cells ──> requests ──> (somebody answers) ──> verdicts ──> the task's analysis
Knows no files. `analyze_task` and its siblings ask through a client, one task after another or several at a time.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from analyze.console import printable
from analyze.core import Fate
from analyze.facts import FACTS_VERSION, Facts, measure_many
from analyze.facts import to_json as to_json_facts
from analyze.judge.audit import audit_of
from analyze.judge.cells import Cell, cell_body, cells_of
from analyze.judge.folding import fold_task
from analyze.judge.measured import measured_reply
from analyze.judge.probabilities import Reading, reading
from analyze.judge.robin import robin_cells
from analyze.judge.tasks import Task, task_from_json
from analyze.judge.verdicts import CellFailure, Reply, ReplyError, parse_reply
from analyze.lang import Lang, language
from analyze.log_probabilities import WithLogProbabilities
from analyze.records import CHAT_URL, Answer, Failure, Outcome, Request, asked_of, to_json
from analyze.runs.askers import ClientAsker, FleetAsker, OneLane
from analyze.runs.replies import Around, ReplyCheck, as_it_is, ask_checked
from analyze.tokens import CANNOT_TELL, refuse_unguarded

if TYPE_CHECKING:
    from analyze.multi_vllm import MultiVLLMClient

log = logging.getLogger(__name__)

MAX_CODE_CHARS = 6000
"""Longer solutions are cut, both at the same place: two of 6,000 characters are about 4,000 tokens of 8,192."""

Analysis = dict[str, Any]
TaskFacts = Mapping[tuple[str, str], Facts]  # code and language → its facts


class Judge:
    """The cells of a list of tasks: the requests they are, and the analyses that the outcomes fold into."""

    def __init__(
        self,
        tasks: Sequence[Task],
        *,
        lang: Lang,
        measured: bool = False,
        audit_tasks: int = 0,
        second_model: str | None = None,
        round_robin: bool = False,
    ) -> None:
        """Make the cells, which takes about 20 ms for an audited task.

        `lang` is the language the judge writes in; `measured`: no model, so facts are part of what is asked.
        `audit_tasks` is on how many tasks the judge itself is checked, at most: see `judge.audit`. `second_model` is
        the second judge's, if there is one: it is part of what is asked of it, so another one is another question.
        `round_robin`: rivals are judged against each other too, see `judge.robin`.
        """
        self.tasks = tasks
        self._lang = lang
        self._measured = measured
        self._max_code_chars = None if measured else MAX_CODE_CHARS  # facts are of all the code
        self._audit_tasks = audit_tasks
        self._second_model = second_model
        self._probes = audit_of(tasks, audit_tasks, max_code_chars=MAX_CODE_CHARS, with_second=second_model is not None)
        self._robin = {
            task.task_id: robin_cells(task, max_code_chars=self._max_code_chars) for task in tasks if round_robin
        }
        self.cells = {cell.id: cell for task in tasks for cell in self._cells_of(task)}
        self._sure_of = set(self.audited)
        self.around: Around = as_it_is if measured else WithLogProbabilities(self._wants_probabilities)

    @property
    def audited(self) -> list[str]:
        """The ids of the tasks on which the judge is checked by all probes."""
        return list(self._probes)[: self._audit_tasks]

    def cells_for(self, *, second: bool) -> list[Cell]:
        """Return the cells that the second judge is asked, or those that the first is."""
        return [cell for cell in self.cells.values() if (cell.probe == "second") == second]

    @property
    def robin_count(self) -> int:
        """How many of the judgements are between rivals."""
        return sum(map(len, self._robin.values()))

    def requests(self, cells: Iterable[Cell] | None = None) -> Iterator[Request]:
        """Yield one request a cell, the cells of a task next to each other: they share their prompt's beginning."""
        for cell in self.cells.values() if cells is None else cells:
            body = cell_body(cell, lang=self._lang, max_code_chars=MAX_CODE_CHARS)
            if cell.probe == "second":
                body = {"model": self._second_model, **body}
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
                max_code_chars=self._max_code_chars,
                instances={row: outcome.instance for row, outcome in answered.items() if outcome.instance},
                readings=_readings(answered),
                audit=self._probes.get(task.task_id, ()),
                robin=self._robin.get(task.task_id),
            )

    def _cells_of(self, task: Task) -> list[Cell]:
        others = (*self._probes.get(task.task_id, ()), *self._robin.get(task.task_id, ()))
        return [*cells_of(task, max_code_chars=self._max_code_chars), *others]

    def _wants_probabilities(self, request: Request) -> bool:
        """Whether it is also read how sure the judge is: on the tasks on which it is checked.

        Of every task it would cost vLLM's web server about 0.09 ms a token, 37 % of a core at 4,000 tokens a second.
        """
        cell = self.cells[request.id]
        return cell.probe == "plain" and cell.task.task_id in self._sure_of


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


def inserted_texts(tasks: Iterable[Task]) -> Iterator[tuple[str, str]]:
    """Yield what comes from tasks into prompts, with what each is called."""
    for task in tasks:
        yield f"task {task.task_id}: prompt", task.prompt
        yield f"task {task.task_id}: language", task.language
        for solution in (task.target, *task.rivals):
            yield f"task {task.task_id}: code of {solution.author}", solution.code


# -- one task at a time, through a client ------------------------------------------------------------------------


def analyze_task(task: Task | Mapping[str, Any], model: str, client: Any = None) -> Analysis | None:
    """Judge one task and return its analysis, or None where no pair could be judged (the log says why).

    Arguments:
        task: a line of `tasks.jsonl` as a mapping, or a Task.
        model: the name that the servers serve.
        client: any client of the OpenAI client's shape; default: one MultiVLLMClient of the settings, shared.

    Raises InputError for a task that is none, or that holds a control token of the model which no guard covers.
    """
    client = client or _shared_client()
    (read,) = _guarded([task], model, client)
    return _analyzed(read, model, client)


def analyze_tasks_concurrent(
    tasks: Sequence[Task | Mapping[str, Any]], model: str, max_workers: int = 4, client: Any = None
) -> list[Analysis]:
    """Judge tasks, `max_workers` at a time; the analyses in the order of the input, without the None.

    Raises InputError as `analyze_task`, before anything is asked.
    """
    client = client or _shared_client()
    read = _guarded(tasks, model, client)
    with ThreadPoolExecutor(max_workers=max_workers) as executor:
        results = list(executor.map(lambda task: _analyzed(task, model, client), read))
    return [result for result in results if result is not None]


def analyze_tasks_parallel(
    tasks: Sequence[Task | Mapping[str, Any]], model: str, max_workers: int = 4, client: Any = None
) -> list[Analysis]:
    """Judge tasks, `max_workers` at a time; the analyses in the order in which they are ready, without the None.

    Raises InputError as `analyze_task`, before anything is asked.
    """
    client = client or _shared_client()
    read = _guarded(tasks, model, client)
    with ThreadPoolExecutor(max_workers=max_workers) as executor:
        futures = [executor.submit(_analyzed, task, model, client) for task in read]
        results = [future.result() for future in as_completed(futures)]
    return [result for result in results if result is not None]


def _analyzed(task: Task, model: str, client: Any) -> Analysis | None:
    judge = Judge([task], lang=language())
    with ThreadPoolExecutor(1) as executor:  # a thread of its own: a notebook's has an event loop running already
        asking = _ask_all(judge, ClientAsker(client, model=model))
        outcomes = executor.submit(asyncio.run, asking).result()
    (analysis,) = judge.fold(outcomes, facts_of([task]))
    if analysis["score"] is None:
        reasons = {outcome.message for outcome in outcomes.values() if isinstance(outcome, Failure)}
        said = "; ".join(sorted(reasons)) or "no pair was scored"
        log.warning("task %s could not be judged: %s", printable(task.task_id), printable(said))
        return None
    return analysis


def _guarded(tasks: Sequence[Task | Mapping[str, Any]], model: str, client: Any) -> list[Task]:
    """Return the tasks read. Raises InputError where one is none, or holds what would be a control token."""
    read = [task if isinstance(task, Task) else task_from_json(task) for task in tasks]
    refuse_unguarded(inserted_texts(read), _unguarded_tokens(model, client), model)
    return read


_Tokens = frozenset[str]
_tokens_told: WeakKeyDictionary[Any, dict[str, _Tokens]] = WeakKeyDictionary()
_telling = threading.Lock()  # several threads may judge their first task at once


def _unguarded_tokens(model: str, client: Any) -> _Tokens:
    """Return the control tokens of the model that inserted text could become, asked once of each client.

    A client of somebody else's does not tell, and a server need not: then there are none, and the log says so.
    """
    if not hasattr(client, "fleet_options"):
        _warn_that_it_cannot_be_told(model)
        return frozenset()
    with _telling:
        told = _tokens_told.setdefault(client, {})
        if model not in told:
            with ThreadPoolExecutor(1) as executor:
                tokens = executor.submit(asyncio.run, _ask_tokens(model, client)).result()
            if tokens is None:  # asked again by the next call: perhaps no server was up
                _warn_that_it_cannot_be_told(model)
                return frozenset()
            told[model] = tokens
        return told[model]


@cache  # said once
def _warn_that_it_cannot_be_told(model: str) -> None:
    log.warning(CANNOT_TELL[language()])


async def _ask_tokens(model: str, client: Any) -> _Tokens | None:
    asker = FleetAsker(**client.fleet_options())
    asker.model = model
    try:
        return await asker.unguarded_tokens()
    finally:
        await asker.aclose()


async def _ask_all(judge: Judge, asker: ClientAsker) -> dict[str, Outcome]:
    check = ReplyCheck()
    asked = (ask_checked(asker.ask, check, request) for request in judge.requests())
    return {outcome.id: outcome for outcome in await asyncio.gather(*asked)}


@cache
def _shared_client() -> MultiVLLMClient:
    from analyze.multi_vllm import create_multi_vllm_client

    return create_multi_vllm_client()
