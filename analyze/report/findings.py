"""What the numbers of a run say, in words: the answer, facts per author, contradictions.

Knows records and statistics; no markup and no file. Pages, Markdown and notebooks show the same findings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from analyze.report.numbers import mean, p_value, percent, percent_span, score, score_span, whole
from analyze.report.reading import Record
from analyze.report.words import judged

if TYPE_CHECKING:
    from analyze.stats.intervals import Estimate
    from analyze.stats.summary import Result, Summary

Texts = Mapping[str, str]

_MOST_P = 0.05


@dataclass(frozen=True, slots=True)
class Answer:
    """The run in one sentence: `headline`, what it rests on, and a warning where too little was judged."""

    side: Literal["better", "worse", "equal", "none"]
    headline: str
    detail: str
    warning: str | None


def target_name(summary: Summary, t: Texts) -> str:
    return summary.target or t["a_target"]


def subject(summary: Summary, t: Texts) -> str:
    """Return who was compared with whom."""
    target = target_name(summary, t)
    if len(summary.rivals) == 1:
        return t["subject_one"].format(target=target, rival=summary.rivals[0].author)
    return t["subject"].format(target=target, n=len(summary.rivals))


def answer(summary: Summary, t: Texts) -> Answer:
    """Say which side the overall result leaves no doubt about, if any: see `_side`."""
    overall = summary.overall
    rate = overall.win_rate
    if rate.value is None:
        detail = t["answer_detail_none"].format(pairs=whole(summary.pairs), tasks=whole(summary.tasks))
        return Answer("none", t["answer_none"], detail, None)
    side = _side(overall)
    detail = t["answer_detail"].format(
        rate=percent(rate.value), interval=percent_span(rate), pairs=whole(rate.n), tasks=whole(overall.tasks)
    )
    if side == "equal" and _interval_side(rate):
        detail += t["gap"] + _unconfirmed(overall, t)
    return Answer(side, _headline(side, summary, t), detail, _coverage_warning(summary, t))


def _headline(side: str, summary: Summary, t: Texts) -> str:
    """Name the only rival, or speak of them all."""
    target = target_name(summary, t)
    if len(summary.rivals) == 1:
        return t[f"answer_{side}_one"].format(target=target, rival=summary.rivals[0].author)
    return t[f"answer_{side}"].format(target=target)


def _side(result: Result) -> Literal["better", "worse", "equal"]:
    """Return the side that the interval of the win rate and the sign-flip test of the graded score both name.

    The interval alone is not enough: 4 wins on 4 tasks have one of 51 to 100 %, but come by chance in 1 of 8 runs.
    """
    sign = named_side(result, result.win_rate)
    return "better" if sign > 0 else "worse" if sign < 0 else "equal"


def named_side(result: Result, drawn: Estimate) -> int:
    """Return 1 for the target or -1 for the rival where a side may be named, in words or by colour; else 0.

    `drawn` is what is looked at, the win rate or the score: its interval must leave out one half, and so must that of
    the win rate. The test, adjusted for the number of rivals, must confirm it, and the score lie on that side.
    """
    sure = result.p_adjusted is not None and result.p_adjusted <= _MOST_P
    sign = _interval_side(result.win_rate)
    is_one = sign == _interval_side(drawn) and result.score.value is not None and (result.score.value - 0.5) * sign > 0
    return sign if sure and is_one else 0


def _interval_side(rate: Estimate) -> int:
    """Return 1 for an interval above one half, -1 for one below, 0 for one that has it or none."""
    if rate.low is None or rate.high is None:
        return 0
    return (rate.low > 0.5) - (rate.high < 0.5)


def _unconfirmed(result: Result, t: Texts) -> str:
    """Say why no side is named where the interval of the win rate would name one."""
    least_p = 2.0 ** (1 - result.clusters)  # of the test on so many tasks, all to one side: 0.06 on 5, 0.03 on 6
    if least_p > _MOST_P:
        return t["answer_too_few"].format(n=result.clusters, p=p_value(least_p))
    return t["answer_unconfirmed"].format(score=score(result.score.value), p=p_value(result.p_value))


def _coverage_warning(summary: Summary, t: Texts) -> str | None:
    if summary.is_sufficient:
        return None
    low, high = summary.worst
    return t["answer_coverage"].format(coverage=percent(summary.coverage), low=score(low), high=score(high))


def corrected_text(summary: Summary, t: Texts) -> str | None:
    """Say the rate behind a judge whose errors are known, or None where they are not."""
    corrected = summary.corrected_correctness
    return t["corrected"].format(rate=percent_text(corrected)) if corrected and corrected.value is not None else None


def halo_text(summary: Summary, labels: Mapping[str, str], t: Texts) -> str | None:
    """Name the dimensions that are judged as if they were one, or None."""
    pairs = [
        t["halo_pair"].format(
            first=labels.get(it.first, it.first), second=labels.get(it.second, it.second), rho=score(it.rho)
        )
        for it in summary.correlations
        if it.is_halo
    ]
    return t["halo"].format(pairs=t["list_joint"].join(pairs)) if pairs else None


def ahead_text(result: Result, t: Texts) -> str | None:
    """Return in how many of few tasks the target is ahead, and the exact interval of that share; None for many."""
    if result.tests is None or not result.tests.ahead.n or not result.is_small:
        return None
    ahead = result.tests.ahead
    return f"{(ahead.value or 0) * ahead.n:.0f} {t['of']} {ahead.n}{t['colon']}{percent_span(ahead)}"


def score_text(estimate: Estimate) -> str:
    """Return an estimate and its interval as one label."""
    return f"{score(estimate.value)} ({score_span(estimate)})" if estimate.low is not None else score(estimate.value)


def percent_text(estimate: Estimate) -> str:
    if estimate.low is None:
        return percent(estimate.value)
    return f"{percent(estimate.value)} ({percent_span(estimate)})"


@dataclass(frozen=True, slots=True)
class AuthorFacts:
    """Means over an author's solutions; None where nothing of the kind was measured."""

    author: str
    is_target: bool
    solutions: int
    passed: int
    tested: int
    code_lines: float | None
    complexity: float | None
    max_complexity: float | None
    lint: float | None
    security: float | None
    duplicated: float | None


def facts_per_author(tasks: Sequence[Record]) -> list[AuthorFacts]:
    """Average the measured facts of each author, targets first, then in order of appearance."""
    of_author: dict[tuple[bool, str], list[Record]] = {}
    for task in tasks:
        for is_target, solution in _solutions(task):
            of_author.setdefault((is_target, solution.get("author", "")), []).append(solution)
    found = [_author_facts(author, is_target, them) for (is_target, author), them in of_author.items()]
    return sorted(found, key=lambda facts: not facts.is_target)


def _solutions(task: Record) -> Iterator[tuple[bool, Record]]:
    if task.get("target"):
        yield True, task["target"]
    for rival in task.get("rivals", ()):
        yield False, rival


def _author_facts(author: str, is_target: bool, solutions: list[Record]) -> AuthorFacts:
    facts = [solution["facts"] for solution in solutions if solution.get("facts")]
    # No finding means none only where the analysers for Python could read the code; elsewhere it means not looked.
    looked = [fact for fact in facts if fact.get("language") == "python" and fact.get("syntax_ok")]
    tested = [solution["passed"] for solution in solutions if solution.get("passed") is not None]

    def average(name: str) -> float | None:
        return mean([value for fact in facts if (value := fact.get(name)) is not None])

    def found(name: str) -> float | None:
        return mean([len(fact.get(name, ())) for fact in looked])

    complexities = [fact["max_complexity"] for fact in facts if fact.get("max_complexity") is not None]
    return AuthorFacts(
        author=author,
        is_target=is_target,
        solutions=len(solutions),
        passed=sum(tested),
        tested=len(tested),
        code_lines=average("code_lines"),
        complexity=average("mean_complexity"),
        max_complexity=max(complexities, default=None),
        lint=found("lint"),
        security=found("security"),
        duplicated=average("duplicated_lines"),
    )


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A verdict for the solution that failed its recorded tests, against the one that passed them."""

    task_id: str
    rival: str
    target_passed: bool


def contradictions(tasks: Sequence[Record]) -> list[Contradiction] | None:
    """Return the verdicts that go against recorded tests; None where no pair could show one."""
    seen_any = False
    found = []
    for task, rival in judged(tasks):
        target_passed, rival_passed = task["target"].get("passed"), rival.get("passed")
        if target_passed is None or rival_passed is None or target_passed == rival_passed:
            continue
        seen_any = True
        if rival["outcome"] == ("loss" if target_passed else "win"):
            found.append(Contradiction(task["task_id"], rival["author"], target_passed))
    return found if seen_any else None


@dataclass(frozen=True, slots=True)
class FactContradiction:
    """A verdict on a dimension that goes against what was measured of it; `facts` are its record's, name and sides."""

    task_id: str
    rival: str
    dimension: str
    verdict: float
    facts: Sequence[Record]


def fact_contradictions(tasks: Sequence[Record]) -> list[FactContradiction]:
    """Return the verdicts on dimensions that go against measured facts, the furthest from equal first."""
    found = [
        FactContradiction(task["task_id"], rival["author"], dimension, against["verdict"], against.get("facts") or ())
        for task, rival in judged(tasks)
        for dimension, against in (rival.get("contradicted") or {}).items()
    ]
    return sorted(found, key=lambda it: (-abs(it.verdict - 0.5), it.task_id, it.rival, it.dimension))
