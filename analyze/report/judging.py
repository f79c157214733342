"""What the check of the judge says, in words: its state, its gates, its habits, what probes moved, who is kin.

Knows the numbers of the check and the manifest; no markup and no file. Every page shows the state before any result.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from analyze.report.numbers import NONE, percent, percent_span, score, score_span, whole
from analyze.report.reading import Record

if TYPE_CHECKING:
    from analyze.stats.check import Gate
    from analyze.stats.intervals import Estimate
    from analyze.stats.summary import Summary

Texts = Mapping[str, str]
State = Literal["ok", "bad", "unknown", "none"]

_STATES: Mapping[str, State] = {"qualified": "ok", "not_qualified": "bad", "not_enough_evidence": "unknown"}
_GATES = {"order_agreement": "m_order", "same_decisive": "m_same", "passed_accuracy": "m_passed"}


@dataclass(frozen=True, slots=True)
class Banner:
    kind: Literal["demo", "measured", "unqualified", "unproven", "family", "unfinished"]
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Flag:
    """A few words that stand with the headline wherever it stands."""

    state: State
    text: str


@dataclass(frozen=True, slots=True)
class GateLine:
    """One gate. `state` is "none" where no judge was asked; `reason` says why it is "bad", or what it lacks."""

    name: str
    measure: str
    short: str
    estimate: Estimate
    wanted: str
    meaning: str
    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class HabitLine:
    """One measure that is shown but held against no threshold."""

    measure: str
    value: str
    interval: str
    n: str
    meaning: str


@dataclass(frozen=True, slots=True)
class ProbeLine:
    """One edit that should move no verdict, and what it moved; toward and away are of none where both were edited."""

    name: str
    measure: str
    moved: Estimate
    toward: Estimate
    away: Estimate
    meaning: str

    @property
    def is_sided(self) -> bool:
        return bool(self.toward.n or self.away.n)


def is_measured(run: Record) -> bool:
    return run.get("engine") == "measured"


def check_state(summary: Summary, *, measured: bool = False) -> State:
    """Return the state of the judge; "none" where none was asked."""
    return "none" if measured else _STATES[summary.check.state]


def gate_lines(summary: Summary, t: Texts, *, measured: bool = False) -> list[GateLine]:
    """Return the gates, each with what it means and whether it is open.

    `measured`: no judge was asked, and measured facts agree with themselves and with recorded tests by construction,
    so nothing is held against a threshold.
    """
    return [_gate_line(gate, t, measured) for gate in summary.check.gates]


def _gate_line(gate: Gate, t: Texts, measured: bool) -> GateLine:
    key = _GATES[gate.name]
    state: State = "none" if measured else _STATES[gate.state]
    wanted = t[gate.direction].format(value=percent(gate.threshold))
    reason = ""
    if state == "bad":
        reason = t[f"{key}_bad"].format(value=percent(gate.estimate.value))
    elif state == "unknown":
        reason = t[f"{key}_none"] if gate.estimate.value is None else _lack(gate, key, wanted, t)
    return GateLine(
        gate.name, t[key], t[f"{key}_short"], gate.estimate, "" if measured else wanted, t[f"{key}_why"], state, reason
    )


def _lack(gate: Gate, key: str, wanted: str, t: Texts) -> str:
    """Say what is lacking to tell whether a gate is open: how many tasks, where a flawless judge needs more of them.

    At most 10 % takes 35 tasks, as 0 of 34 still reaches 10.2 %; at least 80 % takes 16, 75 % takes 12.
    """
    from analyze.stats.intervals import wilson

    at_most = gate.direction == "at_most"
    room = gate.threshold if at_most else 1 - gate.threshold
    least = next(count for count in itertools.count(2) if wilson(0, count)[1] <= room)
    is_flawless = gate.estimate.value == (0.0 if at_most else 1.0)
    if not is_flawless and gate.estimate.n >= least:
        interval = percent_span(gate.estimate)
        return t["gate_more"].format(tasks=t[f"{key}_tasks"], measure=t[key], interval=interval, wanted=wanted)
    reached = wilson(0, least - 1)[1]
    edge = f"{reached if at_most else 1 - reached:.1%}"
    return t["gate_few"].format(least=least, tasks=t[f"{key}_tasks"], almost=least - 1, edge=edge, wanted=wanted)


def habit_lines(summary: Summary, t: Texts) -> list[HabitLine]:
    """Return what else is known of the judge."""
    check = summary.check
    lines = [
        habit("m_kappa", check.order_kappa, t, share=False),
        habit("m_first", check.first_pick_share, t),
        habit("m_flips", check.repeat_flips, t),
        habit("m_alpha", check.repeat_alpha, t, share=False),
        habit("m_facts", check.facts_agreement, t),
        failed_line("m_cells", check.failed_cells, check.cells, t),
    ]
    if check.probe_cells:
        lines.append(failed_line("m_probes", check.failed_probes, check.probe_cells, t))
    return lines


def failed_line(key: str, failed: int, cells: int, t: Texts) -> HabitLine:
    """Return how many judgements of a kind have no usable answer."""
    return HabitLine(t[key], f"{whole(failed)} {t['of']} {whole(cells)}", "", NONE, t[f"{key}_why"])


def habit(key: str, estimate: Estimate, t: Texts, *, share: bool = True) -> HabitLine:
    """Return a measure as a line: a share as a percentage, anything else as a number."""
    value, span = (percent, percent_span) if share else (score, score_span)
    return HabitLine(t[key], value(estimate.value), span(estimate), whole(estimate.n), t[f"{key}_why"])


def probe_lines(summary: Summary, t: Texts) -> list[ProbeLine]:
    """Return the edits that were tried; those that no audited task has are left out."""
    return [
        ProbeLine(
            name=probe.name,
            measure=t[f"probe_{probe.name}"],
            moved=probe.moved,
            toward=probe.toward,
            away=probe.away,
            meaning=t[f"probe_{probe.name}_why"],
        )
        for probe in summary.check.probes
        if probe.moved.n
    ]


def banners(run: Record, summary: Summary, t: Texts) -> list[Banner]:
    """Return what every page must say before any number."""
    return list(_banners(run, summary, t))


def _banners(run: Record, summary: Summary, t: Texts) -> Iterator[Banner]:
    measured = is_measured(run)
    state = check_state(summary, measured=measured)
    if run.get("demo"):
        yield Banner("demo", t["demo_title"], t["demo_text"])
    elif measured:
        yield Banner("measured", t["measured_title"], t["measured_text"])
    elif state in ("bad", "unknown"):
        lines = gate_lines(summary, t)
        reasons = t["joint"].join(line.reason for line in lines if line.state == state)
        kind: Literal["unqualified", "unproven"] = "unqualified" if state == "bad" else "unproven"
        text = t[f"{kind}_text"].format(reasons=reasons)
        yield Banner(kind, t[f"{kind}_title"], text[:1].upper() + text[1:])
    if kin := _kin(run):
        text = t["family_text"].format(judge=run.get("model"), authors=t["list_joint"].join(kin))
        yield Banner("family", _family_title(kin, summary, t), text)
    if run and not run.get("finished"):
        yield Banner("unfinished", t["unfinished_title"], t["unfinished_text"])


def flags(run: Record, summary: Summary, t: Texts) -> list[Flag]:
    """Return what stands with the headline: the judge's state first, then what else to know before believing it."""
    state = check_state(summary, measured=is_measured(run))
    found = [Flag(state, f"{t['judge']}{t['colon']}{t[f'check_{state}']}")]
    if kin := _kin(run):
        found.append(Flag("bad", _family_title(kin, summary, t)))
    if summary.pairs and not summary.is_sufficient:
        found.append(Flag("bad", t["flag_insufficient"]))
    if summary.overall.win_rate.n and summary.overall.is_small:
        few = "flag_few" if summary.overall.clusters == summary.overall.tasks else "flag_few_groups"
        found.append(Flag("unknown", t[few].format(n=summary.overall.clusters, all=summary.overall.tasks)))
    return found


def _kin(run: Record) -> list[str]:
    """Return the authors whose names speak of the judge's own family of models."""
    return [str(author) for author in run.get("same_family") or ()]


def _family_title(kin: list[str], summary: Summary, t: Texts) -> str:
    return t["family_target" if summary.target in kin else "family_rival"]
