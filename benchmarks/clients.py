"""One client under test, in a process of its own: `python -m benchmarks.clients NAME REQUESTS PORT ...`.

Prints one JSON line: CPU seconds of this process, wall seconds, answers. Imports and set-up are not counted.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.instant_server import MODEL

THREADS = 64
IN_FLIGHT = 64
PROMPT = "Is this a question about medicine? Answer with yes or no, and give the reason in a sentence. " * 10  # 1 kB


def messages(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"{number}: {PROMPT}"}]


def in_threads(client: Any, count: int) -> int:
    def ask(number: int) -> bool:
        reply = client.chat.completions.create(model=MODEL, messages=messages(number))
        return bool(reply.choices[0].message.content)

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(ask, range(count)))


async def in_tasks(client: Any, count: int) -> int:
    numbers = iter(range(count))

    async def work() -> int:
        done = 0
        for number in numbers:
            reply = await client.chat.completions.create(model=MODEL, messages=messages(number))
            done += bool(reply.choices[0].message.content)
        return done

    return sum(await asyncio.gather(*(work() for _ in range(IN_FLIGHT))))


def plain_openai_in_threads(urls: Sequence[str], count: int) -> int:
    import openai

    return in_threads(openai.OpenAI(base_url=urls[0], api_key="x"), count)


def multi_vllm_client_in_threads(urls: Sequence[str], count: int) -> int:
    from analyze import MultiVLLMClient

    return in_threads(MultiVLLMClient(urls), count)


def plain_async_openai(urls: Sequence[str], count: int) -> int:
    import openai

    return asyncio.run(in_tasks(openai.AsyncOpenAI(base_url=urls[0], api_key="x"), count))


def async_multi_vllm_client(urls: Sequence[str], count: int) -> int:
    from analyze import AsyncMultiVLLMClient

    return asyncio.run(in_tasks(AsyncMultiVLLMClient(urls), count))


def bare_aiohttp_loop(urls: Sequence[str], count: int) -> int:
    """The floor: aiohttp and orjson, a journal line an answer, no names, no plan, no failover."""
    import aiohttp
    import orjson

    async def run() -> int:
        numbers, done = iter(range(count)), 0
        with tempfile.TemporaryFile() as journal:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

                async def work() -> None:
                    nonlocal done
                    for number in numbers:
                        body = orjson.dumps({"model": MODEL, "messages": messages(number)})
                        url = urls[number % len(urls)] + "/chat/completions"
                        async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as reply:
                            journal.write(
                                orjson.dumps({"id": number, "reply": orjson.loads(await reply.read())}) + b"\n"
                            )
                            journal.flush()
                        done += 1

                await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
        return done

    return asyncio.run(run())


def analyze_batch(urls: Sequence[str], count: int) -> int:
    """The command itself, journal, plan and checks included."""
    from analyze import batch

    with tempfile.TemporaryDirectory() as folder:
        requests, answers = Path(folder, "requests.jsonl"), Path(folder, "answers.jsonl")
        rows = ({"custom_id": str(n), "body": {"messages": messages(n)}} for n in range(count))
        requests.write_text("".join(json.dumps(row) + "\n" for row in rows))
        began(reset=True)
        flags = [flag for url in urls for flag in ("--base-url", url)]
        assert batch.main(["-i", str(requests), "-o", str(answers), *flags]) == 0
        return answers.read_bytes().count(b"\n")


CLIENTS: dict[str, Callable[[Sequence[str], int], int]] = {
    "bare aiohttp loop with a journal": bare_aiohttp_loop,
    "analyze.batch": analyze_batch,
    "openai.OpenAI, 64 threads": plain_openai_in_threads,
    "MultiVLLMClient, 64 threads": multi_vllm_client_in_threads,
    "openai.AsyncOpenAI, 64 in flight": plain_async_openai,
    "AsyncMultiVLLMClient, 64 in flight": async_multi_vllm_client,
}

_began = (0.0, 0.0)


def began(*, reset: bool = False) -> tuple[float, float]:
    """Return the CPU and wall clock at which counting began."""
    global _began
    if reset:
        _began = cpu_s(), time.perf_counter()
    return _began


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    name, count, *ports = sys.argv[1:]
    client = CLIENTS[name]
    urls = [f"http://127.0.0.1:{port}/v1" for port in ports]
    stdout, sys.stdout = sys.stdout, sys.stderr  # what a client prints is not the result
    client(urls, 200)
    began(reset=True)
    answers = client(urls, int(count))
    cpu, wall = began()
    print(json.dumps({"cpu_s": cpu_s() - cpu, "wall_s": time.perf_counter() - wall, "answers": answers}), file=stdout)


if __name__ == "__main__":
    main()
