"""`python -m tests.promises.asks JOURNAL REQUESTS URL...`: a user's script that calls `ask_many` with a journal."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from analyze import MultiVLLMClient, ask_many


def main(journal: str, requests: str, *urls: str) -> None:
    rows = [json.loads(line) for line in Path(requests).read_text().splitlines()]
    for outcome in ask_many(rows, MultiVLLMClient(urls), journal=journal, in_flight=2):
        print(outcome.id)


if __name__ == "__main__":
    main(*sys.argv[1:])
