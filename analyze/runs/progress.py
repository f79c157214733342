"""A progress line that is true: a bar on a terminal, a line now and then anywhere else. Knows only counts."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from analyze.console import printable
from analyze.lang import Lang

WORDS: dict[Lang, dict[str, str]] = {
    "en": {"ok": "ok", "failed": "failed", "colon": ": "},
    "zh": {"ok": "成功", "failed": "失败", "colon": ": "},
}
LINE_EVERY_S = 10.0


class Progress:
    """Counts rows as they finish. `total` None: unknown. Closing leaves the last state on the screen."""

    def __init__(
        self, label: str, total: int | None, lang: Lang, *, start: int = 0, stream: TextIO | None = None
    ) -> None:
        self._label, self._total, self._words = label, total, WORDS[lang]
        self._stream = stream or sys.stderr
        self.ok, self.failed, self._start = start, 0, start
        self._began = self._said = time.monotonic()
        self._bar = None
        if self._stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                initial=start,
                desc=label,
                file=self._stream,
                dynamic_ncols=True,
                bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
            )
            self._bar.set_postfix_str(self._counts())

    def add(self, *, ok: bool) -> None:
        """Count one finished row."""
        self.ok, self.failed = self.ok + ok, self.failed + (not ok)
        if self._bar is not None:
            self._bar.set_postfix_str(self._counts(), refresh=False)
            self._bar.update()
        elif time.monotonic() - self._said >= LINE_EVERY_S:
            self._say()

    def note(self, text: str) -> None:
        """Say something without tearing the bar."""
        text = printable(text)
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        else:
            self._say()

    def _say(self) -> None:
        self._said = time.monotonic()
        done = self.ok + self.failed
        of = "" if self._total is None else f"/{self._total}"
        print(
            f"{self._label}{self._words['colon']}{done}{of} [{self._said - self._began:.0f} s, {self._counts()}]",
            file=self._stream,
            flush=True,
        )

    def _counts(self) -> str:
        return f"{self._words['ok']}={self.ok}, {self._words['failed']}={self.failed}"
