"""One task of a report: all that its block on a page shows, in words. Knows one record; no template, no statistics."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyze.judge.labels import DIMENSION_LABELS, DIMENSIONS
from analyze.lang import Lang
from analyze.report.highlight import highlighted
from analyze.report.numbers import NONE, number, score
from analyze.report.reading import Record
from analyze.report.safe import cut
from analyze.report.texts import TEXTS
from analyze.report.words import issue_label

if TYPE_CHECKING:
    from markupsafe import Markup

_PROMPT_CHARS = 4_000
_SAID_CHARS = 1_500  # a reason, an analysis, a message
_PHRASE_CHARS = 300  # a strength, a weakness, evidence
_FINDINGS = 4  # of each analyser, listed per solution

_SAID = {1.0: "said_1", 0.75: "said_075", 0.5: "said_05", 0.25: "said_025", 0.0: "said_0"}


@dataclass(frozen=True, slots=True)
class SolutionView:
    author: str
    passed: bool | None
    facts: tuple[str, ...]
    findings: tuple[str, ...]
    code: Markup | None


@dataclass(frozen=True, slots=True)
class CellView:
    """What was said in one order. `side` is the outcome it favours: win, tie, loss, or unscored where it failed."""

    order: str
    side: str
    said: str
    reason: str
    instance: str | None
    requirements: tuple[str, ...]
    analysis: tuple[tuple[str, str], ...]
    evidence: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RivalView:
    solution: SolutionView
    outcome: str
    outcome_text: str
    score: str
    notes: tuple[str, ...]
    cells: tuple[CellView, ...]
    dimensions: tuple[tuple[str, str, str], ...]  # label, score, side
    named: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]  # title, of the target, of the rival


@dataclass(frozen=True, slots=True)
class TaskView:
    """`anchor` is a name for links: task ids may hold anything, an HTML id may not."""

    anchor: str
    task_id: str
    language: str
    score: str
    outcomes: tuple[tuple[str, str], ...]  # rival, outcome
    tags: tuple[str, ...]
    prompt: str
    target: SolutionView
    rivals: tuple[RivalView, ...]


def anchor(task_id: str) -> str:
    """Return the HTML id of a task."""
    return "task-" + hashlib.sha256(task_id.encode("utf-8", "replace")).hexdigest()[:12]


def task_view(task: Record, lang: Lang) -> TaskView:
    """Return everything that the block of a task shows."""
    language = task.get("language") or ""
    second = {entry["rival"]: entry["cells"] for entry in task.get("audit") or () if entry["probe"] == "second"}
    rivals = tuple(
        _rival_view(rival, language, lang, second.get(rival.get("author"), ())) for rival in task.get("rivals", ())
    )
    return TaskView(
        anchor=anchor(task["task_id"]),
        task_id=cut(task["task_id"], 120),
        language=language,
        score=score(task.get("score")),
        outcomes=tuple((rival.solution.author, rival.outcome) for rival in rivals),
        tags=tuple(task.get("tags") or ()),
        prompt=cut(task.get("prompt") or "", _PROMPT_CHARS),
        target=_solution_view(task["target"], language, lang),
        rivals=rivals,
    )


def _solution_view(solution: Record, language: str, lang: Lang) -> SolutionView:
    facts = solution.get("facts") or {}
    code = solution.get("code") or ""
    return SolutionView(
        author=cut(solution.get("author") or NONE, 80),
        passed=solution.get("passed"),
        facts=tuple(_facts_line(facts, lang)),
        findings=tuple(_findings(facts)),
        code=highlighted(code, language) if code.strip() else None,
    )


def _facts_line(facts: Record, lang: Lang) -> list[str]:
    t = TEXTS[lang]
    line = []
    if facts.get("code_lines") is not None:
        line.append(t["fact_lines"].format(n=facts["code_lines"]))
    if facts.get("max_complexity") is not None:
        mean = facts.get("mean_complexity")
        mean_text = NONE if mean is None else f"{mean:.1f}"
        line.append(t["fact_complexity"].format(mean=mean_text, max=facts["max_complexity"]))
    line += [t[f"fact_{kind}"].format(n=len(facts[kind])) for kind in ("lint", "security") if facts.get(kind)]
    if facts.get("syntax_ok") is False:
        line.append(t["fact_syntax"])
    return line + list(facts.get("limits") or ())


def _findings(facts: Record) -> list[str]:
    """Return the first findings, security before lint: `B602 :12 subprocess call with shell=True`."""
    first = [*(facts.get("security") or ())[:_FINDINGS], *(facts.get("lint") or ())[:_FINDINGS]]
    return [cut(f"{it.get('code')} :{it.get('line')} {it.get('message')}", _PHRASE_CHARS) for it in first]


def _rival_view(rival: Record, language: str, lang: Lang, second: Sequence[Record]) -> RivalView:
    """`second` holds the cells of a second judge."""
    t = TEXTS[lang]
    outcome = rival.get("outcome") or "unscored"
    kind = rival.get("tie_kind")
    rule, flags = rival.get("rule"), rival.get("flags") or ()
    notes = [t[f"rule_{rule}"]] if rule else []
    notes += [t.get(f"flag_{flag}", flag) for flag in flags]
    notes += [_contradicted(name, against, lang) for name, against in (rival.get("contradicted") or {}).items()]
    dimensions = rival.get("dimensions") or {}
    return RivalView(
        solution=_solution_view(rival, language, lang),
        outcome=outcome,
        outcome_text=t[f"tie_{kind}"] if outcome == "tie" and kind and not rule else t[outcome],
        score=score(rival.get("score")),
        notes=tuple(notes),
        cells=(
            *(_cell_view(cell, lang) for cell in rival.get("cells", ())),
            *(_cell_view(cell, lang, by=t["second_second"]) for cell in second),
        ),
        dimensions=tuple(
            (DIMENSION_LABELS[lang][name], score(dimensions[name]), side_of(dimensions[name]))
            for name in DIMENSIONS
            if dimensions.get(name) is not None
        ),
        named=tuple(_named(rival, lang)),
    )


def _contradicted(dimension: str, against: Record, lang: Lang) -> str:
    """Say which measured facts speak against the verdict on a dimension."""
    t = TEXTS[lang]
    label, facts = DIMENSION_LABELS[lang].get(dimension, dimension), facts_text(against.get("facts") or (), lang)
    return t["contradicted_note"].format(dimension=label, verdict=score(against.get("verdict")), facts=facts)


def facts_text(facts: Sequence[Record], lang: Lang) -> str:
    """Name measured facts with the values of both sides."""
    t = TEXTS[lang]
    return t["joint"].join(
        t["contradicted_fact"].format(
            fact=_measure_name(fact["name"], lang), target=number(fact["target"]), rival=number(fact["rival"])
        )
        for fact in facts
    )


def _measure_name(name: str, lang: Lang) -> str:
    """Return what a measure is called; one of another version goes by its own name."""
    t = TEXTS[lang]
    return t["measure_remarks"] if name.endswith("_remarks") else t.get(f"measure_{name}", name)


def side_of(value: float | None) -> str:
    """Return which outcome a score favours."""
    if value is None:
        return "unscored"
    return "win" if value > 0.5 else "loss" if value < 0.5 else "tie"


def _named(rival: Record, lang: Lang) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Yield what was named of both sides, kind by kind; a kind that neither has is left out."""
    for kind in ("issues", "strengths", "weaknesses"):
        found = rival.get(kind) or {}
        target, other = _phrases(found.get("target", ())), _phrases(found.get("rival", ()))
        if kind == "issues":
            target, other = (tuple(issue_label(code, lang) for code in side) for side in (target, other))
        if target or other:
            yield TEXTS[lang][kind], target, other


def _phrases(phrases: Sequence[str]) -> tuple[str, ...]:
    return tuple(cut(phrase, _PHRASE_CHARS) for phrase in phrases)


def _cell_view(cell: Record, lang: Lang, by: str = "") -> CellView:
    """`by` names the judge where it is not the first."""
    t = TEXTS[lang]
    failure = cell.get("failure")
    value = cell.get("score")
    if failure:
        kind = failure.get("kind") or ""
        said, reason = t["cell_failed"], t.get(f"kind_{kind}", kind) + t["colon"] + (failure.get("message") or "")
    else:
        said, reason = (NONE if value is None else t[_SAID[value]]), cell.get("reason") or ""
    analysis = cell.get("analysis") or {}
    evidence = cell.get("evidence") or {}
    labels = DIMENSION_LABELS[lang]
    return CellView(
        order=(f"{by}{t['colon']}" if by else "") + t[f"order_{cell['order']}"],
        side=side_of(None if failure else value),
        said=said,
        reason=cut(reason, _SAID_CHARS),
        instance=cell.get("instance"),
        requirements=_phrases(cell.get("requirements") or ()),
        analysis=tuple(
            (t[f"analysis_{who}"], cut(analysis[who], _SAID_CHARS)) for who in ("target", "rival") if analysis.get(who)
        ),
        evidence=tuple((labels[name], cut(evidence[name], _PHRASE_CHARS)) for name in DIMENSIONS if evidence.get(name)),
    )
