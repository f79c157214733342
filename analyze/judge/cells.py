"""Turns a task into judgements to ask for: every rival, both orders, as chat bodies. Knows no server and no reply.

    Task -> Cell(rival, order, sample, probe) -> {"messages", "response_format", ...}, all but the model's name

The bytes of a body depend on the cell and the settings alone, so a cell asked again is the same request: it can be
recognised in a journal and served from a prefix cache. System prompt and task come first and are the same for all
cells of a task; only then come the two solutions. Authors and recorded test results never reach the judge: names
sway it, and the results are what it is checked against.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from string import Template
from typing import Any, Literal

import orjson

from analyze.inert import inert
from analyze.judge.prompts import template
from analyze.judge.schema import reply_schema
from analyze.judge.tasks import Solution, Task
from analyze.lang import Lang

Order = Literal["target_first", "rival_first"]
Rule = Literal["target_empty", "rival_empty", "both_empty", "identical"]
Side = Literal["target", "rival"]
Probe = Literal[
    "plain", "repeat", "same", "injected", "authority", "no_comments", "renamed", "dead_code", "second", "robin"
]
ORDERS: tuple[Order, ...] = ("target_first", "rival_first")
SAMPLING: dict[str, Any] = {"temperature": 0}
REPEATED_SAMPLING: dict[str, Any] = {"temperature": 0.7}
REPEATED: frozenset[Probe] = frozenset({"repeat", "same"})
"""Probes that ask the same several times over: at temperature 0 each answer would be the first one again."""

_CUT: dict[Lang, str] = {
    "en": "\nOnly the first $limit characters of each solution are shown (A has $a, B has $b). Judge what is shown.\n",
    "zh": "\n每份解答只显示前 $limit 个字符（A 共 $a 个，B 共 $b 个）。请只评所示部分。\n",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One judgement: a task's target against one rival, in one order; `sample` counts repetitions from 0.

    `probe` says what it is asked for: "plain" judges the pair, "robin" two rivals (`robin`), the others check the judge
    (`audit`). `shown` is what the judge sees of the target's side and of the rival's, where that is not their own code;
    `edited` says whose.
    """

    task: Task
    rival: Solution
    order: Order
    sample: int = 0
    probe: Probe = "plain"
    shown: tuple[Solution, Solution] | None = None
    edited: Side | Literal["both"] | None = None

    @property
    def id(self) -> str:
        """The cell's name in every record: a JSON array of task, rival, order, sample, and probe unless plain.

        Between two rivals the array ends with the one that stands for the target's side.
        """
        probe = () if self.probe == "plain" else (self.probe,)
        against = (self.against.author,) if self.probe == "robin" else ()
        return orjson.dumps([self.task.task_id, self.rival.author, self.order, self.sample, *probe, *against]).decode()

    @property
    def group(self) -> str:
        """What requests with a common prompt prefix share: the task."""
        return self.task.task_id

    @property
    def first(self) -> Solution:
        """The solution shown as A."""
        return self._sides[self.order == "rival_first"]

    @property
    def second(self) -> Solution:
        """The solution shown as B."""
        return self._sides[self.order == "target_first"]

    @property
    def against(self) -> Solution:
        """Whom the rival is judged against, as shown: the target, but for a round robin."""
        return self._sides[0]

    @property
    def _sides(self) -> tuple[Solution, Solution]:
        return self.shown or (self.task.target, self.rival)


def cells_of(task: Task, *, samples: int = 1, max_code_chars: int | None = None) -> list[Cell]:
    """Return the judgements a task needs: both orders of every pair that is asked about (`is_asked`)."""
    return [
        Cell(task, rival, order, sample)
        for rival in task.rivals
        if is_asked(task.target, rival, max_code_chars)
        for sample in range(samples)
        for order in ORDERS
    ]


def is_asked(target: Solution, rival: Solution, max_code_chars: int | None) -> bool:
    """Whether a judge is asked about a pair: no rule decides it, and there is a difference in what it is shown."""
    return rule_of(target, rival) is None and not is_cut_alike(target, rival, max_code_chars)


def is_cut_alike(a: Solution, b: Solution, max_code_chars: int | None) -> bool:
    """Tell whether two solutions are equal in all that is shown of them; `max_code_chars` is None where all is.

    A verdict on such a pair would be on one text shown twice. It is no tie either: what is equal is where code was cut.
    """
    if max_code_chars is None or not is_cut(a, b, max_code_chars):
        return False
    return _essence(a.code[:max_code_chars]) == _essence(b.code[:max_code_chars])


def rule_of(target: Solution, rival: Solution) -> Rule | None:
    """Return the rule that decides a pair without a judge, or None.

    Empty code loses, two empty ones are a tie, and so is code that differs only in line ends, trailing white space
    and blank lines. Indentation is not ignored: in Python it is meaning.
    """
    a, b = _essence(target.code), _essence(rival.code)
    if not a or not b:
        return "both_empty" if a == b else "target_empty" if not a else "rival_empty"
    return "identical" if a == b else None


def _essence(code: str) -> str:
    return "\n".join(stripped for line in code.splitlines() if (stripped := line.rstrip()))


def is_cut(a: Solution, b: Solution, max_code_chars: int) -> bool:
    """Tell whether a pair is shown to the judge in part only."""
    return max(len(a.code), len(b.code)) > max_code_chars


def cell_body(cell: Cell, *, lang: Lang, max_code_chars: int) -> dict[str, Any]:
    """Return the OpenAI chat body that asks for one judgement, free text in `lang`; who asks adds the model.

    There is no `seed`, not even where a cell is repeated: on the CPU vLLM 0.32 dies of a seeded request whose prompt
    is taken in over several steps ("CPU Generator does not use offset"). There is no `max_tokens`: the
    schema bounds the reply, and a server with a smaller context than a fixed bound would refuse every cell. Code
    beyond `max_code_chars` characters is cut at the same place for both solutions, and the judge is told.
    """
    return {
        "messages": [
            {"role": "system", "content": template("system", lang).template},
            {"role": "user", "content": _user_message(cell, lang, max_code_chars)},
        ],
        **(REPEATED_SAMPLING if cell.probe in REPEATED else SAMPLING),
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "verdict", "strict": True, "schema": reply_schema()},
        },
    }


def _user_message(cell: Cell, lang: Lang, max_code_chars: int) -> str:
    a, b = cell.first, cell.second
    notice = ""
    if is_cut(a, b, max_code_chars):
        notice = Template(_CUT[lang]).substitute(limit=max_code_chars, a=len(a.code), b=len(b.code))
    return template("user", lang).substitute(
        language=inert(cell.task.language),
        prompt=inert(cell.task.prompt.strip()),
        fence=fence(cell),
        code_a=inert(a.code[:max_code_chars]),
        code_b=inert(b.code[:max_code_chars]),
        notice=notice,
    )


def fence(cell: Cell) -> str:
    """Return the mark around both solutions: 16 hex digits of a SHA-256 over the task's id and all code as shown.

    No solution can hold its own mark, and the same cell always has the same one.
    """
    content = orjson.dumps([cell.task.task_id, cell.first.code, cell.second.code])
    return hashlib.sha256(content).hexdigest()[:16]
