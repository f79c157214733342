"""Folds the replies of a task into one record: wins, ties, losses, and what was said. Knows no file and no server.

    digit d, shown as A:  s = (d - 1) / 4        shown as B:  s = 1 - (d - 1) / 4        (1 = target much better)
    order mean over samples -> win: both orders above 0.5 · loss: both below · tie otherwise, of three kinds:
        true      both orders say equal
        weak      one says equal, the other takes a side
        conflict  the orders take opposite sides

A pair with any judgement missing is unscored: it is neither a tie nor a loss, and enters no mean. Judgements that
check the judge (`audit`) stand apart in the record and enter nothing else. The record depends on the set of replies
only, never on their order, and swapping target and rival mirrors every number in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from analyze.facts.records import from_json as facts_from_json
from analyze.judge.cells import ORDERS, Cell, Order, Probe, Rule, cells_of, is_cut, rule_of
from analyze.judge.evidence import held_against_facts
from analyze.judge.issues import ISSUES
from analyze.judge.labels import DIMENSIONS
from analyze.judge.measured import Values, values_of
from analyze.judge.tasks import Solution, Task
from analyze.judge.verdicts import CellFailure, Reply, Verdict

Outcome = Literal["win", "tie", "loss", "unscored"]
TieKind = Literal["true", "weak", "conflict"]
Record = dict[str, Any]

_NOT_ASKED = CellFailure("missing", "not asked yet")
_RULE_SCORES: dict[Rule, float] = {"target_empty": 0.0, "rival_empty": 1.0, "both_empty": 0.5, "identical": 0.5}


def fold_task(
    task: Task,
    replies: Mapping[str, Reply],
    facts: Mapping[str, Mapping[str, Any]],
    *,
    max_code_chars: int | None = None,
    instances: Mapping[str, str] | None = None,
    samples: int = 1,
    audit: Sequence[Cell] = (),
) -> Record:
    """Return the task's record, one line of per_task.jsonl.

    `replies` and `instances` (which server answered) are keyed by cell id and may hold other tasks' cells too; a cell
    without a reply counts as failed. `facts` holds measured facts as JSON, by author. `max_code_chars` is what the
    cells were asked with, None where nothing was cut. `audit` holds the cells that check the judge on this task.
    """
    instances = instances or {}
    cells = cells_of(task, samples=samples)
    measured = {author: values_of(facts_from_json(values)) for author, values in facts.items()}
    rivals = []
    for rival in task.rivals:
        own = [cell for cell in cells if cell.rival is rival]
        pair = _pair(task, rival, own, replies)
        pair["flags"] = _flags(task, rival, own, replies, max_code_chars)
        pair |= _evidence(task, rival, pair, measured)
        pair["cells"] = [_cell_record(cell, replies.get(cell.id, _NOT_ASKED), instances) for cell in own]
        rivals.append(_solution_record(rival, facts) | pair)
    outcomes = [rival["outcome"] for rival in rivals]
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
        "score": _mean([rival["score"] for rival in rivals if rival["score"] is not None]),
        "audit": _audit(audit, replies, instances),
    }


def cell_score(digit: int, order: Order) -> float:
    """Return a digit as the target's score, 0 to 1."""
    shown_first = (digit - 1) / 4
    return shown_first if order == "target_first" else 1 - shown_first


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


def _pair(task: Task, rival: Solution, cells: Sequence[Cell], replies: Mapping[str, Reply]) -> Record:
    rule = rule_of(task.target, rival)
    if rule is not None:
        score = _RULE_SCORES[rule]
        outcome, tie_kind = outcome_of(score, score)
        return _scored(outcome, tie_kind, score, rule=rule)
    verdicts = [(cell.order, reply) for cell in cells if isinstance(reply := replies.get(cell.id), Verdict)]
    said = _said(verdicts)
    if len(verdicts) < len(cells):
        return _scored("unscored", None, None) | said
    means = _order_means((order, verdict.digit) for order, verdict in verdicts)
    outcome, tie_kind = outcome_of(*means)
    dimensions = {
        name: _mean(_order_means((order, verdict.dimensions[name]) for order, verdict in verdicts))
        for name in DIMENSIONS
    }
    return _scored(outcome, tie_kind, _mean(means), dimensions=dimensions) | said


def _scored(
    outcome: Outcome,
    tie_kind: TieKind | None,
    score: float | None,
    *,
    rule: Rule | None = None,
    dimensions: Mapping[str, float | None] | None = None,
) -> Record:
    return {
        "outcome": outcome,
        "tie_kind": tie_kind,
        "rule": rule,
        "score": score,
        "dimensions": dimensions or {},
    } | _said([])


def _order_means(digits: Iterable[tuple[Order, int]]) -> list[float]:
    """Return the mean score of each order. Scores are quarters, so sums are exact and 0.5 is met exactly."""
    scores: dict[Order, list[float]] = {order: [] for order in ORDERS}
    for order, digit in digits:
        scores[order].append(cell_score(digit, order))
    return [sum(values) / len(values) for values in scores.values()]


def _said(verdicts: Sequence[tuple[Order, Verdict]]) -> Record:
    """Return what the verdicts say of either side, each thing once: codes in the order of the list, texts sorted."""
    return {
        "issues": {side: _known(verdicts, side) for side in ("target", "rival")},
        "strengths": {side: sorted(_texts(verdicts, "strengths", side)) for side in ("target", "rival")},
        "weaknesses": {side: sorted(_texts(verdicts, "weaknesses", side)) for side in ("target", "rival")},
    }


def _known(verdicts: Sequence[tuple[Order, Verdict]], side: str) -> list[str]:
    named = _texts(verdicts, "issues", side)
    return [code for code in ISSUES if code in named]


def _texts(verdicts: Sequence[tuple[Order, Verdict]], what: str, side: str) -> set[str]:
    return {text for order, verdict in verdicts for text in getattr(verdict, f"{what}_{_letter(order, side)}")}


def _letter(order: Order, side: str) -> str:
    """Return under which letter the judge saw a side."""
    return "a" if (order == "target_first") == (side == "target") else "b"


def _flags(
    task: Task, rival: Solution, cells: Sequence[Cell], replies: Mapping[str, Reply], max_code_chars: int | None
) -> list[str]:
    flags = []
    if any(isinstance(reply := replies.get(cell.id), Verdict) and reply.contradictory for cell in cells):
        flags.append("contradictory")
    if cells and max_code_chars is not None and is_cut(task.target, rival, max_code_chars):
        flags.append("code_cut")
    return flags


def _evidence(task: Task, rival: Solution, pair: Record, measured: Mapping[str, Values]) -> Record:
    """Return what the facts say of the verdicts: nothing where the judge did not see all that was measured."""
    of_target, of_rival = measured.get(task.target.author), measured.get(rival.author)
    if of_target is None or of_rival is None or "code_cut" in pair["flags"]:
        return {"confirmed": [], "contradicted": {}}
    return held_against_facts(pair["dimensions"], of_target, of_rival)


def _audit(cells: Sequence[Cell], replies: Mapping[str, Reply], instances: Mapping[str, str]) -> list[Record]:
    """Return one entry a probe, in the order in which the cells are given."""
    probes: dict[tuple[Probe, str], list[Cell]] = {}
    for cell in cells:
        probes.setdefault((cell.probe, cell.rival.author), []).append(cell)
    return [
        {
            "probe": probe,
            "rival": rival,
            "edited": own[0].edited,
            "cells": [_cell_record(cell, replies.get(cell.id, _NOT_ASKED), instances) for cell in own],
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


def _cell_record(cell: Cell, reply: Reply, instances: Mapping[str, str]) -> Record:
    record: Record = {
        "id": cell.id,
        "order": cell.order,
        "sample": cell.sample,
        "status": "failed" if isinstance(reply, CellFailure) else "ok",
        "instance": instances.get(cell.id),
    }
    if isinstance(reply, CellFailure):
        failure = {"kind": reply.kind, "message": reply.message}
        return record | {"digit": None, "score": None, "dimensions": {}, "failure": failure}
    return record | {
        "digit": reply.digit,
        "score": cell_score(reply.digit, cell.order),
        "dimensions": {name: cell_score(digit, cell.order) for name, digit in reply.dimensions.items()},
        "reason": reply.reason,
        "requirements": list(reply.requirements),
        "analysis": {side: getattr(reply, f"analysis_{_letter(cell.order, side)}") for side in ("target", "rival")},
        "evidence": dict(reply.evidence),
        "failure": None,
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
