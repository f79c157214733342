"""What the console is told: one line of `texts` at a time. Knows the words and where they go, not when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from analyze.console import printable
from analyze.errors import in_language
from analyze.lang import Lang
from analyze.pipeline.texts import RULE, TEXTS
from analyze.runs.askers import ClientAsker, FleetAsker


class Teller:
    """Says lines in one language. Steps begin with an empty line."""

    def __init__(self, lang: Lang) -> None:
        self.lang = lang
        self.texts = TEXTS[lang]

    def __call__(self, line: str, **values: Any) -> None:
        text = self.texts[line].format(**values)
        print(printable(f"\n{text}" if line.startswith("step") else text), flush=True)

    def title(self) -> None:
        print(f"{RULE}\n{self.texts['title']}\n{RULE}")

    def addresses(self, urls: Sequence[str]) -> None:
        """Say where the servers are: their ports if that is all in which they differ, else their addresses."""
        parts = [urlsplit(url) for url in urls]
        if len({part.hostname for part in parts}) == 1 and all(part.port for part in parts):
            where = self.texts["ports"].format(ports=[part.port for part in parts])
        else:
            where = ", ".join(urls)
        self("multi" if len(urls) > 1 else "single", count=len(urls), where=where)

    def who_is_up(self, line: str, asker: FleetAsker | ClientAsker) -> None:
        """Say which servers answer, where there are any."""
        if not isinstance(asker, FleetAsker):
            return
        fleet = asker.core.fleet
        self(line, up=len(fleet.up), all=len(fleet.instances), model=asker.model)
        for instance in fleet.instances:
            if not instance.is_up:
                self("down", url=instance.url, problem=in_language(instance.reason or "", self.lang))

    def also(self, lines: Sequence[str]) -> None:
        """Say lines that are made elsewhere."""
        for line in lines:
            print(printable(f"   {line}"))
