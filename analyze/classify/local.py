"""`--engine hf`: the model that transformers loads in this process, instead of servers.

Without `--model` it is the seed's where there is a GPU, and without one the tiny random model that servers of our own
would have too: so the same command can be tried anywhere, and says aloud that its labels are noise.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analyze.console import printable
from analyze.lang import Lang
from analyze.servers.texts import Console
from analyze.tiny_model import DEMO_MODEL_NAME, folder_name

if TYPE_CHECKING:
    from analyze.hf import HfAsker

TEXTS: dict[Lang, dict[str, str]] = {
    "en": {
        "loading": "transformers loads {model} ({device})",
        "loaded": "texts at a time: {batch}; prompt and answer: {context:,} tokens at most",
    },
    "zh": {
        "loading": "transformers 正在加载 {model}（{device}）",
        "loaded": "每批文本数: {batch}；提示与回答合计最多 {context:,} 个词元",
    },
}


@dataclass(frozen=True, slots=True)
class Local:
    """What is to be loaded. `seed_model` stands in for `model` where that is None; `folder` is for the tiny one.

    `batch_size` and `max_model_len` None: what suits device and model.
    """

    model: str | None
    seed_model: str
    folder: Path
    batch_size: int | None = None
    max_model_len: int | None = None

    @property
    def would_load(self) -> str:
        """The model that `asker` would load: a folder, or a name. Raises UsageError for a GPU that cannot be used."""
        from analyze.hf import device_of

        if self.model is not None or device_of(os.environ) == "cuda":
            return self.model or self.seed_model
        return self._demo

    @property
    def name(self) -> str:
        """What the model is called in records."""
        return DEMO_MODEL_NAME if self.would_load == self._demo else self.would_load

    @property
    def _demo(self) -> str:
        return str(self.folder / folder_name())

    def asker(self, lang: Lang, in_flight: int | None) -> HfAsker:
        """Load the model and return who asks it; takes seconds to minutes. Raises UsageError, ServerError."""
        from analyze.hf import HfAsker, device_of, load
        from analyze.servers.private import write_tiny_model

        texts, device, console = TEXTS[lang], device_of(os.environ), Console(lang, sys.stdout)
        model, name = self.would_load, self.name
        with _ctrl_c_at_once():
            if model == self._demo:
                console.say("demo")
                write_tiny_model(Path(model), console)
            print(printable(texts["loading"].format(model=name, device=device)), flush=True)
            loaded = load(model, device=device, name=name, max_model_len=self.max_model_len)
        asker = HfAsker(loaded, batch_size=self.batch_size, in_flight=in_flight)
        print(texts["loaded"].format(batch=asker.batch_size, context=loaded.context), flush=True)
        return asker


@contextmanager
def _ctrl_c_at_once() -> Iterator[None]:
    """Let Ctrl-C end what keeps the event loop busy; asyncio's own handler waits until it is not."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
