"""A progress line that is true: a bar on a terminal or in a notebook, else a line now and then. Knows only counts.

    tally     what this execution has asked ─────┐
    standing  where the job is with all its rows ┼──> view ──> a bar, a line of a log, or JSON
    loads     what each instance has to do now ──┘
They are looked at twice a second, by a timer: an answer costs nothing, and what stands still is seen to.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO

from analyze.console import printable
from analyze.lang import Lang
from analyze.runs.amounts import clock, short, span, width
from analyze.runs.notebook import notebook_bar
from analyze.runs.rates import Rate, Rates, seconds_left
from analyze.runs.tally import Tally

TICK_S = 0.5
FIRST_LINE_S = 10.0
LINE_EVERY_S = 30.0
STILL_EVERY_S = 300.0
"""Off a terminal: the first line, the next ones, and those that say that nothing has changed."""

NARROWEST_BAR = 8
NOTEBOOK_COLUMNS = 100  # what is said beside the bar, in a cell as wide as most windows make it
CLEAR = "\x1b[K"  # to the end of the line

TEXTS: dict[Lang, dict[str, str]] = {
    "en": {
        "ok": "ok",
        "failed": "failed",
        "load": "load",
        "out": "out",
        "requests": "{rate} requests/s",
        "tokens": "tokens/s {prompt} in, {completion} out",
        "passed": "{passed} so far",
        "left": "{about}{left} to go",
    },
    "zh": {
        "ok": "成功",
        "failed": "失败",
        "load": "负载",
        "out": "停",
        "requests": "{rate} 请求/秒",
        "tokens": "词元/秒 读入 {prompt}、写出 {completion}",
        "passed": "已用 {passed}",
        "left": "剩余 {about}{left}",
    },
}


class Load(Protocol):
    """What one instance has to do now; an `Instance` of a fleet is one."""

    url: str
    in_flight: int

    @property
    def is_up(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a job stands, in rows as its user counts them.

    `left`: rows still to be answered, those in flight too; None: unknown; where not `is_exact`, estimated.
    `requests_left`: where a row is several requests. `tokens_left`: what these are expected to take, prompts and
    answers together; None: as much as the others did.
    """

    ok: int
    failed: int
    left: float | None = None
    is_exact: bool = True
    requests_left: float | None = None
    tokens_left: float | None = None

    @property
    def done(self) -> int:
        return self.ok + self.failed

    @property
    def total(self) -> int | None:
        return None if self.left is None else self.done + max(0, round(self.left))


@dataclass(frozen=True, slots=True)
class View:
    """What is to be shown, at one moment."""

    label: str
    lang: Lang
    standing: Standing
    rate: Rate
    passed_s: float
    left_s: float | None
    loads: Sequence[Load] = ()

    def line(self) -> str:
        """Return all of it, for a log."""
        texts, rate, left = TEXTS[self.lang], self.rate, None
        tokens = texts["tokens"].format(prompt=short(rate.prompt_tokens), completion=short(rate.completion_tokens))
        if self.left_s is not None:
            left = texts["left"].format(about=self._about, left=span(self.left_s, self.lang))
        pieces = [
            self._counts + (f" ({self._percent})" if self._percent else ""),
            self._ok,
            self._failed,
            texts["requests"].format(rate=short(rate.requests)),
            tokens if rate.tokens else None,
            self._load,
            texts["passed"].format(passed=span(self.passed_s, self.lang)),
            left,
        ]
        return f"{self.label}: " + ", ".join(filter(None, pieces))

    def bar(self, columns: int, *, is_unicode: bool = True) -> str:
        """Return as much of it as fits into so many columns, with a bar if there is room for one."""
        from tqdm import tqdm

        done, total, form = self.standing.done, self.standing.total or 0, self.form(columns)
        return str(tqdm.format_meter(done, total, 0.0, ncols=columns, bar_format=form, ascii=not is_unicode))

    def form(self, columns: int) -> str:
        """Return what `bar` shows as tqdm's `bar_format`: tqdm puts the bar in, and cuts what is still too long."""
        begin = f"{self.label}: " + (f"{self._percent:>4}" if self._percent else "")
        passed, rate = clock(self.passed_s), self.rate
        left = "" if self.left_s is None else f"<{self._about}{clock(self.left_s)}"
        tokens = f"{short(rate.prompt_tokens)}+{short(rate.completion_tokens)} tok/s" if rate.tokens else ""

        def line(told: Mapping[int, str], bar: str = "") -> str:
            pieces = ", ".join(told[place] for place in sorted(told))
            return f"{begin}{bar} {self._counts}" + (f" [{pieces}]" if pieces else "")

        told: dict[int, str] = {}
        by_worth = [
            (0, left, 0),
            (5, self._failed, 0),
            (1, f"{short(rate.requests)}/s", 0),
            (2, tokens, 0),
            (4, self._ok, 0),
            (0, passed + left, 0),
            (3, self._load, NARROWEST_BAR + 2),  # only beside a bar
        ]
        for place, piece, spare in by_worth:
            if piece and width(line({**told, place: piece})) + spare <= columns:
                told[place] = piece
        has_bar = self._percent and width(line(told)) + NARROWEST_BAR + 2 <= columns
        begin = begin.replace("{", "{{").replace("}", "}}")
        return line(told, "|{bar}|" if has_bar else "")

    def to_json(self) -> dict[str, Any]:
        standing, rate = self.standing, self.rate
        return {
            "label": self.label,
            "done": standing.done,
            "total": standing.total,
            "is_exact": standing.is_exact,
            "ok": standing.ok,
            "failed": standing.failed,
            "left": standing.left,
            "requests_per_s": round(rate.requests, 4),
            "prompt_tokens_per_s": round(rate.prompt_tokens, 2),
            "completion_tokens_per_s": round(rate.completion_tokens, 2),
            "passed_s": round(self.passed_s, 3),
            "left_s": None if self.left_s is None else round(self.left_s, 1),
            "instances": [{"url": i.url, "in_flight": i.in_flight, "is_up": i.is_up} for i in self.loads],
        }

    @property
    def _about(self) -> str:
        return "" if self.standing.is_exact else "≈"

    @property
    def _counts(self) -> str:
        total = self.standing.total
        return f"{self.standing.done:,}" + ("" if total is None else f"/{self._about}{total:,}")

    @property
    def _percent(self) -> str | None:
        total = self.standing.total
        return f"{100 * self.standing.done // total}%" if total else None

    @property
    def _ok(self) -> str:
        return f"{TEXTS[self.lang]['ok']}={self.standing.ok:,}"

    @property
    def _failed(self) -> str:
        return f"{TEXTS[self.lang]['failed']}={self.standing.failed:,}"

    @property
    def _load(self) -> str | None:
        texts = TEXTS[self.lang]
        told = "/".join(str(load.in_flight) if load.is_up else texts["out"] for load in self.loads)
        return f"{texts['load']}={told}" if told else None


class ProgressLine:
    """Shows where a job stands until it is closed. Belongs to the event loop it is made in.

    A terminal has a bar, which leaves its last state on the screen, and so has a notebook with ipywidgets; anything
    else has a line now and then; with `log_json` every line is one JSON object. A stream that can no longer be written
    to ends nothing but the showing.
    """

    def __init__(
        self,
        label: str,
        lang: Lang,
        tally: Tally,
        standing: Callable[[], Standing],
        *,
        loads: Callable[[], Sequence[Load]] = tuple,
        log_json: bool = False,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tally` counts what this execution asks, `standing` tells where the job is, `loads` what each server has."""
        self._label, self.lang, self._tally = label, lang, tally
        self._standing, self._loads, self._now = standing, loads, now
        self._stream = sys.stderr if stream is None else stream
        self._log_json = log_json
        self._began = self._said_at = now()
        self._next_line_at = self._began + FIRST_LINE_S
        self._said: Standing | None = None
        self._rates = Rates(tally, self._began)
        self._notebook = None if stream or log_json else notebook_bar()
        self._has_bar = self._stream.isatty() and not log_json and os.environ.get("TERM") != "dumb"
        self._drawn = ""
        self._is_closed = False
        self._tick()

    def note(self, text: str) -> None:
        """Say something without tearing the bar."""
        if self._log_json:
            self._write(json_line("note", text=text) + "\n")
        elif self._has_bar:
            self._write(f"\r{CLEAR}{printable(text)}\n{self._drawn}")
        else:
            self._write(printable(text) + "\n")

    def look(self) -> None:
        """Show what has changed, if it is time."""
        now = self._now()
        if not self._tally.outcomes and not any(load.in_flight for load in self._loads()):
            self._rates.begin(now)
        view = self._view(self._rates.recent(now), now)
        if self._has_bar or self._notebook:
            self._draw(view)
        elif now >= self._next_line_at and (view.standing != self._said or now >= self._said_at + STILL_EVERY_S):
            self._next_line_at, self._said_at, self._said = now + LINE_EVERY_S, now, view.standing
            self._say("progress", view)

    def close(self) -> None:
        """Show the end, with the rates of the whole execution; a second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._timer.cancel()
        now = self._now()
        view = self._view(self._rates.overall(now), now)
        if self._has_bar or self._notebook:
            self._draw(replace(view, loads=()))  # of the past, like the rates
        if self._notebook:
            self._notebook.close()
        elif self._has_bar:
            self._write("\n")
        else:
            self._say("end", view)

    def _tick(self) -> None:
        self.look()
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _view(self, rate: Rate, now: float) -> View:
        standing, left_s = self._standing(), None
        if standing.left:
            requests_left = standing.left if standing.requests_left is None else standing.requests_left
            left_s = seconds_left(requests_left, standing.tokens_left, self._tally, rate)
        return View(self._label, self.lang, standing, rate, now - self._began, left_s, self._loads())

    def _draw(self, view: View) -> None:
        if self._notebook:
            self._notebook.draw(view.form(NOTEBOOK_COLUMNS), view.standing.done, view.standing.total)
            return
        is_unicode = (self._stream.encoding or "").lower().startswith("utf")
        self._drawn = view.bar(_columns(self._stream), is_unicode=is_unicode)
        self._write(f"\r{self._drawn}{CLEAR}")

    def _say(self, event: str, view: View) -> None:
        told = json_line(event, **view.to_json(), **self._tally.usage()) if self._log_json else view.line()
        self._write(told + "\n")

    def _write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)
            self._stream.flush()


def json_line(event: str, **fields: Any) -> str:
    """Return one line of `--log-json`. It is ASCII: nothing in it steers a terminal."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": at, "event": event, **fields})


def _columns(stream: TextIO) -> int:
    """Return the columns of a terminal that may be written: with room for a ^C, which must not begin a new line."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return (columns or 80) - len("^C") - 1
