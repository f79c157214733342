"""The progress bar of a notebook: `tqdm.auto`'s widget. Knows what is drawn on a terminal, not what it means."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


class NotebookBar:
    """A bar below the cell that runs."""

    def __init__(self, bar: Any) -> None:
        """`bar`: a bar of `tqdm.notebook`."""
        self._bar = bar

    def draw(self, form: str, done: int, total: int | None) -> None:
        """Show a state. `form` is tqdm's `bar_format`."""
        if total != self._bar.total:
            self._bar.reset(total)
        self._bar.bar_format, self._bar.n = form, done
        self._bar.refresh()

    def close(self) -> None:
        """Leave the last state: green where all is done, else red."""
        self._bar.close()


def notebook_bar() -> NotebookBar | None:
    """Return a bar if this is the kernel of a notebook with ipywidgets; without them tqdm would warn and draw text."""
    if "ipykernel" not in sys.modules:
        return None
    try:
        import_module("ipywidgets")
        from tqdm.auto import tqdm
        from tqdm.notebook import tqdm_notebook
    except ImportError:
        return None
    return NotebookBar(tqdm()) if issubclass(tqdm, tqdm_notebook) else None
