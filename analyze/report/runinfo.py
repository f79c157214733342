"""How a run was made, from its manifest, as rows of text. Knows the manifest's keys; what is not recorded is a dash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from analyze.report.numbers import NONE, percent, tenths, whole
from analyze.report.reading import Record

Texts = Mapping[str, str]


def run_rows(run: Record, t: Texts) -> Iterator[tuple[str, str]]:
    """Yield what is to be said of how the run was made: a name and a text each."""
    source = run.get("input") or {}
    engine = str(run.get("engine") or NONE)
    yield t["run_engine"], t.get(f"engine_{engine}", engine)
    if engine != "measured":
        yield t["run_model"], _text(run.get("model"))
    if run.get("second_model"):
        yield t["run_second_model"], _text(run["second_model"])
    yield t["run_input"], _text(source.get("path"))
    yield "SHA-256", _text(source.get("sha256"))
    yield t["run_started"], _text(run.get("started"))
    yield t["run_finished"], _text(run.get("finished"))
    yield t["run_seconds"], tenths(run.get("seconds"))
    yield t["run_cells"], _counts(run.get("counts") or {}, t)
    if engine != "measured":
        yield t["run_tokens"], _tokens(run.get("usage") or {}, t)
    versions = run.get("versions") or {}
    yield t["run_versions"], t["list_joint"].join(f"{name} {version}" for name, version in versions.items()) or NONE


def _counts(counts: Record, t: Texts) -> str:
    numbers = {"ok": counts.get("cells_ok"), "failed": counts.get("cells_failed"), "all": counts.get("cells")}
    return t["run_cells_text"].format_map({name: whole(count) for name, count in numbers.items()})


def _tokens(usage: Record, t: Texts) -> str:
    read, written = whole(usage.get("prompt_tokens")), whole(usage.get("completion_tokens"))
    return t["run_tokens_text"].format(prompt=read, completion=written)


def instance_rows(run: Record) -> list[tuple[str, ...]]:
    """Return per server its address, answers, share of all answers, seconds, and the share of them that it was idle.

    The seconds are from the run's first request to its last reply; it was idle while it had nothing in flight.

    A second judge's servers come last; their shares and time are of its answers.
    """
    return [*_instance_rows(run), *_instance_rows(run.get("second_judge") or {})]


def _instance_rows(run: Record) -> list[tuple[str, ...]]:
    instances = run.get("instances") or []
    answers = sum(instance.get("answers") or 0 for instance in instances)
    return [
        (
            _text(instance.get("url")),
            whole(instance.get("answers")),
            percent((instance.get("answers") or 0) / answers if answers else None),
            tenths(instance.get("seconds")),
            percent(_idle(instance)),
        )
        for instance in instances
    ]


def _idle(instance: Record) -> float | None:
    seconds, idle_s = instance.get("seconds"), instance.get("idle_s")
    return None if not seconds or idle_s is None else min(1.0, idle_s / seconds)


def flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as `a.b` names with texts."""
    rows: list[tuple[str, str]] = []
    for name, item in value.items():
        rows += flat(item, f"{prefix}{name}.") if isinstance(item, dict) else [(f"{prefix}{name}", _text(item))]
    return rows


def _text(value: object) -> str:
    return NONE if value is None else str(value)
