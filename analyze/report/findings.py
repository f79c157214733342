"""What the numbers of a run say, in words: the answer, the judge check, facts per author, contradictions.

Knows records and statistics; no markup and no file. Pages, Markdown and notebooks show the same findings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from analyze.report.numbers import mean, percent, percent_span, score, score_span, whole
from analyze.report.reading import Record
from analyze.report.words import judged

if TYPE_CHECKING:
    from analyze.stats.intervals import Estimate
    from analyze.stats.summary import Summary

Texts = Mapping[str, str]
State = Literal["ok", "bad", "unknown", "none"]

# What a judge must reach to be believed: agreement of a strong judge is .93, of a poor one .66 to .42.
LEAST_ORDER_AGREEMENT = 0.80
LEAST_PASSED_ACCURACY = 0.75
LEAST_COVERAGE = 0.95
# A first-pick share further from one half than this, with one half outside its interval, is a habit.
MOST_FIRST_PICK_OFFSET = 0.10


@dataclass(frozen=True, slots=True)
class Banner:
    kind: Literal["demo", "measured", "unqualified", "unfinished"]
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The run in one sentence: `headline`, what it rests on, and a warning where too little was judged."""

    side: Literal["better", "worse", "equal", "none"]
    headline: str
    detail: str
    warning: str | None


@dataclass(frozen=True, slots=True)
class CheckLine:
    """One line of the judge check. `state` is None for a line that is not held against a threshold."""

    measure: str
    value: str
    interval: str
    wanted: str
    meaning: str
    state: State | None
    reproach: str | None = None


def target_name(summary: Summary, t: Texts) -> str:
    return summary.target or t["a_target"]


def subject(summary: Summary, t: Texts) -> str:
    """Return who was compared with whom."""
    target = target_name(summary, t)
    if len(summary.rivals) == 1:
        return t["subject_one"].format(target=target, rival=summary.rivals[0].author)
    return t["subject"].format(target=target, n=len(summary.rivals))


def answer(summary: Summary, t: Texts) -> Answer:
    """Say which side the interval of the overall win rate leaves no doubt about, if any."""
    rate = summary.overall.win_rate
    if rate.value is None:
        detail = t["answer_detail_none"].format(pairs=summary.pairs, tasks=summary.tasks)
        return Answer("none", t["answer_none"], detail, None)
    side: Literal["better", "worse", "equal"] = "equal"
    if rate.low is not None and rate.high is not None:
        side = "better" if rate.low > 0.5 else "worse" if rate.high < 0.5 else "equal"
    detail = t["answer_detail"].format(
        rate=percent(rate.value), interval=percent_span(rate), pairs=rate.n, tasks=summary.tasks
    )
    return Answer(
        side, t[f"answer_{side}"].format(target=target_name(summary, t)), detail, _coverage_warning(summary, t)
    )


def _coverage_warning(summary: Summary, t: Texts) -> str | None:
    if summary.coverage >= LEAST_COVERAGE:
        return None
    low, high = summary.worst
    return t["answer_coverage"].format(coverage=percent(summary.coverage), low=score(low), high=score(high))


def check_lines(summary: Summary, t: Texts, *, measured: bool = False) -> list[CheckLine]:
    """Return the judge check, each measure with what it means and whether it is good enough.

    `measured`: no judge was asked, and measured facts agree with themselves and with recorded tests by construction,
    so no line is held against a threshold.
    """
    lines = _check_lines(summary, t)
    return [replace(line, wanted="", state=None, reproach=None) for line in lines] if measured else lines


def _check_lines(summary: Summary, t: Texts) -> list[CheckLine]:
    check = summary.check
    lines = [
        _share_line("m_order", check.order_agreement, LEAST_ORDER_AGREEMENT, t),
        _first_pick_line(check.first_pick_share, t),
        CheckLine(t["m_kappa"], score(check.order_kappa.value), score_span(check.order_kappa), "", t["m_kappa_why"], None),
        _share_line("m_passed", check.passed_accuracy, LEAST_PASSED_ACCURACY, t),
    ]
    enough = summary.coverage >= LEAST_COVERAGE
    coverage = percent(summary.coverage)
    lines.append(
        CheckLine(
            t["m_coverage"],
            coverage,
            "",
            t["at_least"].format(value=percent(LEAST_COVERAGE)),
            t["m_coverage_why"],
            ("ok" if enough else "bad") if summary.pairs else "unknown",
            None if enough else t["m_coverage_bad"].format(value=coverage),
        )
    )
    failed = f"{whole(check.failed_cells)} {t['of']} {whole(check.cells)}"
    lines.append(CheckLine(t["m_cells"], failed, "", "", t["m_cells_why"], None))
    return lines


def _share_line(name: str, estimate: Estimate, least: float, t: Texts) -> CheckLine:
    state: State = "unknown" if estimate.value is None else "ok" if estimate.value >= least else "bad"
    value = percent(estimate.value)
    reproach = t[f"{name}_bad"].format(value=value) if state == "bad" else None
    wanted = t["at_least"].format(value=percent(least))
    return CheckLine(t[name], value, percent_span(estimate), wanted, t[f"{name}_why"], state, reproach)


def _first_pick_line(share: Estimate, t: Texts) -> CheckLine:
    state: State = "unknown"
    reproach = None
    if share.value is not None:
        far = abs(share.value - 0.5) > MOST_FIRST_PICK_OFFSET
        sure = share.low is not None and share.high is not None and not share.low <= 0.5 <= share.high
        state = "bad" if far and sure else "ok"
        if state == "bad":
            reproach = t["m_first_bad"].format(value=percent(max(share.value, 1 - share.value)))
    return CheckLine(
        t["m_first"], percent(share.value), percent_span(share), t["about_half"], t["m_first_why"], state, reproach
    )


def check_state(lines: Sequence[CheckLine]) -> State:
    """Fold the check: one poor line is enough to fail it; without agreement between orders nothing is known."""
    states = [line.state for line in lines]
    if not any(states):
        return "none"
    if "bad" in states:
        return "bad"
    return "unknown" if states[0] == "unknown" else "ok"


def banners(run: Record, lines: Sequence[CheckLine], t: Texts) -> list[Banner]:
    """Return what every page must say before any number."""
    found: list[Banner] = []
    if run.get("demo"):
        found.append(Banner("demo", t["demo_title"], t["demo_text"]))
    elif run.get("engine") == "measured":
        found.append(Banner("measured", t["measured_title"], t["measured_text"]))
    elif check_state(lines) == "bad":
        reasons = t["joint"].join(line.reproach for line in lines if line.reproach)
        text = t["unqualified_text"].format(reasons=reasons[:1].upper() + reasons[1:])
        found.append(Banner("unqualified", t["unqualified_title"], text))
    if run and not run.get("finished"):
        found.append(Banner("unfinished", t["unfinished_title"], t["unfinished_text"]))
    return found


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

    def average(of: Sequence[Record], number: Callable[[Record], float | None]) -> float | None:
        return mean([value for fact in of if (value := number(fact)) is not None])

    complexities = [fact["max_complexity"] for fact in facts if fact.get("max_complexity") is not None]
    return AuthorFacts(
        author=author,
        is_target=is_target,
        solutions=len(solutions),
        passed=sum(tested),
        tested=len(tested),
        code_lines=average(facts, lambda fact: fact.get("code_lines")),
        complexity=average(facts, lambda fact: fact.get("mean_complexity")),
        max_complexity=max(complexities, default=None),
        lint=average(looked, lambda fact: len(fact.get("lint", ()))),
        security=average(looked, lambda fact: len(fact.get("security", ()))),
        duplicated=average(facts, lambda fact: fact.get("duplicated_lines")),
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
class Phrase:
    text: str
    count: int
    task_id: str


def phrases(tasks: Sequence[Record], kind: Literal["strengths", "weaknesses"], side: str, most: int) -> list[Phrase]:
    """Return the most frequent phrases, each with a task that has it; equal but for case and space is the same."""
    counts: Counter[str] = Counter()
    first: dict[str, tuple[str, str]] = {}
    for task, rival in judged(tasks):
        said = {" ".join(phrase.split()).lower(): phrase for phrase in (rival.get(kind) or {}).get(side, ())}
        counts.update(said.keys())
        for key, phrase in said.items():
            first.setdefault(key, (phrase, task["task_id"]))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [Phrase(first[key][0], count, first[key][1]) for key, count in ranked[:most] if key]
