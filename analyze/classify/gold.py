"""Labels held against those that people gave: what is counted, what differs, how far confidence can be believed.

    records, gold by row ──> Held ──> Evaluation
                                └──> places of disagreements, the surest first

A row without a label, whatever the reason, is a wrong one. A true label that is none of the labels is never right: it
is counted and told, because it is more often a slip in the file than a row that nobody could get right. Knows no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analyze.classify.labels import Labels
from analyze.classify.letters import likeliest
from analyze.classify.reading import Label, label_in_text, label_of
from analyze.classify.results import Place, Record
from analyze.records import from_json, to_json
from analyze.stats.calibration import (
    Bin,
    Calibration,
    Cutoff,
    Scaling,
    Statement,
    calibration,
    cutoffs,
    reliability,
    temperature_scaling,
)
from analyze.stats.classification import Scores, SetScores, multi_label, single_label

CUTOFFS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
MOST_STATED = 50_000
"""Statements that calibration looks at, the first so many: 2 to 4 s, and 0.5 kB each."""

YES, NO = "true", "false"
NO_LABEL = " "  # the name of no label, and never true


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What gold says of a run. `unknown`: true labels that are none of the labels, and how often.

    `without_gold`: rows that have none, and are held against nothing. With several labels a row calibration is of each
    decision, `cutoffs` of whole rows.
    """

    scores: Scores | SetScores
    rows: int
    without_gold: int
    unknown: Mapping[str, int]
    disagreements: int
    calibration: Calibration
    bins: list[Bin]
    scaling: Scaling | None
    cutoffs: list[Cutoff]


class Held:
    """Holds records against gold, one after the other.

    `gold` is by row, as the input has it now; without it, what the records kept of it counts.
    """

    def __init__(self, labels: Labels, gold: Mapping[str, Any] | None = None) -> None:
        self._labels, self._known, self._gold = labels, {name: name for name in labels.names}, gold
        self._truth: list[Any] = []
        self._given: list[Any] = []
        self._former: dict[str, str] = {}  # labels given that are none any more
        self._unknown: Counter[str] = Counter()
        self._without = 0
        self._sure: list[tuple[float, bool]] = []
        self._statements: dict[str, list[Statement]] = {}
        self._stated = 0
        self._differing: list[tuple[float, Place]] = []

    def add(self, place: Place, record: Record) -> bool:
        """Take one record; return whether its label is another than the true one."""
        if self._gold is not None and record["id"] not in self._gold:
            return False  # a row of an earlier input
        truth = read_gold(self.gold_of(record), self._labels)
        if truth is None:
            self._without += 1
            return False
        names = truth if isinstance(truth, tuple) else (truth,)
        self._unknown.update(name for name in names if name not in self._known)
        given = record["label"]
        self._truth.append(tuple(self._known.get(n, n) for n in truth) if self._labels.multi else names[0])
        self._given.append(self._kept(given))
        self._state(record, truth)
        differs = given is not None and not _same(given, truth)
        if differs:
            self._differing.append((-(record.get("confidence") or 0.0), place))
        return differs

    def gold_of(self, record: Record) -> Any:
        """Return the true label of a record's row, as it was written."""
        return record.get("gold") if self._gold is None else self._gold.get(record["id"])

    def _kept(self, given: Label | None) -> Any:
        """Return a label to keep: a million rows hold the same few names."""
        if given is None:
            return None
        return tuple(map(self._name, given)) if isinstance(given, list) else self._name(given)

    def _name(self, given: str) -> str:
        return self._known.get(given) or self._former.setdefault(given, given)

    def _state(self, record: Record, truth: str | tuple[str, ...]) -> None:
        told, said = record.get("probabilities"), said_label(record, self._labels)
        if told is None or said is None:
            return
        self._sure.append((record["confidence"], _same(said, truth)))
        if self._stated < MOST_STATED:
            own = self._statements[record["id"]] = _statements(told, record.get("label_mass"), said, truth)
            self._stated += len(own)

    @property
    def differing(self) -> list[Place]:
        """Where the disagreements are, the surest first: there it pays to look at gold too."""
        return [place for _, place in sorted(self._differing)]

    def evaluation(self) -> Evaluation:
        score = multi_label if self._labels.multi else single_label
        stated = [statement for own in self._statements.values() for statement in own]
        sure, right = [confidence for confidence, _ in self._sure], [is_right for _, is_right in self._sure]
        return Evaluation(
            scores=score(self._truth, self._given, (*self._labels.names, *self._former)),
            rows=len(self._truth),
            without_gold=self._without,
            unknown=dict(self._unknown.most_common()),
            disagreements=len(self._differing),
            calibration=calibration(stated),
            bins=reliability(stated),
            scaling=temperature_scaling(self._statements),
            cutoffs=cutoffs(sure, right, len(self._truth), CUTOFFS) if sure else [],
        )


def read_gold(value: Any, labels: Labels) -> str | tuple[str, ...] | None:
    """Return the true label, or with several labels a row all of them; None where there is none.

    A cell of a table holds several as a JSON list, or with semicolons between them. Numbers and truth values are taken
    as JSON writes them, since a table cannot tell `1` from `"1"`.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not labels.multi:
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        return _name(value)
    if isinstance(value, str):
        value = _listed(value)
    return tuple(map(_name, value)) if isinstance(value, list) else (_name(value),)


def _listed(text: str) -> list[Any]:
    if text.lstrip().startswith("["):
        try:
            return list(from_json(text))
        except (ValueError, TypeError):
            pass
    return [part for part in text.split(";") if part.strip()]


def _name(value: Any) -> str:
    return value.strip() if isinstance(value, str) else to_json(value).decode()


def said_label(record: Record, labels: Labels) -> Label | None:
    """Return the label that the model said, also where it was not given because it was not sure enough."""
    if record["status"] != "abstained":
        label: Label | None = record["label"]
        return label
    if record.get("label_mass") is not None:
        return likeliest(record["probabilities"])
    raw = record.get("raw_output") or ""
    found = label_of(raw, labels)
    return found if found is not None else label_in_text(raw, labels)


def _same(given: Label, truth: str | tuple[str, ...]) -> bool:
    return given == truth if isinstance(given, str) else set(given) == set(truth)


def _statements(
    told: Mapping[str, float], mass: float | None, said: Label, truth: str | tuple[str, ...]
) -> list[Statement]:
    """Return what a record says. Where it tells the labels' mass, it also says that none of them fits."""
    if isinstance(said, str):
        if mass is not None:
            told = {**{label: p * mass for label, p in told.items()}, NO_LABEL: 1 - mass}
        return [Statement(told, said, truth if isinstance(truth, str) else "")]
    return [
        Statement({YES: p, NO: 1 - p}, YES if label in said else NO, YES if label in truth else NO)
        for label, p in told.items()
    ]
