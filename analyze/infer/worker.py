"""One worker of `--model_type hf`: a process with the model, which answers what is written to it.

    parent ──> {"n", "url", "body"}      a line each on standard input; its end is the worker's end
    worker ──> {"ready": ...} | {"refused": {"message", "cure"}}, then {"began": [n, ...]} and {"n", "body" | "kind"}
Whatever a library prints goes to the log. The parent's death closes standard input, and with it ends this process,
whatever it is at. torch and transformers are imported here, after the parent has set the devices.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Sequence
from typing import IO, Any

from analyze.errors import AnalyzeError
from analyze.records import Answer, Request, from_json, to_json


def main(argv: Sequence[str]) -> int:
    """Load the model that `argv[0]` (JSON) names and serve until standard input ends."""
    told = from_json(argv[0])
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # prints of libraries
    lines: asyncio.Queue[bytes] = asyncio.Queue()
    loop = asyncio.new_event_loop()
    threading.Thread(target=_read, args=(sys.stdin.buffer, loop, lines), daemon=True).start()
    return loop.run_until_complete(_serve(told, lines, replies))


def _read(file: IO[bytes], loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[bytes]) -> None:
    for line in file:
        loop.call_soon_threadsafe(lines.put_nowait, line)
    os._exit(0)  # nobody is there any more; what is generated would be for nobody


async def _serve(told: dict[str, Any], lines: asyncio.Queue[bytes], replies: IO[bytes]) -> int:
    from analyze.hf import HfAsker, load

    def say(value: dict[str, Any]) -> None:
        replies.write(to_json(value) + b"\n")

    try:
        model = load(
            told["model"],
            device=told["device"],
            name=told["name"],
            max_model_len=told["max_model_len"],
            needs_chat=False,
        )
    except AnalyzeError as error:
        say({"refused": {"message": error.message, "cure": error.cure}})
        return error.exit_code
    asker = HfAsker(model, batch_size=told["batch_size"], on_batch=lambda rows: say({"began": [int(r) for r in rows]}))
    tokens = await asker.unguarded_tokens()
    say(
        {
            "ready": {
                "name": model.name,
                "context": model.context,
                "batch_size": asker.batch_size,
                "room": asker.room(),
                "unguarded": None if tokens is None else sorted(tokens),
            }
        }
    )
    tasks = set()

    async def answer(number: int, url: str, body: dict[str, Any]) -> None:
        outcome = await asker.ask(Request(str(number), "", url, body))
        if isinstance(outcome, Answer):
            say({"n": number, "body": outcome.body})
        else:
            say({"n": number, "kind": outcome.kind, "message": outcome.message})

    while True:
        asked = from_json(await lines.get())
        task = asyncio.create_task(answer(asked["n"], asked["url"], asked["body"]))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
