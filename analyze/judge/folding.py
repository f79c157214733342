"""Folds the replies of a task into one record: wins, ties, losses, and what was said. Knows no file and no server.

    digit d, shown as A:  s = (d - 1) / 4        shown as B:  s = 1 - (d - 1) / 4        (1 = target much better)
    order mean over samples -> win: both orders above 0.5 · loss: both below · tie otherwise, of three kinds:
        true      both orders say equal
        weak      one says equal, the other takes a side
        conflict  the orders take opposite sides

A pair with any judgement missing is unscored: it is neither a tie nor a loss, and enters no mean. Judgements that
check the judge (`audit`) stand apart in the record and enter nothing else. Where it could be read how probable each
digit was, a cell has `probabilities` and a pair its `expected` score, Σ p·s instead of s; no outcome rests on them. The
record depends on the set of replies
only, never on their order, and swapping target and rival mirrors every number in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from analyze.facts.records import from_json as facts_from_json
from analyze.judge.cells import ORDERS, Cell, Order, Probe, Rule, cells_of, is_cut, rule_of
from analyze.judge.evidence import held_against_facts
from analyze.judge.issues import ISSUES
from analyze.judge.labels import DIMENSIONS
from analyze.judge.measured import Values, values_of
from analyze.judge.probabilities import Reading
from analyze.judge.schema import VERDICTS
from analyze.judge.tasks import Solution, Task
from analyze.judge.verdicts import CellFailure, Reply, Verdict

Outcome = Literal["win", "tie", "loss", "unscored"]
TieKind = Literal["true", "weak", "conflict"]
Record = dict[str, Any]

_NOT_ASKED = CellFailure("missing", "not asked yet")
_SCORES: dict[Order, dict[int, float]] = {
    "target_first": {digit: (digit - 1) / 4 for digit in range(1, 6)},
    "rival_first": {digit: 1 - (digit - 1) / 4 for digit in range(1, 6)},
}
_RULE_SCORES: dict[Rule, float] = {"target_empty": 0.0, "rival_empty": 1.0, "both_empty": 0.5, "identical": 0.5}


def fold_task(
    task: Task,
    replies: Mapping[str, Reply],
    facts: Mapping[str, Mapping[str, Any]],
    *,
    max_code_chars: int | None = None,
    instances: Mapping[str, str] | None = None,
    readings: Mapping[str, Reading] | None = None,
    samples: int = 1,
    audit: Sequence[Cell] = (),
) -> Record:
    """Return the task's record, one line of per_task.jsonl.

    `replies`, `instances` (which server answered) and `readings` (how sure the judge was) are keyed by cell id and may
    hold other tasks' cells too; a cell without a reply counts as failed. `facts` holds measured facts as JSON, by
    author. `max_code_chars` is what the cells were asked with, None where nothing was cut. `audit` holds the cells that
    check the judge on this task.
    """
    instances, readings = instances or {}, readings or {}
    judged = _judged(cells_of(task, samples=samples), replies, instances, readings)
    measured = {author: values_of(facts_from_json(values)) for author, values in facts.items()}
    rivals = []
    for rival in task.rivals:
        own = [one for one in judged if one.cell.rival is rival]
        pair, sided = _pair(task, rival, own)
        pair["flags"] = _flags(task, rival, own, max_code_chars)
        pair |= _evidence(task, rival, pair, sided, measured)
        pair["cells"] = [_cell_record(one) for one in own]
        rivals.append(_solution_record(rival, facts) | pair)
    outcomes = [rival["outcome"] for rival in rivals]
    scores = [rival["score"] for rival in rivals if rival["score"] is not None]
    return {
        "task_id": task.task_id,
        "language": task.language,
        "prompt": task.prompt,
        "tags": list(task.tags),
        "group_id": task.group_id,
        "target": _solution_record(task.target, facts),
        "rivals": rivals,
        "wins": outcomes.count("win"),
        "ties": outcomes.count("tie"),
        "losses": outcomes.count("loss"),
        "unscored": outcomes.count("unscored"),
        "score": _mean(scores) if scores else None,
        "audit": _audit(_judged(audit, replies, instances, readings)),
    }


def cell_score(digit: int, order: Order) -> float:
    """Return a digit as the target's score, 0 to 1."""
    return _SCORES[order][digit]


def outcome_of(target_first: float, rival_first: float) -> tuple[Outcome, TieKind | None]:
    """Return what two order means (the target's side, 0 to 1) amount to."""
    lean = [(mean > 0.5) - (mean < 0.5) for mean in (target_first, rival_first)]
    match sum(lean):
        case 2:
            return "win", None
        case -2:
            return "loss", None
        case 0:
            return "tie", "true" if lean == [0, 0] else "conflict"
        case _:
            return "tie", "weak"


class _Judged(NamedTuple):
    """A cell, its id, what was answered and by which server, and how sure of it the judge was."""

    cell: Cell
    id: str
    reply: Reply
    instance: str | None
    reading: Reading | None


def _judged(
    cells: Iterable[Cell],
    replies: Mapping[str, Reply],
    instances: Mapping[str, str],
    readings: Mapping[str, Reading],
) -> list[_Judged]:
    judged = []
    for cell in cells:
        name = cell.id
        reply, reading = replies.get(name, _NOT_ASKED), readings.get(name)
        is_of_it = reading is not None and isinstance(reply, Verdict) and reading.digit == reply.digit
        judged.append(_Judged(cell, name, reply, instances.get(name), reading if is_of_it else None))
    return judged


def _pair(task: Task, rival: Solution, judged: Sequence[_Judged]) -> tuple[Record, dict[str, float]]:
    """Return the pair's record, and the scores of those dimensions on which both orders take the same side."""
    rule = None if judged else rule_of(task.target, rival)  # what a rule decides has no cells
    target_first, rival_first = (_verdicts(judged, order) for order in ORDERS)
    means: tuple[float, ...] = ()
    dimensions, sided = {}, {}
    if rule is not None:
        means = _RULE_SCORES[rule], _RULE_SCORES[rule]
    elif len(target_first) + len(rival_first) == len(judged):
        means = _order_means([one.digit for one in target_first], [one.digit for one in rival_first])
        for name in DIMENSIONS:
            digits = [one.dimensions[name] for one in target_first], [one.dimensions[name] for one in rival_first]
            first, second = _order_means(*digits)
            dimensions[name] = (first + second) / 2
            if (first - 0.5) * (second - 0.5) > 0:
                sided[name] = dimensions[name]
    outcome, tie_kind = outcome_of(*means) if means else ("unscored", None)
    pair = {
        "outcome": outcome,
        "tie_kind": tie_kind,
        "rule": rule,
        "score": _mean(means) if means else None,
        "expected": _expected(judged),
        "dimensions": dimensions,
        **_said(target_first, rival_first),
    }
    return pair, sided


def _verdicts(judged: Iterable[_Judged], order: Order) -> list[Verdict]:
    return [one.reply for one in judged if one.cell.order == order and isinstance(one.reply, Verdict)]


def _order_means(target_first: Sequence[int], rival_first: Sequence[int]) -> tuple[float, float]:
    """Return the mean score of either order's digits: the sum of (d - 1) / 4, and of 1 - (d - 1) / 4, over their count.

    Digits are summed before they are scaled: the sum is exact, so 0.5 is met exactly.
    """
    n, m = len(target_first), len(rival_first)
    return (sum(target_first) - n) / 4 / n, (5 * m - sum(rival_first)) / 4 / m


def _expected(judged: Sequence[_Judged]) -> float | None:
    """Return the mean over both orders of the expected score; None unless every judgement's probabilities are known."""
    leans: dict[Order, list[float]] = {order: [] for order in ORDERS}
    for one in judged:
        if one.reading is None:
            return None
        leans[one.cell.order].append(one.reading.lean)
    if not all(leans.values()):
        return None
    return 0.5 + (_mean(leans["target_first"]) - _mean(leans["rival_first"])) / 2


def _said(target_first: Iterable[Verdict], rival_first: Iterable[Verdict]) -> Record:
    """Return what the verdicts say of either side, each thing once: codes in the order of the list, texts sorted."""
    issues: dict[str, set[str]] = {"target": set(), "rival": set()}
    strengths: dict[str, set[str]] = {"target": set(), "rival": set()}
    weaknesses: dict[str, set[str]] = {"target": set(), "rival": set()}
    for a, b, verdicts in (("target", "rival", target_first), ("rival", "target", rival_first)):
        for verdict in verdicts:
            issues[a].update(verdict.issues_a)
            issues[b].update(verdict.issues_b)
            strengths[a].update(verdict.strengths_a)
            strengths[b].update(verdict.strengths_b)
            weaknesses[a].update(verdict.weaknesses_a)
            weaknesses[b].update(verdict.weaknesses_b)
    return {
        "issues": {side: [code for code in ISSUES if code in named] for side, named in issues.items()},
        "strengths": {side: sorted(texts) for side, texts in strengths.items()},
        "weaknesses": {side: sorted(texts) for side, texts in weaknesses.items()},
    }


def _flags(task: Task, rival: Solution, judged: Sequence[_Judged], max_code_chars: int | None) -> list[str]:
    flags = []
    if any(isinstance(one.reply, Verdict) and one.reply.contradictory for one in judged):
        flags.append("contradictory")
    if judged and max_code_chars is not None and is_cut(task.target, rival, max_code_chars):
        flags.append("code_cut")
    return flags


def _evidence(
    task: Task, rival: Solution, pair: Record, sided: Mapping[str, float], measured: Mapping[str, Values]
) -> Record:
    """Return what the facts say of the verdicts: nothing where the judge did not see all that was measured."""
    of_target, of_rival = measured.get(task.target.author), measured.get(rival.author)
    if of_target is None or of_rival is None or "code_cut" in pair["flags"]:
        return {"confirmed": [], "contradicted": {}}
    return held_against_facts(sided, of_target, of_rival)


def _audit(judged: Iterable[_Judged]) -> list[Record]:
    """Return one entry a probe, in the order in which the cells are given."""
    probes: dict[tuple[Probe, str], list[_Judged]] = {}
    for one in judged:
        probes.setdefault((one.cell.probe, one.cell.rival.author), []).append(one)
    return [
        {
            "probe": probe,
            "rival": rival,
            "edited": own[0].cell.edited,
            "cells": [_cell_record(one) for one in own],
        }
        for (probe, rival), own in probes.items()
    ]


def _solution_record(solution: Solution, facts: Mapping[str, Mapping[str, Any]]) -> Record:
    return {
        "author": solution.author,
        "passed": solution.passed,
        "code": solution.code,
        "facts": facts.get(solution.author),
    }


def _cell_record(judged: _Judged) -> Record:
    cell, name, reply, instance, reading = judged
    record: Record = {
        "id": name,
        "order": cell.order,
        "sample": cell.sample,
        "status": "failed" if isinstance(reply, CellFailure) else "ok",
        "instance": instance,
        "probabilities": dict(zip(VERDICTS, reading.probabilities, strict=True)) if reading else None,
        "legal_mass": reading.legal_mass if reading else None,
    }
    if isinstance(reply, CellFailure):
        failure = {"kind": reply.kind, "message": reply.message}
        return record | {"digit": None, "score": None, "dimensions": {}, "failure": failure}
    scores = _SCORES[cell.order]
    analyses = reply.analysis_a, reply.analysis_b
    of_target, of_rival = analyses if cell.order == "target_first" else reversed(analyses)
    return record | {
        "digit": reply.digit,
        "score": scores[reply.digit],
        "dimensions": {name: scores[digit] for name, digit in reply.dimensions.items()},
        "reason": reply.reason,
        "requirements": list(reply.requirements),
        "analysis": {"target": of_target, "rival": of_rival},
        "evidence": dict(reply.evidence),
        "failure": None,
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
