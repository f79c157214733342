"""Two runs side by side: `compare.html` and `compare.md` beside the one, and the finding in one sentence.

    two run folders ─► stats.compare ─► rows and sentences (Page) ─► HTML by a template, Markdown here

What differs between the runs besides the target is said before any number: a judge that is not the same in both may
be all that changed. Knows what stands where; every number comes from `stats`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from analyze._version import __version__
from analyze.errors import InputError
from analyze.files import write_whole
from analyze.judge.labels import DIMENSION_LABELS, DIMENSIONS
from analyze.lang import Lang
from analyze.report import numbers
from analyze.report.charts import Point, dots
from analyze.report.figures import MOST_RIVALS
from analyze.report.findings import percent_text
from analyze.report.frame import css, environment
from analyze.report.judging import Banner, Flag, banners, check_state, gate_lines, is_measured
from analyze.report.numbers import NONE, p_value, probability, score, signed, signed_span, whole
from analyze.report.reading import Recorded, read_run
from analyze.report.safe import code_span, cut, markdown
from analyze.report.style import NARROW_PX, WIDE_PX
from analyze.report.svg import inline
from analyze.report.taskview import anchor
from analyze.report.texts import TEXTS
from analyze.stats.pairs import Outcome

if TYPE_CHECKING:
    from markupsafe import Markup

    from analyze.stats.compare import Change, Comparison, TaskChange
    from analyze.stats.summary import Summary

Texts = Mapping[str, str]

MOST_TASKS = 40  # listed either way, and of each kind that was not compared
OUTCOMES: tuple[Outcome, ...] = ("win", "tie", "loss", "unscored")


@dataclass(frozen=True, slots=True)
class Compared:
    """Where a comparison was written, and what it finds in one sentence."""

    paths: Mapping[str, Path]
    sentence: str


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two runs. `name` is what its target is called, `link` leads from the page to its report, if any."""

    recorded: Recorded
    summary: Summary
    name: str
    link: str | None


@dataclass(frozen=True, slots=True)
class _Both:
    before: _Side
    after: _Side
    found: Comparison
    lang: Lang

    @property
    def sides(self) -> tuple[_Side, _Side]:
        return self.before, self.after


def compare_runs(run_dir: Path, other_dir: Path, *, lang: Lang) -> Compared:
    """Compare the run in `run_dir` (now) with that in `other_dir` (before); write both pages beside the former.

    Raises InputError where a folder holds no run, both are the same one, or they have no task or no rival in common.
    """
    both = _read(Path(run_dir), Path(other_dir), lang)
    paths = {
        "compare": write_whole(Path(run_dir) / "compare.html", _page(both)),
        "compare.md": write_whole(Path(run_dir) / "compare.md", _markdown(both)),
    }
    return Compared(paths, _sentence(both))


def _read(run_dir: Path, other_dir: Path, lang: Lang) -> _Both:
    from analyze.stats.compare import compare
    from analyze.stats.summary import summarise

    after, before = read_run(run_dir), read_run(other_dir)
    if run_dir.resolve() == other_dir.resolve() or (before.tasks and before.tasks == after.tasks):
        raise InputError("the same run is given twice", path=str(other_dir), cure="name another run to compare with")
    found = compare(before.tasks, after.tasks)
    if not found.common:
        said = "prompts that differ" if found.unlike else "no common task_id"
        cure = "compare runs over the same tasks: a task is the same by task_id and prompt"
        raise InputError(f"has no task in common with {run_dir}: {said}", path=str(other_dir), cure=cure)
    if not found.pairs:
        cure = "compare runs against the same rivals: a rival is the same by its author's name"
        raise InputError(f"has no rival in common with {run_dir}", path=str(other_dir), cure=cure)
    t = TEXTS[lang]
    names = [found.target_before or t["a_target"], found.target_after or t["a_target"]]
    if names[0] == names[1]:  # told apart by their folders
        folders = other_dir.resolve().name, run_dir.resolve().name
        if folders[0] == folders[1]:
            folders = t["before"], t["now"]
        names = [f"{name} ({folder})" for name, folder in zip(names, folders, strict=True)]
    old, new = (
        _Side(recorded, summarise(recorded.tasks), cut(name, 80), _link(recorded.folder, run_dir))
        for recorded, name in zip((before, after), names, strict=True)
    )
    return _Both(old, new, found, lang)


def _link(folder: Path, from_folder: Path) -> str | None:
    """Return the address of a run's report, seen from another folder."""
    page = folder / "report.html"
    return quote(os.path.relpath(page.resolve(), from_folder.resolve())) if page.exists() else None


# --- what is said ---


def _headline(both: _Both, t: Texts) -> str:
    return t[f"compare_{both.found.overall.side}"].format(after=both.after.name, before=both.before.name)


def _detail(both: _Both, t: Texts) -> str:
    change = both.found.overall
    if change.change.value is None:
        return ""
    return t["compare_detail"].format(
        tasks=whole(change.tasks),
        before=score(change.before),
        after=score(change.after),
        change=signed(change.change.value),
        interval=signed_span(change.change),
        p=p_value(change.p_value),
        pairs=whole(change.change.n),
        gained=change.gained,
        lost=change.lost,
    )


def _sentence(both: _Both) -> str:
    """Return the finding, and what is to be known before believing it, as one line."""
    t = TEXTS[both.lang]
    warnings = "".join(f"{t['gap']}⚠ {banner.title}{t['stop']}" for banner in _banners(both, t) if _is_loud(banner))
    return f"{_headline(both, t)}{t['stop']}{t['gap']}{_detail(both, t)}{warnings}"


def _is_loud(banner: Banner) -> bool:
    return banner.kind in ("demo", "unqualified")


def _banners(both: _Both, t: Texts) -> list[Banner]:
    """Return what is to be known before any number: another judge first, then what each run's own report says."""
    return list(_all_banners(both, t))


def _all_banners(both: _Both, t: Texts) -> Iterator[Banner]:
    found = both.found
    if differing := [name for name, *texts in _judge_rows(both, t) if texts[0] != texts[1]]:
        text = t["compare_judge_text"].format(what=t["list_joint"].join(differing))
        yield Banner("unqualified", t["compare_judge_title"], text)
    if found.other_rivals:
        text = t["compare_rivals_text"].format(n=found.other_rivals, all=found.pairs)
        yield Banner("unqualified", t["compare_rivals_title"], text)
    if found.same_code:
        text = t["compare_same_text"].format(n=len(found.same_code), all=found.common)
        yield Banner("unproven", t["compare_same_title"], text)
    own = [banners(side.recorded.run, side.summary, t) for side in both.sides]
    for side, them, others in (("before", own[0], own[1]), ("after", own[1], own[0])):
        for banner in them:
            if banner not in others:
                title = t[f"compare_of_{side}"].format(colon=t["colon"], text=banner.title)
                yield Banner(banner.kind, title, banner.text)
            elif side == "after":
                yield banner


def _flags(both: _Both, t: Texts) -> list[Flag]:
    """Return the state of the judge in either run."""
    found = []
    for name, side in zip(("before", "after"), both.sides, strict=True):
        state = check_state(side.summary, measured=is_measured(side.recorded.run))
        said = f"{t['judge']}{t['colon']}{t[f'check_{state}']}"
        found.append(Flag(state, t[f"compare_of_{name}"].format(colon=t["colon"], text=said)))
    return found


# --- the two runs ---


def _judge_rows(both: _Both, t: Texts) -> Iterator[tuple[str, str, str]]:
    """Yield what a verdict hangs on besides the code: a name, then its text in either run."""
    old, new = both.before.recorded.run, both.after.recorded.run
    for name, get in _JUDGE:
        yield t[name], _plain(get(old), name, t), _plain(get(new), name, t)


_JUDGE: tuple[tuple[str, Any], ...] = (
    ("run_engine", lambda run: run.get("engine")),
    ("run_judge", lambda run: run.get("model")),
    ("run_judge_lang", lambda run: run.get("judge_lang")),
    ("run_prompt", lambda run: (run.get("asked") or {}).get("prompt")),
    ("run_schema", lambda run: (run.get("asked") or {}).get("schema")),
    ("run_sampling", lambda run: (run.get("asked") or {}).get("sampling")),
)


def _plain(value: Any, name: str, t: Texts) -> str:
    if value is None:
        return NONE
    if name == "run_engine":
        return t.get(f"engine_{value}", str(value))
    if name in ("run_prompt", "run_schema"):
        return str(value)[:16]  # of a SHA-256: enough to tell two apart
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _run_rows(both: _Both, t: Texts) -> list[tuple[str, str, str]]:
    sides = both.sides
    rows = [
        (t["run_folder"], *(str(side.recorded.folder) for side in sides)),
        (t["run_target"], *(side.summary.target or NONE for side in sides)),
        (t["run_tasks"], *(whole(side.summary.tasks) for side in sides)),
        *_judge_rows(both, t),
        (t["run_started"], *(str(side.recorded.run.get("started") or NONE) for side in sides)),
        ("analyze", *(str((side.recorded.run.get("versions") or {}).get("analyze") or NONE) for side in sides)),
    ]
    return [(name, before, after) for name, before, after in rows]


def _gate_rows(both: _Both, t: Texts) -> list[tuple[str, str, str, str, str, str]]:
    """Return each gate with its value and state in either run."""
    lines = [gate_lines(side.summary, t, measured=is_measured(side.recorded.run)) for side in both.sides]
    return [
        (old.measure, percent_text(old.estimate), old.state, percent_text(new.estimate), new.state, new.wanted)
        for old, new in zip(*lines, strict=True)
    ]


# --- what changed ---


def _rows_of(changes: Sequence[Change], both: _Both) -> list[tuple[str, Change]]:
    labels = DIMENSION_LABELS[both.lang]
    return [(labels.get(change.author, change.author), change) for change in changes]


def _rivals(both: _Both, t: Texts) -> list[tuple[str, Change]]:
    found = both.found
    named = [(change.author, change) for change in found.rivals]
    return named if len(named) == 1 else [(t["overall"], found.overall), *named]


def _dimensions(both: _Both) -> list[tuple[str, Change]]:
    ranked = {name: place for place, name in enumerate(DIMENSIONS)}
    return _rows_of(sorted(both.found.dimensions, key=lambda it: ranked.get(it.author, len(ranked))), both)


def _chart(rows: Sequence[tuple[str, Change]], label: str, t: Texts) -> Markup | None:
    from markupsafe import Markup

    points = [
        Point(
            name,
            _place(change.change.value),
            _place(change.change.low),
            _place(change.change.high),
            f"{signed(change.change.value)} ({signed_span(change.change)})",
            {"better": 1, "worse": -1}.get(change.side, 0),
        )
        for name, change in rows
        if change.change.value is not None
    ]
    ends = (t["changes_worse"], t["changes_better"])

    def drawn(width: int, shape: str) -> str:
        return inline(dots(points, ends=ends, label=label, ticks=_tick, width=width), shape)

    return Markup(drawn(WIDE_PX, "chart wide") + drawn(NARROW_PX, "chart narrow")) if points else None


def _place(change: float | None) -> float | None:
    """Return where a change from -1 to 1 stands on the scale of a chart, 0 to 1."""
    return None if change is None else (change + 1) / 2


def _tick(place: float) -> str:
    return f"{2 * place - 1:+g}".replace("-", "−") if place != 0.5 else "0"


def _moves(both: _Both, t: Texts) -> list[tuple[str, list[int]]]:
    moves = both.found.overall.moves
    shown = [name for name in OUTCOMES if name != "unscored" or any(name in pair for pair in moves)]
    return [(t[old], [moves.get((old, new), 0) for new in shown]) for old in shown]


def _changed(both: _Both) -> tuple[list[TaskChange], list[TaskChange]]:
    """Return the tasks that got better and those that got worse, the greatest change first."""
    better = [task for task in both.found.tasks if task.change > 0]
    worse = [task for task in reversed(both.found.tasks) if task.change < 0]
    return better, worse


def _left_out(both: _Both, t: Texts) -> list[tuple[str, int, list[str]]]:
    found = both.found
    lists = {
        "only_before": found.only_before,
        "only_now": found.only_after,
        "unlike": found.unlike,
        "authors_only_before": found.authors_only_before,
        "authors_only_now": found.authors_only_after,
    }
    return [
        (t[name], len(names), [each[:120] for each in names[:MOST_TASKS]]) for name, names in lists.items() if names
    ]


def _retold(both: _Both, t: Texts) -> str | None:
    it = both.found.retold
    if it.change.value is None:
        return None
    return t["retold_lead"].format(
        n=it.change.n,
        gained=it.gained,
        lost=it.lost,
        change=signed(it.change.value),
        interval=signed_span(it.change),
    )


# --- the pages ---


def _page(both: _Both) -> str:
    t = TEXTS[both.lang]
    better, worse = _changed(both)
    rivals, dimensions = _rivals(both, t), _dimensions(both)
    has_doubt = any(_is_loud(banner) for banner in _banners(both, t))
    return (
        environment()
        .get_template("compare.html.j2")
        .render(
            t=t,
            n=numbers,
            css=css(),
            version=__version__,
            subject=t["compare_subject"].format(after=both.after.name, before=both.before.name),
            banners=_banners(both, t),
            flags=_flags(both, t),
            side="" if has_doubt else both.found.overall.side,
            names=(both.before.name, both.after.name),
            headline=_headline(both, t),
            detail=_detail(both, t),
            run_rows=_run_rows(both, t),
            links=(both.before.link, both.after.link),
            rivals=rivals,
            rivals_chart=_chart(rivals[: MOST_RIVALS + 1], t["changes_label"], t),
            most_rivals=MOST_RIVALS,
            moves=_moves(both, t),
            dimensions=dimensions,
            dimensions_chart=_chart(dimensions, t["change_dimensions_label"], t),
            gates=_gate_rows(both, t),
            retold=_retold(both, t),
            changed=((t["tasks_better"], better), (t["tasks_worse"], worse)),
            most_tasks=MOST_TASKS,
            left_out=_left_out(both, t),
            anchor=anchor,
        )
    )


def _markdown(both: _Both) -> str:
    return "\n".join(part for section in _sections(both) for part in (*section, "")).rstrip() + "\n"


def _sections(both: _Both) -> Iterator[Sequence[str]]:
    from analyze.report.markdown import table

    t = TEXTS[both.lang]
    subject = t["compare_subject"].format(after=both.after.name, before=both.before.name)
    yield [f"# {t['compare_title']}{t['colon']}{markdown(subject)}"]
    for banner in _banners(both, t):
        yield [f"> **{markdown(banner.title)}{t['stop']}** {markdown(banner.text, 1000)}"]
    yield [" · ".join(f"**{markdown(flag.text)}**" for flag in _flags(both, t))]
    yield [f"**{markdown(_headline(both, t))}{t['stop']}** {markdown(_detail(both, t), 600)}"]
    yield [f"## {t['runs']}"]
    yield table(
        ("", t["before"], t["now"]), [(name, code_span(old), code_span(new)) for name, old, new in _run_rows(both, t)]
    )
    head = (t["before"], t["now"], t["h_change"], t["h_interval"], t["h_p_adjusted"], t["h_gained"], t["h_lost"])
    yield [f"## {t['changes']}"]
    named = [(f"**{name}**" if it.author == "*" else code_span(name), it) for name, it in _rivals(both, t)]
    yield table((t["rival"], *head, t["h_n"]), [_change_row(name, it) for name, it in named])
    yield [f"## {t['moves']}"]
    outcomes = [name for name, _ in _moves(both, t)]
    yield table((t["h_from_to"], *outcomes), [(name, *map(str, counts)) for name, counts in _moves(both, t)])
    if rows := _dimensions(both):
        yield [f"## {t['dimensions']}"]
        columns = (t["h_dimension"], *head[:5], t["h_n"])
        yield table(columns, [(*_change_row(name, it)[:6], whole(it.change.n)) for name, it in rows])
    yield [f"## {t['both_checks']}"]
    gates = [(name, old, new, wanted or NONE) for name, old, _, new, _, wanted in _gate_rows(both, t)]
    yield table((t["check_measure"], t["before"], t["now"], t["check_wanted"]), gates)
    if retold := _retold(both, t):
        yield [f"**{t['retold']}{t['stop']}** {retold}"]
    for title, tasks in zip((t["tasks_better"], t["tasks_worse"]), _changed(both), strict=True):
        yield [f"## {title} ({len(tasks)})"]
        changes = [
            (code_span(it.task_id), score(it.before), score(it.after), signed(it.change)) for it in tasks[:MOST_TASKS]
        ]
        yield table((t["h_task"], t["before"], t["now"], t["h_change"]), changes) if tasks else [t["tasks_none"]]
    for title, count, names in _left_out(both, t):
        yield [f"{title} ({count}){t['colon']}{t['list_joint'].join(map(code_span, names))}"]
    yield [f"[compare.html](compare.html) · {markdown(t['made_by_short'])} {__version__}"]


def _change_row(name: str, it: Change) -> tuple[str, ...]:
    return (
        name,
        score(it.before),
        score(it.after),
        signed(it.change.value),
        signed_span(it.change),
        probability(it.p_adjusted),
        whole(it.gained),
        whole(it.lost),
        whole(it.change.n),
    )
